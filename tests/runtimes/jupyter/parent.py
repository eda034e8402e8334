"""A small site around a notebook's frame, as docs/protocol.md wants it: what the course page does, and nothing else.

`doors.json` in the data folder says who may be where: {"ada": {"<slug>": "write"}}.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import django

django.setup()

from django.conf import settings  # noqa: E402

from runtimes import jupyter  # noqa: E402
from runtimes.jupyter import hosts, policy  # noqa: E402
from runtimes.jupyter.hooks import Access, Hooks  # noqa: E402

PAGE = """<!doctype html><title>parent</title>
<style>html, body {{ margin: 0; height: 100% }} iframe {{ width: 100%; height: 92%; border: 0 }}</style>
<button id="bar">Bar</button>
<iframe id="frame" name="notebook" sandbox="{sandbox}" allow="clipboard-read; clipboard-write"></iframe>
<form id="form" method="post" target="notebook" action="{origin}/enter">
<input type="hidden" name="ticket"><input type="hidden" name="next"></form>
<script>
window.said = [];
addEventListener("message", (event) => {{
  if (event.origin !== "{origin}" || event.source !== frame.contentWindow) return;
  said.push(event.data);
  if (event.data.type === "nb:focus-out") bar.focus();
}});
window.tell = (message) => frame.contentWindow.postMessage(message, "{origin}");
</script>"""


def _doors() -> dict[str, dict[str, dict[str, str]]]:
    doors: dict[str, dict[str, dict[str, str]]] = json.loads(Path(settings.DATA_DIR, "doors.json").read_text())
    return doors


async def _access(subject: str, slug: str) -> Access | None:
    found: Any = _doors().get(subject, {}).get(slug)
    return Access(language="en", theme="light", display_name=subject.capitalize(), **found) if found else None


_notebooks = jupyter.application(Hooks(access=_access))


async def application(scope: Any, receive: Any, send: Any) -> None:
    host = next((value.decode() for key, value in scope.get("headers", []) if key == b"host"), "")
    if scope["type"] != "http" or host != settings.SITE_HOST:
        await _notebooks(scope, receive, send)
        return
    slug = parse_qs(scope["query_string"].decode()).get("slug", ["w"])[0]
    page = PAGE.format(origin=html.escape(hosts.origin(slug)), sandbox=policy.FRAME_SANDBOX)
    headers = [(b"content-type", b"text/html"), (b"referrer-policy", b"same-origin"),
               (b"set-cookie", b"site=the-session; HttpOnly; SameSite=Lax; Path=/")]  # fmt: skip
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": page.encode()})

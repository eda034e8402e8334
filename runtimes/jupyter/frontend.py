"""The stock Notebook 7 front end as a library: its page and its configuration. No Tornado application is made."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import re
import sys
from pathlib import Path
from typing import Any, Literal

import jinja2
import jupyter_server
import notebook
from django.conf import settings
from jupyterlab_server.config import get_page_config

from runtimes.jupyter import hosts
from runtimes.jupyter.entry import Entry

Page = Literal["notebooks", "tree", "edit"]

SHARE = Path(sys.prefix) / "share" / "jupyter"
LABEXTENSIONS = SHARE / "labextensions"
SCHEMAS = SHARE / "lab" / "schemas"
THEMES = SHARE / "lab" / "themes"
# No site-wide overrides file of an administrator's JupyterLab may change what students see.
NO_APP_SETTINGS = "/nonexistent"
PACKAGE = Path(notebook.__file__).parent
FAVICONS = Path(jupyter_server.__file__).parent / "static" / "favicons"
OWN_ASSETS = Path(__file__).parent / "browser"

# Not here: other servers' features, ways out of the frame, and what would lead to pages that this host does not have.
_DISABLED = [
    "@jupyterlab/lsp-extension",
    "@jupyterlab/extensionmanager-extension",
    "@jupyterlab/hub-extension",
    "@jupyterlab/terminal-extension",
    "@jupyterlab/apputils-extension:announcements",
    "@jupyter-notebook/terminal-extension",
    "@jupyter-notebook/application-extension:logo",
    "@jupyter-notebook/notebook-extension:close-tab",
    "@jupyter-notebook/notebook-extension:open-tree-tab",
    "@jupyter/docprovider-extension:statusBarTimeline",
    "@jupyter/collaboration-extension:shared-link",
]
# nbgrader's buttons speak to nbgrader's own server extension; publishing and checking are the site's pages.
_LEFT_OUT = {"@jupyter/nbgrader", "@jupyter-notebook/lab-extension"}
_INLINE_SCRIPT = re.compile(r"<script>.*?</script>", re.DOTALL)

_TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(PACKAGE / "templates"), autoescape=True)


@functools.cache
def key() -> str:
    """Changes whenever a file of the front end may have changed: part of every asset's address."""
    digest = hashlib.sha256()
    for name in ("notebook", "jupyterlab", "jupyter-collaboration-ui", "jupyter-docprovider", "jupyterlab-widgets"):
        digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    for path in sorted(OWN_ASSETS.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def assets_url() -> str:
    """Where this version's files are, without a slash at the end."""
    return f"{hosts.static_origin()}/{key()}"


@functools.cache
def _extensions() -> dict[str, Any]:
    found = dict(get_page_config([str(LABEXTENSIONS)], NO_APP_SETTINGS))
    found["federated_extensions"] = [e for e in found["federated_extensions"] if e["name"] not in _LEFT_OUT]
    found["disabledExtensions"] = sorted({*found.get("disabledExtensions", []), *_DISABLED})
    return found


def page_config(entry: Entry) -> dict[str, Any]:
    """PageConfig of @jupyterlab/coreutils for one person in one workspace."""
    assets = assets_url()
    config: dict[str, Any] = {
        **_extensions(),
        "appName": "Notebook",
        "appNamespace": "notebook",
        "appUrl": "/lab",
        "appVersion": notebook.__version__,
        "baseUrl": "/",
        "wsUrl": "",
        "frontendUrl": "/",
        "token": "",
        "fullStaticUrl": f"{assets}/notebook",
        "labextensionsUrl": "/lab/extensions",
        "fullLabextensionsUrl": f"{assets}/extensions",
        # A reader's page must not ask for a kernel that it will not get.
        "notebookStartsKernel": entry.may_write,
        "preferredPath": "/",
        "cacheFiles": True,
        "news": {"disabled": True},
        "mathjaxConfig": "TeX-AMS_HTML-full,Safe",
        "fullMathjaxUrl": "",
        "exposeAppInBrowser": True,
        "disableRTC": False,
        "serverSideExecution": "true",
        "siteOrigin": settings.SITE_ORIGIN,
        "readOnly": not entry.may_write,
    }
    for name in ("settings", "themes", "translationsApi", "workspacesApi", "licenses", "listings", "tree"):
        path = {"tree": "/lab/tree", "translationsApi": "/lab/api/translations", "workspacesApi": "/lab/api/workspaces"}
        config[f"{name}Url"] = path.get(name, f"/lab/api/{name}")
        config[f"full{name[0].upper()}{name[1:]}Url"] = config[f"{name}Url"]
    for absent in ("terminalsAvailable", "devMode", "buildAvailable", "buildCheck", "quitButton", "allow_hidden_files",
                   "delete_to_trash", "nbclassic_enabled", "copyAbsolutePath"):  # fmt: skip
        config[absent] = False
    return config


def html(page: Page, entry: Entry, language: str) -> str:
    """The front end's own page, with our scripts in place of its inline one (there is no token in our addresses)."""
    config = page_config(entry)
    text = _TEMPLATES.get_template(f"{page}.html").render(page_config=config, base_url="/", ws_url="", custom_css=False)
    assets = assets_url()
    text = text.replace('"/static/favicons/', f'"{assets}/favicons/').replace("<html>", f'<html lang="{language}">', 1)
    text, replaced = _INLINE_SCRIPT.subn("", text)
    # Before the front end's own, in this order: it opens sockets as soon as it runs.
    names = ("storage", "connection", "frame", "input")
    ours = "".join(f'<script defer src="{assets}/own/{name}.js"></script>' for name in names)
    before, main, after = text.partition("<script defer")
    if replaced != 1 or not main:
        raise RuntimeError(f"{page}.html of notebook {notebook.__version__} is not built as expected")
    return before + ours + main + after


def describe() -> str:
    """The front end's configuration as JSON, for a person who wants to see what is switched off."""
    return json.dumps(_extensions(), indent=1)

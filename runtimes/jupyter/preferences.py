"""What a person likes: the front end's settings (kept for the person, in every workspace) and its language."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
from collections.abc import Mapping
from typing import Any

import json5
from jupyterlab_server.settings_utils import get_settings
from jupyterlab_server.translation_utils import get_language_pack, get_language_packs
from starlette.requests import Request
from starlette.responses import Response

from runtimes.jupyter import frontend, replies
from runtimes.jupyter.bodies import json_object, text
from runtimes.jupyter.entry import Entry, entry_of
from runtimes.jupyter.errors import BadRequest, NotFound
from runtimes.jupyter.off_loop import off_loop
from runtimes.models import FrontEndSetting

_LANGUAGE_PLUGIN = "@jupyterlab/translation-extension:plugin"
_THEME_PLUGIN = "@jupyterlab/apputils-extension:themes"
_COMPLETER_PLUGIN = "@jupyterlab/completer-extension:manager"
_TRACKER_PLUGIN = "@jupyterlab/notebook-extension:tracker"
_THEMES: dict[str, dict[str, Any]] = {
    "light": {"theme": "JupyterLab Light"},
    "dark": {"theme": "JupyterLab Dark"},
    "auto": {"adaptive-theme": True},
}
# Django's tag → the language pack's (POSIX locale). English is built in.
LOCALES = {"fr": "fr_FR"}
_MOST_RAW = 100_000


@functools.cache
def schemas() -> dict[str, dict[str, Any]]:
    """Every plugin's settings as jupyterlab_server lists them, by id, without anybody's own values."""
    # The person's folder and the administrator's overrides do not exist here: rows and `_ours` take their place.
    listed, _warnings = get_settings(
        frontend.NO_APP_SETTINGS,
        str(frontend.SCHEMAS),
        frontend.NO_APP_SETTINGS,
        labextensions_path=[str(frontend.LABEXTENSIONS)],
    )
    return {setting["id"]: setting for setting in listed["settings"]}


def _defaults(entry: Entry) -> dict[str, dict[str, Any]]:
    """What the site's own choices mean to the front end: defaults, which the person may overrule there."""
    chosen: dict[str, dict[str, Any]] = {
        _THEME_PLUGIN: _THEMES.get(entry.theme, _THEMES["auto"]),
        # A notebook that names no kernel, or one from another machine, must not begin with a question.
        _TRACKER_PLUGIN: {"autoStartDefaultKernel": True},
        # The first completion of a kernel reads libraries, which takes a small machine longer than a second.
        _COMPLETER_PLUGIN: {"providerTimeout": 20_000},
    }
    if locale := LOCALES.get(entry.language.split("-")[0]):
        chosen[_LANGUAGE_PLUGIN] = {"locale": locale}
    return chosen


def _stored(subject: str) -> dict[str, str]:
    return dict(FrontEndSetting.objects.filter(subject=subject).values_list("plugin", "raw"))


def _setting(plugin: str, defaults: Mapping[str, Any], raws: Mapping[str, str]) -> dict[str, Any]:
    raw = raws.get(plugin, "{}")
    try:
        values = json5.loads(raw) if raw != "{}" else {}
    except ValueError:
        # A person may save half-typed JSON5: the front end shows the text and works with its defaults.
        values = {}
    described = {**schemas()[plugin], "raw": raw, "settings": values if isinstance(values, dict) else {}}
    if plugin in defaults:
        described["schema"] = _with_defaults(described["schema"], defaults[plugin])
    return described


def _with_defaults(schema: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    properties = dict(schema["properties"])
    for name, value in defaults.items():
        properties[name] = {**properties[name], "default": value}
    return {**schema, "properties": properties}


@functools.lru_cache(maxsize=64)
def _all_settings(defaults: str, raws: frozenset[tuple[str, str]]) -> bytes:
    # 158 KB of JSON that hardly ever differs between people: packed once for each set of wishes.
    listed = [_setting(plugin, json.loads(defaults), dict(raws)) for plugin in schemas()]
    return gzip.compress(replies.Json({"settings": listed}).body, 6, mtime=0)


async def list_settings(request: Request) -> Response:
    """GET /lab/api/settings"""
    if request.query_params.get("ids_only") == "true":
        return replies.Json({"settings": [{"id": plugin} for plugin in schemas()]})
    entry = entry_of(request.scope)
    raws = frozenset((await off_loop(_stored, entry.subject)).items())
    packed = await asyncio.to_thread(_all_settings, json.dumps(_defaults(entry)), raws)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(gzip.decompress(packed), media_type="application/json")
    return Response(packed, media_type="application/json", headers={"content-encoding": "gzip"})


async def read_setting(request: Request) -> Response:
    """GET /lab/api/settings/<plugin>"""
    plugin = request.path_params["plugin"]
    if plugin not in schemas():
        raise NotFound(plugin)
    entry = entry_of(request.scope)
    return replies.Json(_setting(plugin, _defaults(entry), await off_loop(_stored, entry.subject)))


async def write_setting(request: Request) -> Response:
    """PUT /lab/api/settings/<plugin> {raw}: kept for the person, who may be a reader here."""
    plugin = request.path_params["plugin"]
    if plugin not in schemas():
        raise NotFound(plugin)
    raw = text(await json_object(request), "raw", most=_MOST_RAW)
    if raw is None:
        raise BadRequest("no raw")
    subject = entry_of(request.scope).subject
    store = FrontEndSetting.objects.update_or_create
    await off_loop(store, subject=subject, plugin=plugin, defaults={"raw": raw})
    return replies.empty()


@functools.cache
def _pack(locale: str) -> bytes:
    data, message = get_language_pack(locale)
    return bytes(replies.Json({"data": data, "message": message}).body)


@functools.cache
def _packs() -> bytes:
    data, message = get_language_packs()
    return bytes(replies.Json({"data": data, "message": message}).body)


async def list_translations(request: Request) -> Response:
    """GET /lab/api/translations"""
    return Response(await asyncio.to_thread(_packs), media_type="application/json")


async def read_translation(request: Request) -> Response:
    """GET /lab/api/translations/<locale>: only the packs that we offer; any other locale is English."""
    locale = request.path_params["locale"].replace("-", "_")
    if locale not in LOCALES.values():
        return replies.Json({"data": {}, "message": ""})
    body = await asyncio.to_thread(_pack, locale)
    return Response(body, media_type="application/json")


async def list_workspaces(request: Request) -> Response:
    """GET /lab/api/workspaces: window layouts of JupyterLab, which Notebook 7 does not keep."""
    return replies.Json({"workspaces": {"ids": [], "values": []}})


async def read_workspace(request: Request) -> Response:
    """GET /lab/api/workspaces/<name>: always a fresh one."""
    return replies.Json({"data": {}, "metadata": {"id": request.path_params["name"]}})


async def write_workspace(request: Request) -> Response:
    """PUT /lab/api/workspaces/<name>: taken and not kept, as nothing in Notebook 7 reads it back."""
    await json_object(request)
    return replies.empty()

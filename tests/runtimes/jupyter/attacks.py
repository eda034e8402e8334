"""What a script in a notebook's frame tries. Each answers with what it got, or BLOCKED."""

from __future__ import annotations

from collections.abc import Mapping

#: Takes the site's origin, another workspace's, and an address of the site that takes POSTs.
ATTACKS = """async ([site, other, address]) => {
  const got = {};
  const attempt = async (name, act) => {
    try { got[name] = String(await act()) } catch (error) { got[name] = "BLOCKED " + error.name }
  };
  const socket = (url) => new Promise((done) => {
    const opened = new WebSocket(url);
    opened.onopen = () => done("OPEN");
    opened.onerror = () => done("BLOCKED");
  });
  await attempt("the page around it", () => parent.document.title);
  await attempt("its own cookie", () => document.cookie === "" ? "BLOCKED" : document.cookie);
  await attempt("the site, as the person", async () => (await fetch(site + "/", {credentials: "include"})).status);
  await attempt("a blind post to the site", async () =>
    (await fetch(site + address, {credentials: "include", mode: "no-cors", method: "POST"})).type);
  await attempt("another workspace", async () =>
    (await fetch(other + "/api/contents", {credentials: "include"})).status);
  await attempt("another workspace's socket", () => socket(other.replace("http", "ws") + "/api/events/subscribe"));
  await attempt("the top page", () => { top.location = "http://example.invalid/"; return "navigated" });
  await attempt("the top page by its name", () =>
    open("http://example.invalid/", "_top") === null ? "BLOCKED" : "navigated");
  await attempt("any server by fetch", async () => {
    await fetch("http://127.0.0.1:1/", {mode: "no-cors"}); return "sent";
  });
  await attempt("a beacon", () => navigator.sendBeacon("http://127.0.0.1:1/", "x") ? "QUEUED" : "BLOCKED");
  await attempt("a form to the site", () => {
    const fields = {method: "post", action: site + address, target: "_self"};
    const form = Object.assign(document.createElement("form"), fields);
    document.body.append(form); form.submit(); return "submitted";
  });
  return got;
}"""

#: Refused by the page's policy, without telling the script.
_SILENT = frozenset({"a form to the site", "a beacon"})


def leaks(got: Mapping[str, str]) -> dict[str, str]:
    """What the attacks did get."""
    return {name: value for name, value in got.items() if name not in _SILENT and "BLOCKED" not in value}

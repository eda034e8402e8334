// The bar above a notebook's frame. What comes out of the frame is a hint for the display (docs/protocol.md); what was
// saved, submitted or graded is the server's to say.
const bar = document.getElementById("bar");
const frame = document.getElementById("frame");
const enterForm = document.getElementById("enter");
const words = bar.dataset;
const csrf = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

const SECOND = 1000;
const POLL_MOVING = 1.5 * SECOND;
const POLL_CALM = 10 * SECOND;
const PATIENCE = 20 * SECOND;
const FLUSH_PATIENCE = 10 * SECOND;

// --- entering the frame: by a form with a one-time ticket, never by an address
let patience = 0;
function entering() {
  document.getElementById("refused").hidden = true;
  clearTimeout(patience);
  patience = setTimeout(() => { document.getElementById("refused").hidden = false; }, PATIENCE);
}
async function enterAgain(path) {
  entering();
  const response = await fetch(words.ticketUrl, { method: "POST", headers: { "X-CSRFToken": csrf } });
  // Signed out meanwhile, or no longer in the course: the page itself says so.
  if (!response.ok || response.redirected) { location.reload(); return; }
  enterForm.elements.ticket.value = (await response.json()).ticket;
  if (path) enterForm.elements.next.value = path;
  enterForm.submit();
}
document.getElementById("enter-again").addEventListener("click", () => enterAgain());
for (const link of bar.querySelectorAll("a[data-path]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const path = link.dataset.path;
    for (const other of bar.querySelectorAll("a[data-path]")) other.removeAttribute("aria-current");
    link.setAttribute("aria-current", "page");
    document.getElementById("path-word").textContent = path;
    link.closest("details").open = false;
    history.replaceState(null, "", `?path=${encodeURIComponent(path)}`);
    say("opening");
    enterAgain(path);
  });
}

// --- messages
const waiting = new Map();
let number = 0;
function send(message) {
  frame.contentWindow.postMessage(message, words.origin);
}
function ask(type, extra = {}) {
  number += 1;
  const id = number;
  return new Promise((resolve) => {
    waiting.set(id, resolve);
    setTimeout(() => { if (waiting.delete(id)) resolve("late"); }, FLUSH_PATIENCE);
    send({ type, id, ...extra });
  });
}
const heard = {
  "nb:ready": () => { clearTimeout(patience); document.getElementById("refused").hidden = true; isReady = true; },
  "nb:saved": () => { say("saved"); if (cellsChanged) { cellsChanged = false; poll(); } },
  "nb:cells": () => { cellsChanged = true; },
  "nb:dirty": () => say("saving"),
  "nb:offline": () => say("offline"),
  "nb:online": () => { say("saved"); poll(); },
  "nb:kernel": (data) => kernelHint(String(data.status)),
  "nb:focus-out": (data) => (data.direction === "on" ? document.getElementById("after-frame") : bar).focus(),
  "nb:done": (data) => answered(data, "done"),
  "nb:error": (data) => answered(data, "error"),
};
let isReady = false;
let cellsChanged = false; // cells came, went or moved since the server was asked what is missing
addEventListener("message", (event) => {
  if (event.origin !== words.origin || event.source !== frame.contentWindow) return;
  const handler = heard[event.data?.type];
  if (handler) handler(event.data);
});
function answered(data, how) {
  const resolve = waiting.get(data.id);
  if (waiting.delete(data.id)) resolve(how);
}

// --- saved, saving, not saved
const dot = document.querySelector("#saved .dot");
const savedWord = document.getElementById("saved-word");
let saying = "";
function say(what) {
  if (!dot || what === saying) return;
  saying = what;
  document.getElementById("offline").hidden = what !== "offline";
  document.getElementById("saved").dataset.how = what;
  showSaved();
}
function showSaved() {
  const text = { opening: words.wordOpening, saving: words.wordSaving, offline: words.wordUnsaved }[saying];
  if (text) { savedWord.textContent = text; return; }
  if (saying !== "saved") return;
  // The server says it in the time zone in which the page says all else.
  const time = !matchMedia("(max-width: 40rem)").matches && document.getElementById("saved-at").dataset.at;
  savedWord.textContent = time ? words.wordSavedAt.replace("%(time)s", time) : words.wordSaved;
}
addEventListener("beforeunload", (event) => { if (saying === "offline") event.preventDefault(); });
addEventListener("offline", () => say("offline"));
addEventListener("online", () => { send({ type: "nb:hello" }); poll(); });

// --- the kernel: the frame knows first whether it is busy, the server knows all else
function kernelHint(status) {
  const word = document.getElementById("machine-word");
  if (word.dataset.machine === "running" && (status === "idle" || status === "busy")) {
    for (const state of word.querySelectorAll("[data-word]")) state.hidden = state.dataset.word !== status;
    return;
  }
  if (["dead", "autorestarting", "restarting", "starting"].includes(status)) poll();
}

// --- asking the server: often while something moves, calmly else, never in a hidden page
let timer = 0;
async function poll() {
  clearTimeout(timer);
  if (!document.hidden && saying !== "offline") {
    try { await htmx.ajax("GET", words.stateUrl, { swap: "none", source: bar }); } catch { /* offline: the bar says so */ }
  }
  again();
}
function again() {
  clearTimeout(timer);
  const moving = document.getElementById("machine-word").dataset.moving === "1";
  timer = setTimeout(poll, moving ? POLL_MOVING : POLL_CALM);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
// A click that is under way knows more than a poll, and htmx finds what to swap only from a button that is still there.
document.body.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.requestConfig.elt === bar && document.querySelector(".htmx-request:not(#bar)")) event.detail.shouldSwap = false;
});
// A notice that is as it was is not read out again.
document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
  const { target, fragment } = event.detail;
  if (target.getAttribute("role") === "status" && target.innerHTML === fragment.firstElementChild?.innerHTML) event.detail.shouldSwap = false;
});
document.body.addEventListener("htmx:oobAfterSwap", (event) => { if (event.detail.target.id === "saved-at") showSaved(); });
const machineMenu = document.getElementById("machine-menu");
function askUse() {
  if (machineMenu.open) htmx.ajax("GET", words.machineUrl, { target: "#machine-use", swap: "innerHTML" });
}
machineMenu.addEventListener("toggle", askUse);
// What a machine uses that has stopped meanwhile, or has come, is asked anew.
let machineWas = document.getElementById("machine-word").dataset.machine;
document.body.addEventListener("htmx:oobAfterSwap", (event) => {
  const now = event.detail.target.id === "machine-word" && document.getElementById("machine-word").dataset.machine;
  if (!now || now === machineWas) return;
  machineWas = now;
  askUse();
});
// A restart that the server made is news to the frame, which starts a kernel where there is none.
document.body.addEventListener("click", (event) => {
  const button = event.target.closest("[data-frame]");
  if (button && isReady) send({ type: button.dataset.frame });
});
// So is a new machine in the place of one that was taken away.
let moved = document.getElementById("machine-word").dataset.moved;
document.body.addEventListener("htmx:oobAfterSwap", (event) => {
  const now = event.detail.target.id === "machine-word" && document.getElementById("machine-word").dataset.moved;
  if (!now || now === moved) return;
  moved = now;
  if (isReady) send({ type: "nb:restart" });
});
document.body.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.elt !== bar) again();
});
document.body.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status === 404 && event.detail.elt === bar) location.reload();
});

// --- the way in and out for keyboards
document.getElementById("into-frame").addEventListener("click", () => { frame.focus(); send({ type: "nb:focus" }); });
document.getElementById("after-frame").addEventListener("click", () => bar.focus());
document.addEventListener("keydown", (event) => {
  if (event.key === "F6" && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    frame.focus();
    send({ type: "nb:focus" });
  }
});

// --- submit: first let what was typed reach the server, then freeze what is there
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.id === "check-form") await checks(event, form);
  if (form.id !== "submit-form") return;
  event.preventDefault();
  const button = form.querySelector("button");
  if (button.disabled) return;
  const asked = [document.getElementById("findings").dataset.ask, form.dataset.ask].filter(Boolean).join("\n\n");
  if (asked && !confirm(asked)) return;
  button.disabled = true;
  const flushed = isReady ? await ask("nb:flush") : "error";
  if (flushed !== "done" && isReady && !confirm(words.wordUnsure)) { button.disabled = false; return; }
  const values = Object.fromEntries(new FormData(form));
  try {
    await htmx.ajax("POST", form.action, { target: "#receipt", swap: "innerHTML", values, source: form });
  } catch { /* site.js says so */ } finally {
    const now = document.getElementById("submit-button");
    if (now === button) button.disabled = false;
    poll();
  }
});
// --- check: the same, and nothing is frozen for good
async function checks(event, form) {
  event.preventDefault();
  const button = form.querySelector("button");
  if (button.disabled) return;
  button.disabled = true;
  if (isReady) await ask("nb:flush");
  try {
    await htmx.ajax("POST", form.action, { target: "#check", swap: "innerHTML", source: form });
  } catch { /* site.js says so */ } finally {
    button.disabled = false;
  }
}
document.body.addEventListener("htmx:afterSwap", (event) => {
  const opens = event.detail.target.querySelector?.("[data-dialog-open]");
  const dialog = opens && document.getElementById(opens.dataset.dialogOpen);
  if (dialog && !dialog.open) dialog.showModal();
});

entering();
enterForm.submit();
again();

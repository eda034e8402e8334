// Marking by keyboard. Nothing moves under the hand: fields save themselves, the page stays where it is.
const cells = [...document.querySelectorAll("[data-cell]")];
const SLOW = 800;
let current = -1;

function go(index) {
  if (!cells.length) return;
  const at = Math.max(0, Math.min(cells.length - 1, index));
  cells[current]?.classList.remove("is-current");
  current = at;
  const cell = cells[at];
  cell.classList.add("is-current");
  cell.focus({ preventScroll: true });
  cell.scrollIntoView({ block: "nearest" });
  // Of a cell that is higher than the window, the end with the marks is what counts.
  cell.querySelector("[data-marks]")?.scrollIntoView({ block: "nearest" });
}
function field(name) {
  if (current < 0) go(0);
  return cells[current]?.querySelector(`[data-${name}]:not(:disabled)`);
}
function into(name) {
  const target = field(name);
  const fold = target?.closest("details");
  if (fold) fold.open = true;
  target?.focus();
  target?.select?.();
  return target;
}
function press(key) {
  document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.click();
}
const keys = {
  j: () => go(current + 1),
  k: () => go(current - 1),
  s: () => into("score"),
  c: () => into("comment"),
  x: () => into("extra"),
  m: () => {
    const target = field("score");
    if (!target) return;
    target.value = target.dataset.most;
    target.dispatchEvent(new Event("change", { bubbles: true }));
  },
  n: () => press("n"),
  p: () => press("p"),
  u: () => press("u"),
  f: () => press("f"),
  "?": () => press("?"),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest("input, textarea, select");
  if (typing) {
    const leaves = event.key === "Escape" || (event.key === "Enter" && typing.tagName === "INPUT");
    if (!leaves) return;
    event.preventDefault();
    typing.blur();
    cells[current]?.focus({ preventScroll: true });
    return;
  }
  if (/^[0-9]$/.test(event.key)) {
    const target = into("score");
    if (target) {
      event.preventDefault();
      target.value = event.key;
      target.dispatchEvent(new Event("input", { bubbles: true }));
    }
    return;
  }
  const act = keys[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});
document.addEventListener("focusin", (event) => {
  const cell = event.target.closest("[data-cell]");
  if (!cell || cells[current] === cell) return;
  cells[current]?.classList.remove("is-current");
  current = cells.indexOf(cell);
  cell.classList.add("is-current");
});

// Saved as you type: a pause saves, and so does leaving the field.
const pauses = new WeakMap();
const typed = new WeakMap(); // form → how often it was typed in
const sent = new WeakMap(); // form → how much of that is in the request that is on its way
const unsaved = new Set();
let finishing = null; // the form that finishes once everything is saved, and its button
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-marks]");
  if (!form) return;
  unsaved.add(form);
  typed.set(form, (typed.get(form) || 0) + 1);
  clearTimeout(pauses.get(form));
  pauses.set(form, setTimeout(() => htmx.trigger(form, "keep"), SLOW));
});
document.addEventListener("change", (event) => clearTimeout(pauses.get(event.target.closest("form[data-marks]"))));
document.body.addEventListener("htmx:beforeRequest", (event) => {
  const form = event.detail.elt;
  if (form.matches?.("form[data-marks]")) sent.set(form, typed.get(form));
});
document.body.addEventListener("htmx:afterRequest", (event) => {
  const form = event.detail.elt;
  if (!form.matches?.("form[data-marks]")) return;
  if (!event.detail.successful) {
    finishing = null;
    form.querySelector("[id^=kept-]").textContent = document.querySelector(".review").dataset.unsaved;
    return;
  }
  if (sent.get(form) === typed.get(form)) unsaved.delete(form);
  if (!finishing || unsaved.size) return;
  const { target, button } = finishing;
  finishing = null;
  delete target.dataset.sent;
  target.requestSubmit(button);
});
addEventListener("beforeunload", (event) => { if (unsaved.size) event.preventDefault(); });
// Finishing waits for what was typed last.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-finish]") || !unsaved.size) return;
  event.preventDefault();
  finishing = { target: event.target, button: event.submitter };
  for (const form of unsaved) htmx.trigger(form, "keep");
}, true);

for (const area of document.querySelectorAll("textarea[data-comment]")) {
  const grow = () => { area.rows = Math.min(12, Math.max(1, area.value.split("\n").length)); };
  area.addEventListener("input", grow);
  grow();
}

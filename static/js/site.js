// Everything here adds comfort; each page works without it.

// What is wrong in a long form is gone to, however far down or folded up it stands.
const wrong = document.querySelector("main form [aria-invalid=true]");
if (wrong) {
  const fold = wrong.closest("details");
  if (fold) fold.open = true;
  wrong.focus({ preventScroll: true });
  wrong.scrollIntoView({ block: "center" });
}

// A menu closes by Escape, by a click beside it and when the focus leaves it.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = event.target.closest?.("details[data-menu][open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
document.addEventListener("focusout", (event) => {
  const menu = event.target.closest?.("details[data-menu][open]");
  if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});

// The theme changes under the hand; the form keeps it. A notebook in a frame is told by loading the page again.
const themeForms = document.getElementById("frame") ? [] : document.querySelectorAll("form:has([data-theme-choice])");
for (const form of themeForms) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = event.submitter;
    document.documentElement.dataset.theme = chosen.value;
    for (const button of form.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button === chosen));
    }
    const body = new FormData(form);
    body.set("theme", chosen.value);
    fetch(form.action, { method: "POST", body, redirect: "manual" });
  });
}

// Files that the site would refuse are not sent at all.
document.addEventListener("change", (event) => {
  const most = Number(event.target.dataset?.mostBytes);
  if (!most || !event.target.files) return;
  const size = [...event.target.files].reduce((sum, file) => sum + file.size, 0);
  event.target.setCustomValidity(size > most ? event.target.dataset.tooLarge : "");
  event.target.reportValidity();
});

// A form is sent once, however often it is clicked.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.hasAttribute("data-again")) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// A new course is likely taught where its teacher is; the choice stays theirs.
const zone = document.querySelector("select[data-guess-zone]");
if (zone) {
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if ([...zone.options].some((option) => option.value === here)) zone.value = here;
}

// What the site did not do for a piece of the page is said in words, wherever it was pressed, until it does what is
// pressed next. What only looks again by itself (a get) does so once more and says nothing, except that nobody is signed
// in any more, or somebody is again.
const trouble = document.getElementById("trouble");
let told = "";
function tell(kind) {
  if (!trouble) return;
  told = kind;
  trouble.hidden = !kind;
  for (const one of trouble.querySelectorAll("[data-trouble]")) one.hidden = one.dataset.trouble !== kind;
}
document.body.addEventListener("htmx:responseError", (event) => {
  const { xhr, requestConfig } = event.detail;
  if (xhr.status === 401) tell("out");
  else if (requestConfig.verb !== "get") tell(xhr.status < 500 ? "stale" : "failed");
});
document.body.addEventListener("htmx:sendError", (event) => {
  if (event.detail.requestConfig.verb !== "get") tell("failed");
});
document.body.addEventListener("htmx:afterRequest", (event) => {
  const { successful, requestConfig } = event.detail;
  if (successful && (requestConfig.verb !== "get" || told === "out")) tell("");
});

// A button may open a dialog that the page holds anyway.
document.addEventListener("click", (event) => {
  const opener = event.target.closest?.("[data-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.dialog);
    if (dialog) {
      event.preventDefault();
      dialog.showModal();
    }
  }
  const closer = event.target.closest?.("[data-close]");
  if (closer) closer.closest("dialog")?.close();
});

// A code or a link is copied at a click; the button says so.
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = button.dataset.copied;
});

// Words that were typed and not sent are kept in the page's way out.
let unsent = false;
document.addEventListener("input", (event) => {
  if (event.target.closest?.("form[data-guard]")) unsent = true;
});
document.addEventListener("submit", () => { unsent = false; });
addEventListener("beforeunload", (event) => { if (unsent) event.preventDefault(); });

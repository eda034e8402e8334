// The notebook's half of docs/protocol.md: carries out what the site's bar asks, and tells it what happens here.
//
// Any script in the notebook's output can do what this file does. It is a convenience for the person, never a proof.
"use strict";

(() => {
  const FLUSH_MS = 10000;
  const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const site = config.siteOrigin;
  const framed = window.parent !== window;
  const connection = window.pupitreConnection;
  let app = null;
  let panel = null; // the notebook that is shown
  let lastKernel = "";
  let lastReason = "";

  function tell(message) {
    if (framed) window.parent.postMessage(message, site);
  }

  // --- what the bar may ask

  async function restart() {
    const context = panel.sessionContext;
    const kernel = context.session?.kernel;
    lastReason = "";
    if (kernel && await isThere(kernel)) return context.restartKernel();
    // Its machine is gone: the front end takes ten seconds to notice, and until then has a session that is none.
    if (context.session) await context.shutdown();
    return context.startKernel();
  }

  async function isThere(kernel) {
    const answer = await fetch(`/api/kernels/${kernel.id}`);
    return answer.status !== 404;
  }

  function flush() {
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error("time")), FLUSH_MS));
    return Promise.race([connection.flush(), late]);
  }

  const commands = {
    "nb:save": () => app.commands.execute("docmanager:save"),
    "nb:flush": flush,
    "nb:run-all": () => app.commands.execute("notebook:run-all-cells"),
    "nb:interrupt": () => panel.sessionContext.session?.kernel?.interrupt(),
    "nb:restart": restart,
    "nb:theme": ({ theme }) =>
      app.commands.execute("apputils:change-theme", {
        theme: theme === "dark" ? "JupyterLab Dark" : "JupyterLab Light",
      }),
  };

  async function obey(message) {
    const { type, id } = message;
    try {
      if (!app || !panel) throw new Error("not ready");
      const work = commands[type](message);
      // Run All ends when the last cell has: queued is what was asked for.
      if (type === "nb:run-all") work.catch((error) => fail(type, id, error));
      else await work;
      tell({ type: "nb:done", of: type, id });
    } catch (error) {
      fail(type, id, error);
    }
  }

  function fail(of, id, error) {
    tell({ type: "nb:error", of, id, message: String(error?.message ?? error).slice(0, 300) });
  }

  window.addEventListener("message", (event) => {
    if (event.origin !== site || event.source !== window.parent || !framed) return;
    const message = event.data;
    if (message?.type === "nb:hello") tellAll();
    else if (message?.type === "nb:focus") (panel?.content ?? document.body).activate?.();
    else if (Object.hasOwn(commands, message?.type)) void obey(message);
  });

  // --- what the bar is told

  function kernelStatus() {
    const context = panel.sessionContext;
    const kernel = context.session?.kernel;
    if (!kernel) return context.isReady ? "none" : "starting";
    if (kernel.connectionStatus !== "connected") return kernel.connectionStatus;
    return kernel.status;
  }

  function tellKernel() {
    const status = kernelStatus();
    if (status === lastKernel) return;
    lastKernel = status;
    if (status === "idle" || status === "busy") lastReason = "";
    tell(lastReason ? { type: "nb:kernel", status, reason: lastReason } : { type: "nb:kernel", status });
  }

  // Our bridge says in a status message why a kernel died. Heard before the front end acts on it.
  function hear(_, { msg }) {
    if (msg.header.msg_type !== "status" || !msg.content.reason) return;
    lastReason = String(msg.content.reason).slice(0, 300);
  }

  function tellAll() {
    if (!panel) return;
    tell({ type: "nb:ready", path: panel.context.path });
    lastKernel = "";
    tellKernel();
    tell({ type: connection.isDirty() ? "nb:dirty" : "nb:saved" });
    if (!connection.isOnline()) tell({ type: "nb:offline" });
  }

  // --- cells that are run before there is a kernel

  // Stock, the first cell of Run All starts a kernel of its own beside the one that is on its way, and the others do not
  // wait for either. While the page looks for its kernel there is one to wait for; later all cells wait for one start.
  function startOnce(context) {
    const start = context.startKernel;
    let starting = null;
    context.startKernel = () => {
      starting ??= start.call(context).finally(() => { starting = null; });
      return starting;
    };
    let looked = false; // `isReady` ends again with a shutdown
    const sought = () => { looked ||= context.isReady; return !looked; };
    const hasNoKernel = () => !sought() && !context.session?.kernel;
    Object.defineProperty(context, "hasNoKernel", { get: hasNoKernel, configurable: true });
    connection.runOn(() => kernelHere(context, sought));
  }

  function kernelHere(context, sought) {
    return new Promise((resolve) => {
      const look = () => {
        const kernel = context.session?.kernel;
        if (!kernel && sought() && !context.isDisposed) return;
        context.kernelChanged.disconnect(look);
        resolve(kernel?.id ?? null);
      };
      context.kernelChanged.connect(look);
      context.disposed.connect(look);
      look();
    });
  }

  async function follow(widget) {
    if (!widget?.sessionContext || !widget.context || widget === panel) return;
    panel = widget;
    const session = panel.sessionContext;
    startOnce(session);
    for (const signal of [session.statusChanged, session.connectionStatusChanged, session.kernelChanged]) {
      signal.connect(tellKernel);
    }
    const attend = () => session.session?.kernel?.anyMessage.connect(hear);
    session.kernelChanged.connect(attend);
    attend();
    panel.context.pathChanged.connect((_, path) => tell({ type: "nb:ready", path }));
    await panel.context.ready;
    if (config.readOnly) lock();
    panel.context.model.sharedModel.changed.connect(() => connection.noteOfflineEdit());
    panel.context.model.cells.changed.connect(() => tell({ type: "nb:cells" }));
    tellAll();
  }

  // A reader's edits would be dropped by the server: better that none can be typed.
  function lock() {
    const notebook = panel.content;
    const kinds = notebook.editorConfig;
    const locked = Object.fromEntries(Object.entries(kinds).map(([kind, c]) => [kind, { ...c, readOnly: true }]));
    notebook.editorConfig = locked;
    document.body.classList.add("pupitre-read-only");
  }

  // --- the way out of the frame by keyboard

  window.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "F6" || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      tell({ type: "nb:focus-out", direction: event.shiftKey ? "on" : "back" });
    },
    true,
  );

  // --- other pages of this host

  // A new tab would be a page without our cookie (it belongs to the frame's partition): stay here instead.
  const open = window.open;
  window.open = (address, ...rest) => {
    const target = new URL(address ?? "about:blank", location.href);
    if (!framed || target.origin !== location.origin) return open.call(window, address, ...rest);
    location.assign(target);
    return window;
  };

  // --- the front end's start

  connection.listen((type) => {
    tell({ type });
    if (type === "nb:online") again();
  });

  // The front end tries the kernel's own socket again ever more seldom, and in the end not at all.
  function again() {
    const kernel = panel?.sessionContext.session?.kernel;
    if (kernel && kernel.connectionStatus !== "connected") kernel.reconnect().catch(() => undefined);
  }

  function begin() {
    app = window.jupyterapp;
    if (!app?.restored) return void setTimeout(begin, 50);
    void app.restored.then(() => {
      app.shell.currentChanged?.connect(() => void follow(app.shell.currentWidget));
      void follow(app.shell.currentWidget);
    });
  }
  begin();
})();

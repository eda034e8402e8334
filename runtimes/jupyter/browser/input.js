// input() in a cell that runs server-side: the executor writes what the kernel asks for into the document's state
// (`pupitre_input`); this shows the front end's own prompt in the cell, on every page that has the notebook open, also
// one that was opened later. The answer goes to the server, which takes the question out of the state.
"use strict";
(() => {
  const KEY = "pupitre_input";
  const AGAIN_AFTER = 3000;
  const seen = new WeakSet();

  function watch(panel) {
    if (!panel || !panel.context || !panel.content || !panel.sessionContext || seen.has(panel)) {
      return;
    }
    seen.add(panel);
    panel.context.ready.then(() => {
      const shared = panel.content.model.sharedModel;
      const prompt = new Prompt(panel, shared);
      const changed = (_, change) => {
        if (change.stateChange && change.stateChange.some((one) => one.name === KEY)) {
          prompt.follow(shared.getState(KEY));
        }
      };
      shared.changed.connect(changed);
      panel.disposed.connect(() => shared.changed.disconnect(changed));
      prompt.follow(shared.getState(KEY));
    });
  }

  class Prompt {
    constructor(panel, shared) {
      this.panel = panel;
      this.shared = shared;
      this.run = null;
      this.widget = null;
      this.answered = false;
    }

    async follow(asked) {
      if (asked && asked.run === this.run) {
        return;
      }
      this.take();
      if (!asked) {
        return;
      }
      this.run = asked.run;
      const cell = this.panel.content.widgets.find((one) => one.model.sharedModel.getId() === asked.cell_id);
      if (!cell) {
        return;
      }
      await cell.ready;
      if (this.run === asked.run) {
        this.show(cell, asked);
      }
    }

    show(cell, asked) {
      const area = cell.outputArea;
      const message = {
        header: { msg_id: asked.run, session: this.shared.getState("document_id") || "" },
        content: { prompt: asked.prompt, password: asked.password },
      };
      area.onInputRequest(message, {
        sendInputReply: (content) => {
          this.answered = true;
          this.send(asked.run, content.value);
        },
      });
      this.widget = area.layout.widgets[area.layout.widgets.length - 1];
      if (cell.node.isConnected) {
        cell.node.scrollIntoView({ block: "nearest" });
      }
    }

    // Somebody else answered, or the run is over. A prompt that was answered here goes by itself.
    take() {
      if (this.widget && !this.answered && !this.widget.isDisposed) {
        this.widget.dispose();
      }
      this.run = this.widget = null;
      this.answered = false;
    }

    // The server forgets the question once the kernel has the answer; until then it is told again.
    async send(run, value) {
      const kernel = this.panel.sessionContext.session && this.panel.sessionContext.session.kernel;
      if (!kernel || this.run !== run || this.panel.isDisposed) {
        return;
      }
      try {
        const answer = await fetch(`/api/kernels/${kernel.id}/input`, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ run, value }),
        });
        if (answer.status >= 400 && answer.status < 500) {
          return;
        }
      } catch {
        // Offline for a moment: asked again below.
      }
      window.setTimeout(() => this.send(run, value), AGAIN_AFTER);
    }
  }

  function start() {
    const app = window.jupyterapp;
    if (!app) {
      window.setTimeout(start, 50);
      return;
    }
    app.restored.then(() => {
      watch(app.shell.currentWidget);
      app.shell.currentChanged.connect(() => watch(app.shell.currentWidget));
    });
  }

  start();
})();

// What has reached the server? Watches the socket of the shared document (before the front end opens it).
//
// The protocol itself acknowledges no edit. A "save" message does: the server answers once the document, with all that
// came before on this socket, is in its file. So after a pause in typing we ask for that, and say "saved" on its answer.
"use strict";

(() => {
  const ROOM = "/api/collaboration/room/json:notebook:";
  const SYNC = 0, RAW = 2, STEP1 = 0, STEP2 = 1;
  const ACCESS_CHANGED = 4401;
  const PAUSE_MS = 400, AGAIN_MS = 2000;
  const FIRST_NUMBER = 1 << 24; // the front end numbers its own saves from 1

  let socket = null; // the open one
  let told = null; // the one on which the server was told what it lacked
  let behind = false; // a socket was lost, and not all of the document is known to have arrived since
  let dirty = false;
  let number = FIRST_NUMBER;
  let timer = 0;
  const asked = new Map(); // number → {resolve, reject, edits, whole: the server knew all edits before}
  let edits = 0;
  const listeners = new Set();

  function tell(type) {
    for (const listener of listeners) listener(type);
  }

  function varint(value) {
    const bytes = [];
    while (value > 127) {
      bytes.push(128 | (value & 127));
      value = Math.floor(value / 128);
    }
    return [...bytes, value];
  }

  function ask() {
    return new Promise((resolve, reject) => {
      if (!socket || socket.readyState !== WebSocket.OPEN) {
        reject(new Error("offline"));
        return;
      }
      number += 1;
      asked.set(number, { resolve, reject, edits, whole: told === socket });
      socket.send(new Uint8Array([RAW, 4, ...new TextEncoder().encode("save"), ...varint(number)]));
    });
  }

  function answered(data) {
    const bytes = new Uint8Array(data);
    if (bytes[0] !== RAW) return;
    let reply = null;
    try {
      const text = new TextDecoder().decode(bytes);
      reply = JSON.parse(text.slice(text.indexOf("{")));
    } catch {
      return;
    }
    const question = asked.get(reply.responseTo);
    if (!question) return;
    asked.delete(reply.responseTo);
    if (question.whole) behind = false;
    if (reply.status === "success") question.resolve(question.edits);
    else question.reject(new Error(String(reply.status)));
  }

  async function check() {
    timer = 0;
    try {
      const reached = await ask();
      if (reached === edits && dirty) {
        dirty = false;
        tell("nb:saved");
        return;
      }
    } catch {
      // Offline, or the server was busy saving: asked again below.
    }
    if (dirty) later(AGAIN_MS);
  }

  function later(delay) {
    clearTimeout(timer);
    timer = setTimeout(check, delay);
  }

  function edited() {
    edits += 1;
    if (!dirty) {
      dirty = true;
      tell("nb:dirty");
    }
    later(PAUSE_MS);
  }

  function watch(opened) {
    opened.addEventListener("open", () => {
      socket = opened;
      tell("nb:online");
      if (dirty) later(PAUSE_MS);
    });
    opened.addEventListener("message", (event) => answered(event.data));
    opened.addEventListener("close", ({ code }) => {
      // Access ended or changed: what this person now may see here, or why nothing, is another page.
      if (code === ACCESS_CHANGED) location.reload();
      if (socket !== opened) return;
      socket = null;
      behind = true;
      for (const question of asked.values()) question.reject(new Error("offline"));
      asked.clear();
      tell("nb:offline");
    });
    const send = opened.send;
    opened.send = function (data) {
      send.call(opened, data);
      const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
      if (bytes[0] === SYNC && bytes[1] === STEP2) told = opened;
      // Step 2 and updates carry edits; an empty update (0 0) carries none.
      if (bytes[0] === SYNC && bytes[1] !== STEP1 && bytes.length > 5) edited();
    };
  }

  const Native = window.WebSocket;
  window.WebSocket = class extends Native {
    constructor(...given) {
      super(...given);
      if (decodeURIComponent(new URL(given[0], location.href).pathname).startsWith(ROOM)) watch(this);
    }
  };

  // Cells are asked to run one request after the other, in the front end's own order (the document's, for Run All): over
  // its several connections they would arrive in any order. What is asked for while another still waits belongs together:
  // an error in one of them ends the rest.
  //
  // A cell that is run while the site is away, as it is for a moment when it is upgraded, is run once it is back, as it
  // was typed. Each request has a number of its own, by which the server knows one whose answer was lost.
  const EXECUTE = /^\/api\/kernels\/[^/]+\/execute$/;
  const FORGETS = /^\/api\/kernels\/[^/]+\/(interrupt|restart)$/;
  const ANSWER_MS = 10000, RETRY_MS = 500, LOOK_MS = 100;
  const GIVE_UP_MS = 60000; // of failures while the document's own socket is open
  const fetchNow = window.fetch;
  let turn = Promise.resolve();
  let waiting = 0;
  let together = 0;
  let forgotten = 0; // how often what waits to be run was given up, by an interrupt or a restart

  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  // Waits until the server has all that was typed, where the socket was lost. True if it had to wait.
  async function caughtUp() {
    if (!behind) return false;
    while (behind) {
      // Also one that cannot save now has it.
      if (socket && told === socket) await ask().catch(() => undefined);
      if (behind) await pause(LOOK_MS);
    }
    return true;
  }

  // A proxy's page in the site's place; the site's own answers are JSON.
  function isNobodys(answer) {
    return [502, 503, 504].includes(answer.status) && !answer.headers.get("Content-Type")?.includes("json");
  }

  async function delivered(request, since) {
    let failing = Date.now();
    for (;;) {
      if (await caughtUp()) failing = Date.now();
      if (since !== forgotten) return notRun();
      const last = Date.now() - failing > GIVE_UP_MS;
      try {
        const answer = await fetchNow.call(window, request.clone(), { signal: AbortSignal.timeout(ANSWER_MS) });
        if (last || !isNobodys(answer)) return answer;
      } catch (error) {
        if (last) throw error;
      }
      await pause(RETRY_MS);
    }
  }

  // Run before the page has found or started its kernel, the front end asks for the kernel `undefined`: those requests
  // wait for the one that comes.
  const NO_KERNEL = "/api/kernels/undefined/execute";
  let kernelHere = null; // async () => its id, or null if there will be none
  let attended = null;
  const attending = new Promise((resolve) => { attended = resolve; });

  async function addressed(request) {
    const address = new URL(request.url);
    if (address.pathname !== NO_KERNEL) return request;
    await attending;
    const kernel = await kernelHere();
    if (!kernel) return null;
    address.pathname = `/api/kernels/${kernel}/execute`;
    const { method, headers, credentials } = request;
    return new Request(address, { method, headers, credentials, body: await request.text() });
  }

  const notRun = () => new Response("", { status: 503 });

  function inTurn(request) {
    if (waiting === 0) together = Math.max(Date.now(), together + 1);
    waiting += 1;
    request.headers.set("X-Run-Together", String(together));
    request.headers.set("X-Run-Number", [...crypto.getRandomValues(new Uint32Array(4))].join("-"));
    const since = forgotten;
    const answer = turn.then(() => addressed(request)).then((known) => (known ? delivered(known, since) : notRun()));
    const done = () => { waiting -= 1; };
    turn = answer.then(done, done);
    return answer;
  }

  window.fetch = function (resource, options) {
    const request = resource instanceof Request && !options ? resource : new Request(resource, options);
    const { origin, pathname } = new URL(request.url);
    const posted = origin === location.origin && request.method === "POST";
    if (posted && FORGETS.test(pathname)) forgotten += 1;
    return posted && EXECUTE.test(pathname) ? inTurn(request) : fetchNow.call(window, resource, options);
  };

  window.pupitreConnection = {
    listen(listener) { listeners.add(listener); },
    isDirty: () => dirty,
    isOnline: () => socket !== null,
    // Edits that are made while there is no socket are known to the document only.
    noteOfflineEdit() { if (!socket) edited(); },
    flush: () => ask(),
    runOn(find) {
      kernelHere = find;
      attended();
    },
  };
})();

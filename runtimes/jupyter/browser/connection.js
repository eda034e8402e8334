// What has reached the server? Watches the socket of the shared document (before the front end opens it).
//
// The protocol itself acknowledges no edit. A "save" message does: the server answers once the document, with all that
// came before on this socket, is in its file. So after a pause in typing we ask for that, and say "saved" on its answer.
"use strict";

(() => {
  const ROOM = "/api/collaboration/room/json:notebook:";
  const SYNC = 0, RAW = 2, STEP1 = 0;
  const ACCESS_CHANGED = 4401;
  const PAUSE_MS = 400, AGAIN_MS = 2000;
  const FIRST_NUMBER = 1 << 24; // the front end numbers its own saves from 1

  let socket = null; // the open one
  let dirty = false;
  let number = FIRST_NUMBER;
  let timer = 0;
  const asked = new Map(); // number → {resolve, reject, edits}
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
      asked.set(number, { resolve, reject, edits });
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
      for (const question of asked.values()) question.reject(new Error("offline"));
      asked.clear();
      tell("nb:offline");
    });
    const send = opened.send;
    opened.send = function (data) {
      send.call(opened, data);
      const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
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
  const EXECUTE = /^\/api\/kernels\/[^/]+\/execute$/;
  const TURN_MS = 10000; // a request that hangs does not hold up the others for ever
  const fetchNow = window.fetch;
  let turn = Promise.resolve();
  let waiting = 0;
  let together = 0;

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

  const sendNow = (request) => (request ? fetchNow.call(window, request) : new Response("", { status: 503 }));

  function inTurn(request) {
    if (waiting === 0) together = Math.max(Date.now(), together + 1);
    waiting += 1;
    request.headers.set("X-Run-Together", String(together));
    const ready = turn.then(() => addressed(request));
    const answer = ready.then(sendNow);
    const late = ready.then(() => new Promise((resolve) => setTimeout(resolve, TURN_MS)));
    turn = Promise.race([answer, late]).then(() => undefined, () => undefined);
    const done = () => { waiting -= 1; };
    answer.then(done, done);
    return answer;
  }

  window.fetch = function (resource, options) {
    const request = resource instanceof Request && !options ? resource : new Request(resource, options);
    const { origin, pathname } = new URL(request.url);
    const run = origin === location.origin && request.method === "POST" && EXECUTE.test(pathname);
    return run ? inTurn(request) : fetchNow.call(window, resource, options);
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

// A browser that gives a frame of another site no storage throws as soon as the front end looks for it. The front end then
// knows no name for the person, and whoever works with them reads "Anonymous". What it keeps there (a colour, initials)
// lasts as long as the page in that case; settings are the server's to keep.
"use strict";

(() => {
  class PageStorage {
    #kept = new Map();
    get length() { return this.#kept.size; }
    key(index) { return [...this.#kept.keys()][index] ?? null; }
    getItem(name) { return this.#kept.get(String(name)) ?? null; }
    setItem(name, value) { this.#kept.set(String(name), String(value)); }
    removeItem(name) { this.#kept.delete(String(name)); }
    clear() { this.#kept.clear(); }
  }
  for (const name of ["localStorage", "sessionStorage"]) {
    try {
      void window[name];
    } catch {
      Object.defineProperty(window, name, { value: new PageStorage(), configurable: true });
    }
  }
})();

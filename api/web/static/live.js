// Keeps what a page shows current: it asks for the same page again and morphs the regions marked data-live.

import { morph } from "./morph.js";

const SLOWEST = 30_000; // ms between tries while the server is away
const SOONEST = 1000; // ms, doubled by each failure
const CLOSEST = 700; // ms between refreshes, however often one is asked for

class Live {
  #timer = 0;
  #began = -Infinity;
  #failures = 0;
  #busy = false;
  #again = false;
  #stopped = false;
  #hooks = [];

  start() {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.soon();
    });
    this.#plan();
  }

  /** `hook` runs before a change and may return what runs after it. */
  around(hook) {
    this.#hooks.push(hook);
  }

  /** Refreshes now, or once more when a refresh is under way. */
  soon() {
    if (this.#busy || performance.now() - this.#began < CLOSEST) {
      this.#again = true;
      if (!this.#busy) this.#plan();
    } else this.#refresh();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #plan() {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const every = Number(document.querySelector("[data-every]")?.dataset.every ?? 10_000);
    const wait = this.#failures ? Math.min(SLOWEST, SOONEST * 2 ** Math.min(this.#failures, 6)) : every;
    this.#timer = setTimeout(() => (document.hidden ? this.#plan() : this.#refresh()), this.#again ? CLOSEST : wait);
    this.#again = false;
  }

  async #refresh() {
    if (this.#stopped || this.#busy) return;
    this.#busy = true;
    this.#began = performance.now();
    clearTimeout(this.#timer);
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (this.#stopped) return;
      if (response.ok) this.#show(await response.text());
      else if (response.status === 404) return location.reload();
      else throw new Error(String(response.status));
      this.#failures = 0;
    } catch {
      this.#failures += 1;
    } finally {
      this.#busy = false;
      document.getElementById("offline").hidden = this.#failures < 2;
      this.#plan();
    }
  }

  #show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const after = this.#hooks.map((hook) => hook());
    for (const region of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(region.id);
      if (next) morph(region, next);
    }
    if (document.title !== fresh.title) document.title = fresh.title;
    for (const done of after) done?.();
  }
}

export const live = new Live();

// A job's metrics: read once by GET, then followed by the stream. EventSource cannot begin after a given event, which
// would send everything twice; so the stream is read with fetch, which can say Last-Event-ID from the start.

import { prefix } from "./prefix.js";

const PAGE = 10_000; // points a GET
const PROBE = 2000; // points in which every metric's name is expected
const PAUSES = [500, 1000, 2000, 5000, 10_000]; // ms between connections that brought nothing

export class Metrics {
  #base;
  #series = new Map(); // name → {points, wanted, loaded, waiting}
  #changed;
  #event;
  #last = 0; // greatest seq seen
  #read = null; // seq up to which every loaded series is complete; one that is loaded later may be ahead
  #abort = null;
  #finished = false;

  /** `changed(names)` after new points, `event()` after a change of the job. */
  constructor(job, changed, event) {
    this.#base = `${prefix}/v1/jobs/${encodeURIComponent(job)}`;
    this.#changed = changed;
    this.#event = event;
  }

  get names() {
    return [...this.#series.keys()].sort();
  }

  points(name) {
    return this.#series.get(name)?.points ?? [];
  }

  /** Loads the metrics of these names; the stream keeps them current from then on. */
  async want(names) {
    const missing = names.filter((name) => !this.#of(name).wanted);
    if (!missing.length) return;
    for (const name of missing) this.#of(name).wanted = true;
    try {
      let after = 0;
      for (;;) {
        const query = new URLSearchParams([...missing.map((name) => ["name", name]), ["after_seq", after], ["limit", PAGE]]);
        const page = await this.#get(query);
        for (const point of page) this.#add(point);
        if (page.length) this.#changed(missing);
        if (page.length < PAGE) break;
        after = page[page.length - 1].seq;
      }
      this.#read ??= this.#last;
      for (const name of missing) this.#of(name).loaded = true;
      for (const point of missing.flatMap((name) => this.#of(name).waiting.splice(0))) this.#add(point);
    } catch (error) {
      for (const name of missing) this.#of(name).wanted = false;
      throw error;
    }
    this.#changed(missing);
  }

  /** Learns which metrics there are; the stream adds to that. */
  async discover() {
    for (const { name } of await this.#get(new URLSearchParams([["limit", PROBE]]))) this.#of(name);
  }

  /** Points that are new since the last look, of the metrics wanted so far: for pages of many jobs, where a stream for
   * each would take up all the connections that a browser keeps to a server. */
  async poll() {
    const loaded = [...this.#series].filter(([, series]) => series.loaded).map(([name]) => name);
    if (!loaded.length) return;
    const query = new URLSearchParams([...loaded.map((name) => ["name", name]), ["after_seq", this.#read], ["limit", PAGE]]);
    const page = await this.#get(query);
    for (const point of page) this.#add(point);
    if (!page.length) return;
    this.#read = page[page.length - 1].seq;
    this.#changed(loaded);
  }

  /** Follows the job until it ends; pauses while the page is hidden, to hold no connection for nobody. */
  async follow() {
    let fruitless = 0;
    while (!this.#finished) {
      if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
      const before = this.#last;
      try {
        await this.#connection();
      } catch {
        // the network, or the page was hidden: the next connection goes on after the last event
      }
      fruitless = this.#last > before ? 0 : Math.min(fruitless + 1, PAUSES.length - 1);
      if (!this.#finished) await new Promise((resolve) => setTimeout(resolve, PAUSES[fruitless]));
    }
  }

  #of(name) {
    if (!this.#series.has(name)) this.#series.set(name, { points: [], wanted: false, loaded: false, waiting: [] });
    return this.#series.get(name);
  }

  async #get(query) {
    const response = await fetch(`${this.#base}/metrics?${query}`, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(`metrics: ${response.status}`);
    return (await response.json()).data;
  }

  /** In order of seq and once; JSON's null is a value that was no number. */
  #add({ seq, name, step, epoch, value }) {
    const { points } = this.#of(name);
    if (points.length && points[points.length - 1].seq >= seq) return;
    points.push({ seq, step, epoch, value: Number.isFinite(value) ? value : null });
    this.#last = Math.max(this.#last, seq);
  }

  #arrived(point) {
    const series = this.#of(point.name);
    this.#last = Math.max(this.#last, point.seq);
    if (series.loaded) this.#add(point);
    else if (series.wanted) series.waiting.push(point);
    this.#changed([point.name]);
  }

  async #connection() {
    this.#abort = new AbortController();
    const hide = () => document.hidden && this.#abort.abort();
    document.addEventListener("visibilitychange", hide);
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": String(this.#last) };
      const response = await fetch(`${this.#base}/stream`, { headers, signal: this.#abort.signal, cache: "no-store" });
      if (response.status === 404) this.#finished = true;
      if (!response.ok || !response.body) return;
      for await (const { event, data } of events(response.body)) this.#take(event, data);
    } finally {
      document.removeEventListener("visibilitychange", hide);
    }
  }

  #take(event, data) {
    if (event === "metric") this.#arrived(data);
    else if (event === "event" || event === "status") {
      if (Number.isInteger(data.seq)) this.#last = Math.max(this.#last, data.seq);
      if (event === "status" && ["succeeded", "failed", "cancelled"].includes(data.status)) this.#finished = true;
      this.#event();
    }
  }
}

/** Server-sent events of a body: {event, data}, the data parsed. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      let event = "message";
      const data = [];
      for (const line of block.split(/\r?\n/)) {
        const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line);
        if (field === "event") event = text;
        else if (field === "data") data.push(text);
      }
      if (data.length) yield { event, data: JSON.parse(data.join("\n")) };
    }
  }
}

// A job's metrics: read once by GET, few enough to draw, then followed by the stream. EventSource cannot begin after a given
// event, which would send everything twice; so the stream is read with fetch, which can say Last-Event-ID from the start.

import { prefix } from "./prefix.js";

const FIRST = 600; // points of a metric in the first answer: a sample, which comes at once from a million points as well
const POINTS = 1200; // in the one that follows: the extremes
const MEANS = 800;
const PAGE = 10_000; // points a GET of what is new
const PROBE = 2000; // points in which every metric's name is expected
const PAUSES = [500, 1000, 2000, 5000, 10_000]; // ms between connections that brought nothing
const STILL = 250; // ms without a change of the zoom, until its own points are asked for

export class Metrics {
  #base;
  #series = new Map(); // name → {points, means, detail, thinned, wanted, loaded, waiting}
  #job = { perEpoch: 1, begin: Infinity };
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

  /** What a chart takes of a metric. */
  series(name) {
    const { points = [], means, detail } = this.#series.get(name) ?? {};
    const last = means?.length ? means[means.length - 1].seq : 0;
    return { points, detail, job: this.#job, means: means?.length ? [...means, ...points.filter(({ seq }) => seq > last)] : undefined };
  }

  /** Loads the metrics of these names; the stream keeps them current from then on. */
  async want(names) {
    const missing = names.filter((name) => !this.#of(name).wanted);
    if (!missing.length) return;
    for (const name of missing) this.#of(name).wanted = true;
    try {
      const { data, thinned = [] } = await this.#few(missing, { points: FIRST, thin: "sample" });
      for (const point of data) this.#add(point);
      for (const name of thinned) this.#of(name).thinned = true;
      this.#read ??= this.#last;
      for (const name of missing) this.#of(name).loaded = true;
      for (const point of missing.flatMap((name) => this.#of(name).waiting.splice(0))) this.#add(point);
    } catch (error) {
      for (const name of missing) this.#of(name).wanted = false;
      throw error;
    }
    this.#changed(missing);
    this.#refine(this.#many(missing));
  }

  /** Of a metric that was thinned, the means, which can be smoothed. */
  async wantMeans(names) {
    const missing = this.#many(names).filter((name) => !this.#of(name).means);
    if (!missing.length) return;
    for (const [name, points] of await this.#byName(missing, { points: MEANS, thin: "mean" })) this.#of(name).means = points;
    this.#changed(missing);
  }

  /** Of a metric that was thinned, the extremes between two values of x; none of these where `range` is null. */
  async wantDetail(names, mode, range) {
    const many = this.#many(names);
    if (range === null) for (const name of many) this.#of(name).detail = undefined;
    if (!many.length || range === null) return;
    const [from, to] = this.#steps(many, mode, range);
    const found = await this.#byName(many, { points: POINTS, from_step: from, to_step: to });
    for (const [name, points] of found) this.#of(name).detail = { from, to, points };
    this.#changed(many);
  }

  /** Learns which metrics there are; the stream adds to that. */
  async discover() {
    for (const { name } of (await this.#get(new URLSearchParams([["limit", PROBE]]))).data) this.#of(name);
  }

  /** Points that are new since the last look, of the metrics wanted so far: for pages of many jobs, where a stream for
   * each would take up all the connections that a browser keeps to a server. */
  async poll() {
    const loaded = [...this.#series].filter(([, series]) => series.loaded).map(([name]) => name);
    if (!loaded.length) return;
    const query = new URLSearchParams([...loaded.map((name) => ["name", name]), ["after_seq", this.#read], ["limit", PAGE]]);
    const { data: page } = await this.#get(query);
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
    return response.json();
  }

  #few(names, query) {
    return this.#get(new URLSearchParams([...names.map((name) => ["name", name]), ...Object.entries(query)]));
  }

  async #byName(names, query) {
    const found = new Map(names.map((name) => [name, []]));
    for (const point of (await this.#few(names, query)).data) found.get(point.name).push(this.#point(point));
    return found;
  }

  #many(names) {
    return names.filter((name) => this.#series.get(name)?.thinned);
  }

  /** The extremes in place of the sample: it may have missed spikes. Of a long job the server reads all points for that. */
  async #refine(names) {
    for (let failures = 0; names.length; failures++) {
      try {
        for (const [name, points] of await this.#byName(names, { points: POINTS })) {
          const series = this.#of(name);
          const last = points[points.length - 1]?.seq ?? 0;
          series.points = [...points, ...series.points.filter(({ seq }) => seq > last)];
        }
        this.#changed(names);
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, PAUSES[Math.min(failures, PAUSES.length - 1)]));
      }
    }
  }

  /** The steps that lie between two values of x. */
  #steps(names, mode, [from, to]) {
    if (mode === "step") return [Math.max(0, Math.floor(from)), Math.ceil(to)];
    if (mode === "epoch") return [Math.max(0, Math.floor(from * this.#job.perEpoch)), Math.ceil(to * this.#job.perEpoch)];
    const { points } = this.#of(names[0]);
    const seconds = ({ time }) => (time - this.#job.begin) / 1000;
    const before = points.filter((point) => seconds(point) <= from);
    const after = points.find((point) => seconds(point) >= to) ?? points[points.length - 1];
    return [before[before.length - 1]?.step ?? 0, after?.step ?? 0];
  }

  /** A point of an answer; JSON's null is a value that was no number. */
  #point({ seq, step, epoch, value, time }) {
    const at = Date.parse(time);
    if (epoch > 0) this.#job.perEpoch = Math.max(this.#job.perEpoch, step / epoch);
    this.#job.begin = Math.min(this.#job.begin, at);
    return { seq, step, epoch, time: at, value: Number.isFinite(value) ? value : null };
  }

  /** In order of seq and once. */
  #add(point) {
    const { points } = this.#of(point.name);
    if (points.length && points[points.length - 1].seq >= point.seq) return;
    points.push(this.#point(point));
    this.#last = Math.max(this.#last, point.seq);
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

/** Loads what a change of the view needs of metrics that were thinned; `wanted()`: [{metrics, names}] that are drawn. */
export function feed(view, wanted) {
  let waiting = 0;
  const each = (load) => wanted().forEach(({ metrics, names }) => load(metrics, names).catch(() => {})); // the next change asks again
  view.listen((changed) => {
    if (view.smoothing > 0 || view.banded) each((metrics, names) => metrics.wantMeans(names));
    if (!changed.includes("range") && !changed.includes("mode")) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => each((metrics, names) => metrics.wantDetail(names, view.mode, view.range)), STILL);
  });
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

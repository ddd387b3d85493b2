// What all panels of a page share: what x is, the zoom, the smoothing, the place of the cursor; and its controls.

const EVERY_PANEL = "Of all curves on this page";
const HINT = "Drag over a curve, pinch, or press + and − to zoom; a double click or 0 shows all. ← → read it.";

const MODES = ["step", "epoch", "time"];
const STILL = 200; // ms without a change until the address says it: browsers bound how often it may be written

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export class View {
  mode; // "step", "epoch", "time"
  logX = false;
  smoothing = 0; // weight of the past, 0 to 1
  banded = false; // seeds as a band
  range = null; // [from, to] of x, or null for all of it
  cursor = null; // x, or null
  #axes = new Map(); // title of a panel → whether the reader chose a logarithmic axis
  #shared = false;
  #waiting = 0;
  #panels = [];
  #heard = [];

  constructor(mode = "step") {
    this.mode = mode;
  }

  /** Begins as the address says, and from now on keeps what is chosen there, so that a view can be shared. */
  share() {
    const asked = new URLSearchParams(location.search);
    const [weight, [from, to]] = [Number(asked.get("smooth")), (asked.get("zoom") ?? "").split(":").map(Number)];
    if (MODES.includes(asked.get("x"))) this.mode = asked.get("x");
    if (weight > 0 && weight < 1) this.smoothing = Math.min(weight, 0.99);
    if (from < to && Number.isFinite(to - from)) this.range = [from, to];
    this.logX = asked.has("log_x");
    this.banded = asked.has("bands");
    for (const text of asked.getAll("y")) {
      const [, title, kind] = /^(.*):(log|linear)$/.exec(text) ?? [];
      if (kind) this.#axes.set(title, kind === "log");
    }
    this.#shared = true;
    return this;
  }

  #write() {
    if (!this.#shared) return;
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => {
      const query = new URLSearchParams(location.search);
      const said = { x: this.mode === "step" ? "" : this.mode, log_x: this.logX ? "1" : "", smooth: this.smoothing || "", bands: this.banded ? "1" : "", zoom: this.range?.map((x) => Number(x.toPrecision(9))).join(":") ?? "" };
      for (const [name, value] of Object.entries(said)) value ? query.set(name, value) : query.delete(name);
      query.delete("y");
      for (const [title, log] of this.#axes) query.append("y", `${title}:${log ? "log" : "linear"}`);
      history.replaceState(history.state, "", `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`);
    }, STILL);
  }

  /** Whether the reader chose a logarithmic axis for the panel of this title; undefined where there is no choice. */
  axisOf(title) {
    return this.#axes.get(title);
  }

  chooseAxis(title, log) {
    this.#axes.set(title, log);
    this.#write();
  }

  /** Tells all that listen what was chosen before they had anything to show of it. */
  again() {
    for (const heard of this.#heard) heard(["range", "smoothing", "banded"]);
  }

  join(panel) {
    this.#panels.push(panel);
  }

  /** `heard(names)` after a change of these properties. */
  listen(heard) {
    this.#heard.push(heard);
  }

  point(x) {
    if (x === this.cursor) return;
    this.cursor = x;
    for (const panel of this.#panels) panel.requestCursor();
  }

  /** What x is also decides what a zoom and a cursor mean: both end with it. */
  set(changes) {
    const names = Object.keys(changes).filter((name) => this[name] !== changes[name]);
    if (!names.length) return;
    Object.assign(this, changes);
    if (names.includes("mode")) Object.assign(this, { range: null, cursor: null });
    this.#write();
    for (const panel of this.#panels) panel.request();
    for (const heard of this.#heard) heard(names);
  }

  /** Keeps `by` of the range around `x`: 0.5 halves it. `all` is the whole of it. */
  zoom(by, x, all) {
    const [from, to] = this.range ?? all;
    const at = Math.min(to, Math.max(from, x));
    const range = [Math.max(all[0], at - (at - from) * by), Math.min(all[1], at + (to - at) * by)];
    if (range[0] <= all[0] && range[1] >= all[1]) this.set({ range: null });
    else if (range[1] > range[0]) this.set({ range });
  }

  /** The controls; `bands`: whether there are seeds that can be drawn as a band. */
  controls({ bands = false } = {}) {
    const mode = element("select", { id: "x-mode" }, ...MODES.map((name) => new Option(name, name)));
    mode.value = this.mode;
    mode.addEventListener("change", () => this.set({ mode: mode.value }));
    const slider = element("input", { id: "smoothing", type: "range", min: 0, max: 0.99, step: 0.01, value: this.smoothing });
    const weight = () => (this.smoothing ? this.smoothing.toFixed(2) : "off");
    const said = element("output", { htmlFor: "smoothing" }, weight());
    slider.addEventListener("input", () => {
      this.set({ smoothing: Number(slider.value) });
      said.textContent = weight();
    });
    const parts = [element("span", { className: "pair" }, element("label", { htmlFor: "x-mode" }, "x axis"), mode), this.#box("log-x", "log x", "logX"), element("label", {}, "Smoothing ", slider, said)];
    if (bands) parts.push(this.#box("bands", "seeds as mean ± standard deviation", "banded"));
    const group = element("div", { className: "curve-tools" }, ...parts, this.hint());
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", EVERY_PANEL);
    return group;
  }

  /** How a chart is used, which every chart names as its description. */
  hint() {
    return element("span", { className: "note", id: "curves-hint" }, HINT);
  }

  #box(id, label, property) {
    const box = element("input", { id, type: "checkbox", checked: this[property] });
    box.addEventListener("change", () => this.set({ [property]: box.checked }));
    return element("label", {}, box, ` ${label}`);
  }
}

// A panel with curves in SVG: axes, legend with read-outs, a cursor shared by all panels of a page.

import { brief, exact, lastAt, logTicks, nearest, padded, percent, percentTick, thin, ticks, whole, wholeTicks } from "./scale.js";

const SVG = "http://www.w3.org/2000/svg";
const EDGE = { top: 10, right: 10, bottom: 24 };
const STEEP = 500; // highest to lowest value from which a logarithmic axis is chosen, unless the reader chose
const MOST_MARKED = 40; // points; with more of them dots would hide the line
const FORMATS = { plain: [brief, exact], percent: [percentTick, percent] };

function svg(name, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
}

function html(name, className, text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/** The step that the reader points at, for every panel that joined. */
export class Cursor {
  step = null;
  #panels = [];
  join(panel) {
    this.#panels.push(panel);
  }
  set(step) {
    if (step === this.step) return;
    this.step = step;
    for (const panel of this.#panels) panel.request();
  }
}

export class Chart {
  #series = []; // {name, label, points: [{step, epoch, value}]}, in order of steps
  #hidden = new Set();
  #log = false;
  #chosen = false; // whether the reader chose the axis
  #mode = null;
  #format;
  #cursor;
  #frame = 0;
  #title;
  #buttons = new Map();
  #geometry = null;

  /** `options`: {title, format: "plain" | "percent", log: whether a logarithmic axis is offered} */
  constructor(parent, cursor, options) {
    this.#cursor = cursor;
    this.#title = options.title;
    this.#format = FORMATS[options.format ?? "plain"];
    this.element = html("figure", "panel");
    this.caption = html("figcaption");
    this.caption.append(html("b", "", options.title));
    this.at = html("span", "at");
    this.caption.append(this.at);
    if (options.log) this.caption.append(this.#modeButton());
    this.legend = html("div", "legend");
    this.svg = svg("svg", { class: "chart", role: "img", tabindex: "0" });
    this.element.append(this.caption, this.legend, this.svg);
    parent.append(this.element);
    cursor.join(this);
    this.#listen();
    new ResizeObserver(() => this.request()).observe(this.svg);
  }

  set(series) {
    this.#series = series;
    this.#drawLegend();
    this.#chooseAxis();
    this.request();
  }

  request() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #modeButton() {
    this.#mode = html("button", "mode", "log");
    this.#mode.type = "button";
    this.#mode.title = "Logarithmic axis";
    this.#setLog(false);
    this.#mode.addEventListener("click", () => {
      this.#chosen = true;
      this.#setLog(!this.#log);
      this.request();
    });
    return this.#mode;
  }

  #setLog(on) {
    this.#log = on;
    this.#mode.setAttribute("aria-pressed", String(on));
  }

  /** A loss that explodes would flatten all that came before it. */
  #chooseAxis() {
    if (this.#chosen || !this.#mode) return;
    const values = this.#series.flatMap((one) => one.points).map((point) => point.value).filter((value) => value !== null);
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    this.#setLog(low > 0 && high / low > STEEP && high > 100);
  }

  #drawLegend() {
    const names = this.#series.map((one) => one.name);
    if (names.join("\n") === [...this.#buttons.keys()].join("\n")) return;
    this.#buttons.clear();
    this.legend.replaceChildren();
    this.#series.forEach((one, i) => {
      const button = html("button", `s${(i % 8) + 1}`);
      button.type = "button";
      button.title = `Show or hide ${one.name}`;
      button.setAttribute("aria-pressed", String(!this.#hidden.has(one.name)));
      const value = html("span", "value");
      button.append(one.label ?? one.name, value);
      button.addEventListener("click", () => {
        if (!this.#hidden.delete(one.name)) this.#hidden.add(one.name);
        button.setAttribute("aria-pressed", String(!this.#hidden.has(one.name)));
        this.request();
      });
      this.#buttons.set(one.name, { button, value });
      this.legend.append(button);
    });
  }

  #listen() {
    this.svg.addEventListener("pointermove", (event) => {
      if (!this.#geometry) return;
      const { x0, x1, left, width } = this.#geometry;
      const share = (event.clientX - this.svg.getBoundingClientRect().left - left) / width;
      this.#cursor.set(this.#snap(x0 + Math.min(1, Math.max(0, share)) * (x1 - x0)));
    });
    for (const name of ["pointerleave", "pointercancel", "blur"]) this.svg.addEventListener(name, () => this.#cursor.set(null));
    this.svg.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
      if (event.key === "Escape") this.#cursor.set(null);
      if (by === undefined) return;
      event.preventDefault();
      this.#move(by);
    });
  }

  /** The series with most points sets the steps that the cursor stops at. */
  #main() {
    return this.#visible().reduce((best, { one }) => (one.points.length > best.length ? one.points : best), []);
  }

  #snap(step) {
    const points = this.#main();
    const i = nearest(points, step);
    return i < 0 ? null : points[i].step;
  }

  #move(by) {
    const points = this.#main();
    if (!points.length) return;
    const from = this.#cursor.step === null ? points.length - 1 : lastAt(points, this.#cursor.step);
    const to = this.#cursor.step === null ? from : Math.min(points.length - 1, Math.max(0, from + by));
    this.#cursor.set(points[to].step);
  }

  #visible() {
    return this.#series.map((one, i) => ({ one, i })).filter(({ one }) => !this.#hidden.has(one.name));
  }

  #range(visible) {
    let x0 = Infinity;
    let x1 = -Infinity;
    let y0 = Infinity;
    let y1 = -Infinity;
    for (const { one } of visible) {
      for (const { step, value } of one.points) {
        if (value === null || (this.#log && value <= 0)) continue;
        if (step < x0) x0 = step;
        if (step > x1) x1 = step;
        if (value < y0) y0 = value;
        if (value > y1) y1 = value;
      }
    }
    if (x0 === Infinity) return null;
    const [low, high] = padded(y0, y1, this.#log);
    const share = this.#format === FORMATS.percent && y0 >= 0 && y1 <= 1;
    return { x0: x0 === x1 ? x0 - 1 : x0, x1: x0 === x1 ? x1 + 1 : x1, y0: share ? Math.max(0, low) : low, y1: share ? Math.min(1, high) : high };
  }

  #draw() {
    const width = this.svg.clientWidth;
    const height = this.svg.clientHeight;
    if (!width || !height) return;
    const visible = this.#visible();
    const range = this.#range(visible);
    const drawn = [];
    this.#geometry = null;
    if (range === null) {
      drawn.push(svg("text", { class: "none", x: width / 2, y: height / 2 }, this.#series.length && !visible.length ? "all hidden" : "no points yet"));
    } else {
      this.#geometry = this.#layout(range, width, height);
      drawn.push(...this.#axes(this.#geometry), ...visible.flatMap(({ one, i }) => this.#curve(one, i)), ...this.#cursorMarks(visible));
    }
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...drawn);
    this.#readOut(visible);
  }

  #layout(range, width, height) {
    const yTicks = this.#log ? logTicks(range.y0, range.y1) : ticks(range.y0, range.y1, 4);
    const labels = yTicks.map(this.#format[0]);
    const left = 12 + 6.6 * Math.max(...labels.map((label) => label.length));
    const inner = { left, top: EDGE.top, width: width - left - EDGE.right, height: height - EDGE.top - EDGE.bottom };
    const place = this.#log ? Math.log : Number;
    const [low, high] = [place(range.y0), place(range.y1)];
    return {
      ...range,
      ...inner,
      yTicks,
      labels,
      x: (step) => left + ((step - range.x0) / (range.x1 - range.x0)) * inner.width,
      y: (value) => EDGE.top + (1 - (place(value) - low) / (high - low)) * inner.height,
    };
  }

  #axes(g) {
    const right = g.left + g.width;
    const bottom = g.top + g.height;
    const drawn = [];
    g.yTicks.forEach((value, i) => {
      const y = g.y(value);
      drawn.push(svg("line", { class: "grid", x1: g.left, x2: right, y1: y, y2: y }));
      drawn.push(svg("text", { x: g.left - 8, y: y + 4, "text-anchor": "end" }, g.labels[i]));
    });
    drawn.push(svg("line", { class: "grid base", x1: g.left, x2: right, y1: bottom, y2: bottom }));
    const steps = wholeTicks(g.x0, g.x1, Math.max(4, g.width / 90));
    for (const step of steps) {
      const x = g.x(step);
      const anchor = x > right - 24 ? "end" : x < g.left + 16 ? "start" : "middle";
      drawn.push(svg("text", { x, y: bottom + 17, "text-anchor": anchor }, brief(step)));
    }
    return drawn;
  }

  /** A path a stretch between gaps; dots where points are few or stand alone. */
  #curve(one, i) {
    const g = this.#geometry;
    const points = thin(one.points);
    const dense = points.length > MOST_MARKED;
    let line = "";
    let dots = "";
    let stretch = [];
    const end = () => {
      if (stretch.length > 1) line += `M${stretch.join("L")}`;
      if (!dense || stretch.length === 1) for (const at of stretch) dots += `M${at}h0`;
      stretch = [];
    };
    for (const { step, value } of points) {
      if (value === null || (this.#log && value <= 0)) end();
      else stretch.push(`${g.x(step).toFixed(1)} ${g.y(value).toFixed(1)}`);
    }
    end();
    const shared = { "data-series": one.name };
    const drawn = [];
    if (line) drawn.push(svg("path", { class: `curve s${(i % 8) + 1}`, d: line, ...shared }));
    if (dots) drawn.push(svg("path", { class: `points s${(i % 8) + 1}`, d: dots, ...shared }));
    return drawn;
  }

  #cursorMarks(visible) {
    const g = this.#geometry;
    const step = this.#cursor.step;
    if (step === null || step < g.x0 || step > g.x1) return [];
    const x = g.x(step);
    const drawn = [svg("line", { class: "cursor", x1: x, x2: x, y1: g.top, y2: g.top + g.height })];
    for (const { one, i } of visible) {
      const point = this.#pointAt(one.points);
      if (!point || point.value === null || (this.#log && point.value <= 0)) continue;
      drawn.push(svg("circle", { class: `mark s${(i % 8) + 1}`, cx: g.x(point.step), cy: g.y(point.value), r: 3.5 }));
    }
    return drawn;
  }

  /** Of the cursor's step or, for what is measured more rarely, the last one before it; without a cursor the newest. */
  #pointAt(points) {
    const i = this.#cursor.step === null ? points.length - 1 : lastAt(points, this.#cursor.step);
    return i < 0 ? null : points[i];
  }

  #readOut(visible) {
    const said = [];
    let newest = null;
    for (const one of this.#series) {
      const point = this.#pointAt(one.points);
      const text = !point ? "" : point.value === null ? "not a number" : this.#format[1](point.value);
      this.#buttons.get(one.name).value.textContent = text;
      if (visible.some((shown) => shown.one === one) && point) {
        said.push(`${one.name} ${text}`);
        if (!newest || point.step > newest.step) newest = point;
      }
    }
    const step = this.#cursor.step ?? newest?.step;
    const main = this.#main();
    const at = step === undefined ? null : (main[Math.max(0, lastAt(main, step))] ?? newest);
    this.at.textContent = at ? `step ${whole(step)} · epoch ${at.epoch}` : "";
    this.svg.setAttribute("aria-label", `${this.#title}. ${said.length ? `At step ${whole(step)}: ${said.join(", ")}.` : "No points yet."}`);
  }
}

// A panel with curves in SVG: axes, legend with read-outs, a table of what it shows, files of it.

import { area, axes, curve, styleOf, svg } from "./draw.js";
import { gestures } from "./gestures.js";
import { png, save } from "./picture.js";
import { axis, brief, exact, lastAt, nearest, percent, percentTick, whole, within } from "./scale.js";
import { band, csv, placed, smooth, unitOfTime } from "./series.js";

const EDGE = { top: 10, right: 10, bottom: 40 };
const STEEP = 500; // highest to lowest value from which a logarithmic axis is chosen, unless the reader chose
const GOOD = 0.9; // share from which an axis of errors is chosen
const FORMATS = { plain: [brief, exact, "log", "Logarithmic axis"], percent: [percentTick, percent, "errors", "Errors on a logarithmic axis: 94 % and 96 % lie as far apart as 6 % and 4 %"] };

let charts = 0;

function html(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function button(className, text, title, act) {
  const made = html("button", className, text);
  Object.assign(made, { type: "button", title });
  made.addEventListener("click", act);
  return made;
}

const valueOf = (point) => point.value;
const spreadOf = (point) => (point.low === undefined ? [point.value] : [point.low, point.value, point.high]);

export class Chart {
  #series = []; // {name, label, points, means, detail: {from, to, points}, job: {perEpoch, begin}, members: [series]}
  #drawn = []; // the same with what is drawn: {name, i, points: [{x, value}], raw}
  #hidden = new Set();
  #log = false;
  #chosen = false; // whether the reader chose the axis
  #frame = 0;
  #cursorFrame = 0;
  #buttons = new Map();
  #g = null;
  #whole = null; // [from, to] of all x
  #dragged = null;
  #made = ""; // what #drawn was made for

  /** `options`: {title, y: the name of its axis, format: "plain" | "percent", log: whether the other axis is offered (of shares always), zero: whether its axis begins there} */
  constructor(parent, view, options) {
    this.view = view;
    this.title = options.title;
    this.percent = options.format === "percent";
    this.y = options.y ?? options.title;
    this.zero = options.zero ?? false;
    this.format = FORMATS[options.format ?? "plain"];
    this.id = `chart-${++charts}`;
    this.element = html("figure", "panel");
    this.at = html("span", "at");
    this.reset = button("mode", "Reset zoom", "Show all (0, or a double click)", () => view.set({ range: null }));
    this.caption = html("figcaption", "", html("b", "", options.title), this.at, this.reset);
    if (options.log || this.percent) this.caption.append(this.#modeButton());
    this.legend = html("div", "legend");
    this.svg = svg("svg", { class: "chart", role: "img", tabindex: "0", "aria-describedby": "curves-hint" });
    this.over = svg("g", { class: "over" });
    this.element.append(this.caption, this.legend, this.svg, this.#tools());
    parent.append(this.element);
    this.#chosen = view.axisOf(this.title) !== undefined;
    this.#log = view.axisOf(this.title) ?? false;
    view.join(this);
    gestures(this);
    new ResizeObserver(() => this.request()).observe(this.svg);
  }

  set(series) {
    this.#series = series;
    this.#made = "";
    this.#drawLegend();
    this.request();
  }

  request() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  requestCursor() {
    if (this.#frame) return;
    this.#cursorFrame ||= requestAnimationFrame(() => {
      this.#cursorFrame = 0;
      this.#drawCursor();
    });
  }

  // What gestures ask of it.

  whole() {
    return this.#g && this.#whole;
  }

  xAt(event) {
    const { left, width, xAxis } = this.#g;
    const share = (event.clientX - this.svg.getBoundingClientRect().left - left) / width;
    return xAxis.value(xAxis.low + Math.min(1, Math.max(0, share)) * (xAxis.high - xAxis.low));
  }

  /** The curve with most points sets where the cursor stops. */
  snap(x) {
    const points = this.#main();
    const i = nearest(points, x);
    return i < 0 ? null : points[i].x;
  }

  move(by) {
    const points = this.#main();
    if (!points.length) return;
    const last = points.length - 1;
    const from = this.view.cursor === null ? last : lastAt(points, this.view.cursor);
    this.view.point(points[this.view.cursor === null ? last : Math.min(last, Math.max(0, from + by))].x);
  }

  drag(from, to) {
    this.#dragged = from === null ? null : [Math.min(from, to), Math.max(from, to)];
    this.requestCursor();
  }

  #modeButton() {
    this.mode = button("mode", "log", this.format[3], () => {
      this.#chosen = true;
      this.#log = !this.#log;
      this.view.chooseAxis(this.title, this.#log);
      this.request();
    });
    return this.mode;
  }

  #tools() {
    const name = () => this.caption.querySelector("select")?.value ?? this.title;
    const shown = () => this.#visible().map((one) => ({ name: one.name, points: this.#inRange(one.points) }));
    const table = () => new Blob([csv(shown(), this.view.mode)], { type: "text/csv" });
    const named = () => this.#visible().map((one) => ({ label: this.#buttons.get(one.name).label, colour: getComputedStyle(this.#buttons.get(one.name).button, "::before").backgroundColor }));
    this.table = html("details", "fold", html("summary", "", "Table"), html("div", "scroll"));
    this.table.addEventListener("toggle", () => this.#fillTable());
    return html(
      "div",
      "panel-tools",
      this.table,
      button("mode", "CSV", "The points that are drawn, as a table", () => save(table(), `${name()}.csv`)),
      button("mode", "PNG", "The curves as a picture", async () => save(await png(this.svg, name(), named()), `${name()}.png`)),
    );
  }

  #drawLegend() {
    const names = this.#series.map((one) => one.name);
    if (names.join("\n") === [...this.#buttons.keys()].join("\n")) return;
    this.#buttons.clear();
    this.legend.replaceChildren();
    this.#series.forEach((one, i) => {
      const label = one.label ?? one.name;
      const value = html("span", "value");
      const made = button(styleOf(i), label, `Show or hide ${one.name}`, () => {
        if (!this.#hidden.delete(one.name)) this.#hidden.add(one.name);
        made.setAttribute("aria-pressed", String(!this.#hidden.has(one.name)));
        this.request();
      });
      made.append(value);
      made.setAttribute("aria-pressed", String(!this.#hidden.has(one.name)));
      this.#buttons.set(one.name, { button: made, value, label });
      this.legend.append(made);
    });
  }

  /** The points of a curve with their x: those of the zoom's range in its own detail, where that has come. */
  #place(one) {
    const at = (points) => placed(points, this.view.mode, one.job);
    const all = at(one.points);
    const { detail } = one;
    if (!this.view.range || !detail?.points.length) return all;
    const close = at(detail.points);
    const outside = (point) => point.step < detail.from || point.step > detail.to;
    return [...all.filter((point) => outside(point) && point.x < close[0].x), ...close, ...all.filter((point) => outside(point) && point.x > close[close.length - 1].x)];
  }

  /** Makes what is drawn, unless it is there already. A smoothed curve of very many points is one of their means. */
  #prepare() {
    const { mode, smoothing, range, banded } = this.view;
    const key = [mode, smoothing, banded, range].join();
    if (key === this.#made) return;
    this.#made = key;
    const means = (one) => (one.means?.length ? placed(one.means, mode, one.job) : this.#place(one));
    this.#drawn = this.#series.map((one, i) => {
      if (one.members) return { name: one.name, i, points: band(one.members.map((member) => smooth(means(member), smoothing))) };
      const raw = this.#place(one);
      return smoothing > 0 ? { name: one.name, i, raw, points: smooth(means(one), smoothing) } : { name: one.name, i, points: raw };
    });
  }

  #visible() {
    return this.#drawn.filter((one) => !this.#hidden.has(one.name));
  }

  #main() {
    return this.#visible().reduce((best, one) => (one.points.length > best.length ? this.#inRange(one.points) : best), []);
  }

  #inRange(points) {
    const [from, to] = this.view.range ?? [-Infinity, Infinity];
    return this.view.range ? points.filter(({ x }) => x >= from && x <= to) : points;
  }

  /** A loss that explodes would flatten all that came before it, and a good accuracy lies at the top of a linear axis. */
  #chooseAxis(values) {
    if (this.#chosen || !this.mode) return;
    const [low, high] = values.reduce(([a, b], value) => (value === null ? [a, b] : [Math.min(a, value), Math.max(b, value)]), [Infinity, -Infinity]);
    this.#log = this.percent ? high >= GOOD && high <= 1 : low > 0 && high / low > STEEP && high > 100;
  }

  #layout(visible, width, height) {
    const [from, to] = this.view.range ?? [-Infinity, Infinity];
    const kind = this.view.logX ? "log" : "linear";
    const known = visible.flatMap((one) => one.points).filter((point) => point.value !== null && (kind === "linear" || point.x > 0));
    if (!known.length) return null;
    const xs = known.map((point) => point.x);
    this.#whole = [xs.reduce((a, b) => Math.min(a, b)), xs.reduce((a, b) => Math.max(a, b))];
    const shown = [Math.max(from, this.#whole[0]), Math.min(to, this.#whole[1])];
    const unit = this.view.mode === "time" ? unitOfTime(this.#whole[1]) : { seconds: 1, name: this.view.mode };
    const xAxis = axis(kind, (shown[0] <= shown[1] ? shown : this.#whole).map((x) => x / unit.seconds), { count: Math.max(3, width / 75), room: 0 });
    const inside = known.filter(({ x }) => x >= shown[0] && x <= shown[1]);
    const raw = visible.flatMap((one) => one.raw ?? []).filter(({ x }) => x >= shown[0] && x <= shown[1]);
    const values = [...(inside.length ? [...inside, ...raw] : known).flatMap(spreadOf), ...(this.zero ? [0] : [])];
    this.#chooseAxis(values);
    const yAxis = axis(this.#log ? this.format[2] : "linear", values, { share: this.percent });
    if (!yAxis) return null;
    const yLabel = this.format[0];
    const left = 30 + 6.6 * Math.max(1, ...yAxis.ticks.map((value) => yLabel(value).length));
    const inner = { left, top: EDGE.top, width: width - left - EDGE.right, height: height - EDGE.top - EDGE.bottom };
    const scaled = { ...xAxis, place: (x) => xAxis.place(x / unit.seconds), value: (place) => xAxis.value(place) * unit.seconds };
    return {
      ...inner,
      xAxis: scaled,
      xTicks: this.view.mode === "step" ? xAxis.ticks.filter(Number.isInteger) : xAxis.ticks,
      yTicks: yAxis.ticks,
      yLabel,
      xLabel: brief,
      xName: unit.name === this.view.mode ? unit.name : `time, ${unit.name}`,
      yName: `${this.y}${this.percent ? ", %" : ""}${this.#log ? (this.percent ? " (errors, log)" : " (log)") : ""}`,
      unit: unit.seconds,
      fits: yAxis.fits,
      fitsX: (x) => kind === "linear" || x > 0,
      clip: `url(#${this.id})`,
      x: (x) => left + ((xAxis.place(x) - xAxis.low) / (xAxis.high - xAxis.low)) * inner.width,
      y: (value) => EDGE.top + (1 - (yAxis.place(value) - yAxis.low) / (yAxis.high - yAxis.low)) * inner.height,
    };
  }

  #draw() {
    const width = this.svg.clientWidth;
    const height = this.svg.clientHeight;
    if (!width || !height) return;
    this.#prepare();
    const visible = this.#visible();
    const g = this.#layout(visible, width, height);
    this.#g = g && { ...g, x: (x) => g.x(x / g.unit) };
    const drawn = [];
    if (g) {
      const clip = svg("clipPath", { id: this.id }, svg("rect", { x: g.left - 4, y: 0, width: g.width + 8, height: g.top + g.height + 3 }));
      drawn.push(clip, ...axes(g), ...visible.flatMap((one) => this.#curves(one)), this.over);
    } else {
      const none = this.#series.length && this.#drawn.length && !visible.length ? "all hidden" : "no points yet";
      drawn.push(svg("text", { class: "none", x: width / 2, y: height / 2 }, none));
    }
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...drawn);
    this.reset.hidden = !this.view.range;
    this.mode?.setAttribute("aria-pressed", String(this.#log));
    this.#drawCursor();
    this.#fillTable();
  }

  #curves(one) {
    const [from, to] = this.view.range ?? [-Infinity, Infinity];
    const cut = (points) => within(points, from, to);
    const banded = one.points.some((point) => point.low !== undefined);
    return [
      ...(banded ? area(one.name, cut(one.points), one.i, this.#g) : []),
      ...(one.raw ? curve(one.name, cut(one.raw), one.i, this.#g, true) : []),
      ...curve(one.name, cut(one.points), one.i, this.#g),
    ];
  }

  #drawCursor() {
    const g = this.#g;
    const { cursor } = this.view;
    const drawn = [];
    const inside = (x) => g.fitsX(x) && g.xAxis.place(x) >= g.xAxis.low - 1e-9 && g.xAxis.place(x) <= g.xAxis.high + 1e-9;
    if (g && this.#dragged) {
      const [a, b] = this.#dragged.map(g.x);
      drawn.push(svg("rect", { class: "drag", x: a, y: g.top, width: Math.max(0, b - a), height: g.height }));
    }
    if (g && cursor !== null && inside(cursor)) {
      drawn.push(svg("line", { class: "cursor", x1: g.x(cursor), x2: g.x(cursor), y1: g.top, y2: g.top + g.height }));
      for (const one of this.#visible()) {
        const point = this.#pointAt(one.points);
        if (!point || point.value === null || !g.fits(point.value) || !inside(point.x)) continue;
        drawn.push(svg("circle", { class: `mark ${styleOf(one.i)}`, cx: g.x(point.x), cy: g.y(point.value), r: 3.5 }));
      }
    }
    this.over.replaceChildren(...drawn);
    this.#readOut();
  }

  /** Of the cursor's place or, for what is measured more rarely, the last one before it; without a cursor the newest. */
  #pointAt(points) {
    const i = this.view.cursor === null ? points.length - 1 : lastAt(points, this.view.cursor);
    return i < 0 ? null : points[i];
  }

  #readOut() {
    const said = [];
    let newest = null;
    for (const one of this.#drawn) {
      const point = this.#pointAt(one.points);
      const spread = point?.low === undefined || point.value === null ? "" : ` ± ${this.format[1](point.high - point.value)}`;
      const text = !point ? "" : point.value === null ? "not a number" : this.format[1](point.value) + spread;
      const shown = this.#buttons.get(one.name);
      if (!shown) continue; // the legend is ahead of a panel that has no size yet
      shown.value.textContent = text;
      if (this.#hidden.has(one.name) || !point) continue;
      said.push(`${one.name} ${text}`);
      if (!newest || point.x > newest.x) newest = point;
    }
    const main = this.#main();
    const at = main[Math.max(0, lastAt(main, this.view.cursor ?? newest?.x ?? 0))] ?? newest;
    const place = at ? this.#placeName(at) : "";
    this.at.textContent = place;
    this.svg.setAttribute("aria-label", `${this.title}. ${said.length ? `At ${place.split(" · ")[0]}: ${said.join(", ")}.` : "No points yet."}`);
  }

  #placeName({ x, step, epoch }) {
    const unit = unitOfTime(x);
    if (this.view.mode === "time") return `${exact(x / unit.seconds)} ${unit.name}`;
    if (this.view.mode === "epoch") return `epoch ${x.toFixed(2)}`;
    return `step ${whole(step ?? x)}${epoch === undefined ? "" : ` · epoch ${epoch}`}`;
  }

  /** For each curve in the range that is shown: its number of points, first, last, lowest and highest value. */
  #fillTable() {
    if (!this.table.open) return;
    const table = html("table", "files");
    const head = ["Curve", "Points", "First", "Last", "Lowest", "Highest"].map((name) => Object.assign(html("th", name === "Curve" ? "" : "num", name), { scope: "col" }));
    table.append(html("thead", "", html("tr", "", ...head)));
    const rows = this.#visible().map((one) => {
      const points = this.#inRange(one.points).filter((point) => point.value !== null);
      const ends = points.length ? [points[0], points[points.length - 1], ...[-1, 1].map((sign) => points.reduce((a, b) => (sign * valueOf(b) > sign * valueOf(a) ? b : a)))] : [];
      const cells = ends.map((point, k) => html("td", "num", this.format[1](point.value), ...(k > 1 ? [html("small", "", ` ${this.#placeName(point)}`)] : [])));
      return html("tr", "", Object.assign(html("th", "", one.name), { scope: "row" }), html("td", "num", whole(points.length)), ...cells);
    });
    table.append(html("tbody", "", ...rows));
    const box = this.table.lastChild;
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", `${this.title}, as a table`);
    box.replaceChildren(table);
  }
}

// The parts of a chart as SVG elements: axes, curves, bands, marks. `g` is the geometry that Chart lays out.

import { thin } from "./scale.js";

const SVG = "http://www.w3.org/2000/svg";
const MOST_MARKED = 40; // points; with more of them dots would hide the line
const CLOSEST = 15; // px between the labels of two ticks of the y axis

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Colour and, from the ninth curve on, dashes. */
export const styleOf = (i) => `s${(i % 8) + 1}${i >= 8 ? ` d${Math.min(2, Math.floor(i / 8))}` : ""}`;

/** Those ticks whose labels do not touch, with their labels. */
function apart(values, at, label, least) {
  let last = Infinity;
  const found = [];
  for (const value of values) {
    const place = at(value);
    if (Math.abs(place - last) < least(label(value))) continue;
    found.push([place, label(value)]);
    last = place;
  }
  return found;
}

export function axes(g) {
  const right = g.left + g.width;
  const bottom = g.top + g.height;
  const drawn = [];
  for (const [y, label] of apart(g.yTicks, g.y, g.yLabel, () => CLOSEST)) {
    drawn.push(svg("line", { class: "grid", x1: g.left, x2: right, y1: y, y2: y }));
    drawn.push(svg("text", { x: g.left - 8, y: y + 4, "text-anchor": "end" }, label));
  }
  drawn.push(svg("line", { class: "grid base", x1: g.left, x2: right, y1: bottom, y2: bottom }));
  for (const [x, label] of apart(g.xTicks, g.x, g.xLabel, (text) => 14 + 6.6 * text.length)) {
    const anchor = x > right - 24 ? "end" : x < g.left + 16 ? "start" : "middle";
    drawn.push(svg("text", { x, y: bottom + 17, "text-anchor": anchor }, label));
  }
  const middle = g.top + g.height / 2;
  drawn.push(svg("text", { class: "axis", x: g.left + g.width / 2, y: bottom + 33, "text-anchor": "middle" }, g.xName));
  drawn.push(svg("text", { class: "axis", x: 11, y: middle, "text-anchor": "middle", transform: `rotate(-90 11 ${middle})` }, g.yName));
  return drawn;
}

/** Stretches without gaps, as lists of "x y". */
function stretches(points, g, of = (point) => point.value) {
  const found = [[]];
  for (const point of points) {
    const value = of(point);
    if (value === null || value === undefined || !g.fits(value) || !g.fitsX(point.x)) found.push([]);
    else found[found.length - 1].push(`${g.x(point.x).toFixed(1)} ${g.y(value).toFixed(1)}`);
  }
  return found.filter((stretch) => stretch.length);
}

/** A path over all stretches; dots where points are few or stand alone. */
export function curve(name, points, i, g, faint = false) {
  const few = thin(points);
  const dense = few.length > MOST_MARKED;
  const found = stretches(few, g);
  const line = found.filter((stretch) => stretch.length > 1).map((stretch) => `M${stretch.join("L")}`).join("");
  const alone = found.filter((stretch) => stretch.length === 1 || !dense).flat();
  const shared = { "data-series": name, "clip-path": g.clip };
  const drawn = [];
  if (line) drawn.push(svg("path", { class: `${faint ? "raw" : "curve"} ${styleOf(i)}`, d: line, ...shared }));
  if (alone.length && !faint) drawn.push(svg("path", { class: `points ${styleOf(i)}`, d: alone.map((at) => `M${at}h0`).join(""), ...shared }));
  return drawn;
}

/** The area from `low` to `high`. On a logarithmic axis it ends where values do not fit. */
export function area(name, points, i, g) {
  const whole = points.filter((point) => point.value !== null && g.fits(point.high) && g.fits(point.value));
  if (whole.length < 2) return [];
  const lowest = (point) => (g.fits(point.low) ? point.low : point.value);
  const up = stretches(whole, g, (point) => point.high).flat();
  const down = stretches([...whole].reverse(), g, lowest).flat();
  return [svg("path", { class: `band ${styleOf(i)}`, d: `M${[...up, ...down].join("L")}Z`, "data-series": name, "clip-path": g.clip })];
}

// What a chart draws of points {seq, step, epoch, time, value}: their x, their smoothed values, the band of several. No DOM.

import { lastAt, thin } from "./scale.js";

const MOST_OF_A_BAND = 400; // x at which the curves of a band are averaged
const UNITS = [[172_800, 86_400, "days"], [7200, 3600, "hours"], [120, 60, "minutes"], [0, 1, "seconds"]]; // from s, s, name

/** Steps of an epoch, of points whose `epoch` is the one under way, from 1: its last step tells. */
export function stepsPerEpoch(points) {
  let most = 0;
  for (const { step, epoch } of points) if (epoch > 0 && step / epoch > most) most = step / epoch;
  return most || 1;
}

/** Points with an `x`; `mode`: "step", "epoch" or "time", seconds since `begin`. `job`: {perEpoch, begin}. */
export function placed(points, mode, job) {
  const of = { step: (point) => point.step, epoch: (point) => point.step / job.perEpoch, time: (point) => (point.time - job.begin) / 1000 }[mode];
  return points.map((point) => ({ ...point, x: of(point) }));
}

/** The unit for a time axis that ends at so many seconds: {name, seconds}. */
export function unitOfTime(end) {
  const [, seconds, name] = UNITS.find(([from]) => end >= from);
  return { seconds, name };
}

/**
 * Exponential moving average with weight `weight` (0 to 1) for the past, without the pull of its beginning towards
 * zero (as in Adam). The weight is that of a curve with 1000 points; with fewer or more the past counts for the same share
 * of the curve, so that curves of different lengths are equally smooth.
 */
export function smooth(points, weight) {
  if (!(weight > 0) || points.length < 3) return points;
  const keep = weight ** (1000 / points.length);
  let [sum, total] = [0, 0];
  return points.map((point) => {
    if (point.value === null) return point;
    sum = keep * sum + (1 - keep) * point.value;
    total = keep * total + (1 - keep);
    return { ...point, value: sum / total };
  });
}

/** The value at `x` on the straight line between its neighbours; null outside the curve and beside a gap. */
export function valueAt(points, x) {
  const i = lastAt(points, x);
  if (i < 0) return null;
  const left = points[i];
  if (left.x === x) return left.value;
  const right = points[i + 1];
  if (!right || left.value === null || right.value === null) return null;
  return left.value + ((right.value - left.value) * (x - left.x)) / (right.x - left.x);
}

/** Several curves as one: the mean, and mean ± standard deviation (n − 1), where at least two of them have a value. */
export function band(curves) {
  const places = [...new Set(curves.flatMap((points) => points.map((point) => point.x)))].sort((a, b) => a - b);
  const xs = thin(places.map((x) => ({ x, value: x })), MOST_OF_A_BAND);
  return xs.map(({ x }) => {
    const values = curves.map((points) => valueAt(points, x)).filter((value) => value !== null);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    if (values.length < 2) return { x, value: null };
    const spread = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
    return { x, value: mean, low: mean - spread, high: mean + spread };
  });
}

const FORMULA = /^[=+\-@\t\r]/;

/** A line of CSV (RFC 4180). A text that a spreadsheet would take for a formula gets an apostrophe. */
function line(cells) {
  const quoted = cells.map((cell) => {
    if (cell === null || cell === undefined) return "";
    const text = typeof cell === "string" && FORMULA.test(cell) ? `'${cell}` : String(cell);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return `${quoted.join(",")}\r\n`;
}

/** The points of curves [{name, points}] as a table. */
export function csv(curves, mode) {
  const lines = [line(["curve", mode === "time" ? "x_seconds" : `x_${mode}`, "step", "time", "value", "low", "high"])];
  for (const { name, points } of curves) {
    for (const { x, step, time, value, low, high } of points) {
      lines.push(line([name, x, step, time ? new Date(time).toISOString() : null, value, low, high]));
    }
  }
  return lines.join("");
}

// The arithmetic of a chart: ticks, numbers as text, thinning. No DOM.

/** Round tick values within [low, high], about `count` of them. */
export function ticks(low, high, count) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** Whole numbers only, for steps. */
export const wholeTicks = (low, high, count) => ticks(low, high, count).filter(Number.isInteger);

/** Powers of ten within [low, high]; 2 and 5 between them where there is room, round numbers where there is no power. */
export function logTicks(low, high) {
  const found = [];
  const decades = Math.log10(high / low);
  const factors = decades > 3 ? [1] : [1, 2, 5];
  const stride = Math.max(1, Math.ceil(decades / 6));
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p += stride) {
    for (const factor of factors) {
      const value = Number((factor * 10 ** p).toPrecision(12));
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found.length > 1 ? found : ticks(low, high, 4).filter((value) => value > 0);
}

/** Range of an axis around values from low to high, also where they are one. */
export function padded(low, high, logarithmic) {
  if (logarithmic) return low === high ? [low / 2, high * 2] : [low / (high / low) ** 0.05, high * (high / low) ** 0.05];
  if (low === high) {
    const by = Math.abs(low) * 0.1 || 1;
    return [low - by, high + by];
  }
  return [low - (high - low) * 0.06, high + (high - low) * 0.06];
}

const grouped = new Intl.NumberFormat("en-US");

export function whole(value) {
  return grouped.format(Math.round(value));
}

/** Short enough for an axis: 1,500 · 20k · 1.5M · 0.25 · 1e-5 */
export function brief(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  if (size !== 0 && size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, "e");
  return size >= 1000 ? grouped.format(value) : String(Number(value.toPrecision(6)));
}

/** Precise enough to read off. */
export function exact(value) {
  const size = Math.abs(value);
  if (size >= 1000 || size === 0) return grouped.format(Math.round(value));
  if (size < 1e-3) return value.toExponential(3);
  return value.toPrecision(4);
}

export const percent = (value) => `${(value * 100).toFixed(2)} %`;
export const percentTick = (value) => `${Number((value * 100).toPrecision(6))} %`;

/**
 * At most about `most` of the points, keeping each stretch's lowest and highest, so that no spike is lost, and every
 * gap (a null). Points are {step, value}.
 */
export function thin(points, most = 1000) {
  if (points.length <= most) return points;
  const buckets = Math.floor(most / 2) - 1;
  const kept = [points[0]];
  const inner = points.length - 2;
  for (let b = 0; b < buckets; b++) {
    const begin = 1 + Math.floor((b * inner) / buckets);
    const end = 1 + Math.floor(((b + 1) * inner) / buckets);
    let low = -1;
    let high = -1;
    let gap = -1;
    for (let i = begin; i < end; i++) {
      const value = points[i].value;
      if (value === null) gap = i;
      else {
        if (low < 0 || value < points[low].value) low = i;
        if (high < 0 || value > points[high].value) high = i;
      }
    }
    for (const i of [...new Set([low, high, gap])].filter((i) => i >= 0).sort((a, b) => a - b)) kept.push(points[i]);
  }
  kept.push(points[points.length - 1]);
  return kept;
}

/** Index of the last point at or before `step`, or -1. */
export function lastAt(points, step) {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].step <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Index of the point nearest to `step` that has a value, or -1. */
export function nearest(points, step) {
  const left = lastAt(points, step);
  let below = left;
  while (below >= 0 && points[below].value === null) below--;
  let above = left + 1;
  while (above < points.length && points[above].value === null) above++;
  if (below < 0) return above < points.length ? above : -1;
  if (above >= points.length) return below;
  return step - points[below].step <= points[above].step - step ? below : above;
}

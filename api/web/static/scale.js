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

const LEVELS = [0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999];

const LINEAR = { place: Number, value: Number, fits: () => true, ticks, alone: (value) => Math.abs(value) * 0.1 || 1 };
const LOG = { place: Math.log, value: Math.exp, fits: (value) => value > 0, ticks: logTicks, alone: () => Math.LN2 };

/** Where 94 and 96 % lie apart: as far as their errors, 6 and 4 %, on a logarithmic axis. `least` is the error at which it ends. */
function errors(least) {
  return {
    place: (share) => -Math.log(Math.max(1 - share, least)),
    value: (place) => 1 - Math.exp(-place),
    fits: (share) => share <= 1,
    ticks: (low, high, count) => {
      const found = LEVELS.filter((level) => level >= low && level <= high);
      const all = found.length > 2 ? found : ticks(low, high, count);
      return high >= 1 - least ? [...all.filter((level) => level < 1 - least), 1] : all;
    },
    alone: () => Math.LN2,
  };
}

/**
 * An axis for these values: {fits, place, low, high, ticks}. `place` maps a value to a position, and `low` and `high`
 * are positions with some room around the values. Null where no value fits. `kind`: "linear", "log" or "errors".
 */
export function axis(kind, values, { count = 4, room = 0.06, share = false } = {}) {
  let least = Infinity; // of the errors that are there
  if (kind === "errors") for (const value of values) if (value !== null && value < 1 && 1 - value < least) least = 1 - value;
  const scale = { linear: LINEAR, log: LOG, errors: errors(Number.isFinite(least) ? least / 2 : 1e-4) }[kind];
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null || !scale.fits(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return null;
  const bounded = share && low >= 0 && high <= 1;
  let [from, to] = [scale.place(low), scale.place(high)];
  const by = to > from ? (to - from) * room : scale.alone(low);
  [from, to] = [from - by, to + by];
  if (bounded) from = Math.max(from, scale.place(0));
  if (bounded && kind === "linear") to = Math.min(to, 1);
  const within = ([value]) => value >= from - 1e-9 * (to - from) && value <= to + 1e-9 * (to - from);
  const marks = scale.ticks(scale.value(from), scale.value(to), count).map((value) => [scale.place(value), value]);
  return { fits: scale.fits, place: scale.place, value: scale.value, low: from, high: to, ticks: marks.filter(within).map(([, value]) => value) };
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
 * gap (a null). Points are {x, value}.
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

/** Index of the last point at or before `x`, or -1. */
export function lastAt(points, x) {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].x <= x) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Index of the point nearest to `x` that has a value, or -1. */
export function nearest(points, x) {
  const left = lastAt(points, x);
  let below = left;
  while (below >= 0 && points[below].value === null) below--;
  let above = left + 1;
  while (above < points.length && points[above].value === null) above++;
  if (below < 0) return above < points.length ? above : -1;
  if (above >= points.length) return below;
  return x - points[below].x <= points[above].x - x ? below : above;
}

/** Those of the points whose x lies in [from, to], and one more on either side, to which lines lead. */
export function within(points, from, to) {
  const begin = Math.max(0, lastAt(points, from) - 1);
  const end = lastAt(points, to) + 2;
  return begin === 0 && end >= points.length ? points : points.slice(begin, end);
}

// How a chart is pointed at, dragged over, pinched and driven by keys. It changes the page's View and nothing else.

const CLICK = 6; // px; a shorter drag is a click
const KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
const ZOOMS = { "+": 0.5, "=": 0.5, "-": 2, "_": 2 };

/** `chart` has element, view, xAt(event), snap(x), move(by), whole() and drag(from, to) or drag(null). */
export function gestures(chart) {
  const { svg: element, view } = chart;
  const fingers = new Map(); // pointer id → event
  let from = null; // the event that began a drag

  const spread = () => {
    const xs = [...fingers.values()].map((event) => chart.xAt(event));
    return [Math.min(...xs), Math.max(...xs)];
  };
  const end = (event) => {
    fingers.delete(event.pointerId);
    if (from && from.pointerId === event.pointerId) {
      const [a, b] = [chart.xAt(from), chart.xAt(event)].sort((x, y) => x - y);
      if (event.type === "pointerup" && Math.abs(event.clientX - from.clientX) > CLICK && b > a) view.set({ range: [a, b] });
      from = null;
      chart.drag(null);
    }
  };

  element.addEventListener("pointerdown", (event) => {
    if (!chart.whole() || (event.pointerType === "mouse" && event.button !== 0)) return;
    fingers.set(event.pointerId, event);
    if (event.pointerType !== "touch") {
      from = event;
      element.setPointerCapture(event.pointerId);
    }
  });
  element.addEventListener("pointermove", (event) => {
    if (!chart.whole()) return;
    if (fingers.has(event.pointerId) && fingers.size === 2) {
      const [a, b] = spread();
      fingers.set(event.pointerId, event);
      const [c, d] = spread();
      if (d > c) view.zoom((b - a) / (d - c), (c + d) / 2, chart.whole());
      return;
    }
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event);
    view.point(chart.snap(chart.xAt(event)));
    if (from && Math.abs(event.clientX - from.clientX) > CLICK) chart.drag(chart.xAt(from), chart.xAt(event));
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) element.addEventListener(name, end);
  for (const name of ["pointerleave", "pointercancel", "blur"]) element.addEventListener(name, () => view.point(null));
  element.addEventListener("dblclick", () => view.set({ range: null }));
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !chart.whole()) return;
    if (event.key === "Escape") view.point(null);
    else if (event.key === "0") view.set({ range: null });
    else if (event.key in ZOOMS) {
      const [a, b] = view.range ?? chart.whole();
      view.zoom(ZOOMS[event.key], view.cursor ?? (a + b) / 2, chart.whole());
    } else if (event.key in KEYS) chart.move(KEYS[event.key]);
    else return;
    if (event.key !== "Escape") event.preventDefault();
  });
}

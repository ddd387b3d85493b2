// What a job uses: cores, memory, GPUs over time. Its points are read by name, and again every few seconds while it runs.

import { Chart } from "./chart.js";
import { feed, Metrics } from "./metrics.js";
import { View } from "./view.js";

const PANELS = [
  { title: "Processors in use", y: "in use", names: ["system/cpu", "system/gpu"], labels: ["CPU cores", "GPUs"] },
  { title: "Memory", y: "GB", names: ["system/memory_bytes", "system/gpu_memory_bytes"], labels: ["memory", "GPU memory"], unit: 1e9 },
];
const EVERY = 5000; // ms

const scaled = (points, unit) => points?.map((point) => ({ ...point, value: point.value === null ? null : point.value / unit }));

/** `ended()`: whether the job has ended, and nothing comes any more. */
export async function startSystem(job, root, ended) {
  const view = new View("time");
  const panels = PANELS.map((panel) => ({ ...panel, chart: new Chart(root, view, { ...panel, zero: true }) }));
  const names = PANELS.flatMap((panel) => panel.names);
  if (!document.getElementById("curves-hint")) root.before(view.hint());
  const show = () => {
    for (const { chart, names, labels, unit = 1 } of panels) {
      const found = names.map((name, at) => ({ name, label: labels[at], ...metrics.series(name) })).filter(({ points }) => points.length);
      chart.set(found.map((one) => ({ ...one, points: scaled(one.points, unit), means: scaled(one.means, unit), detail: one.detail && { ...one.detail, points: scaled(one.detail.points, unit) } })));
      if (found.length) root.closest("section").hidden = false;
    }
  };
  const metrics = new Metrics(job, show, () => {});
  feed(view, () => [{ metrics, names }]);
  let loaded = false;
  for (;;) {
    const last = ended();
    try {
      await (loaded ? metrics.poll() : metrics.want(names));
      loaded = true;
      if (last) return;
    } catch {
      // the server is away; the page says so
    }
    do await new Promise((resolve) => setTimeout(resolve, EVERY));
    while (document.hidden);
  }
}

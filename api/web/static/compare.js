// Jobs side by side: one panel for a metric, one curve for a job.

import "./page.js";
import { Chart, Cursor } from "./chart.js";
import { Metrics } from "./metrics.js";

const FIRST = ["val/accuracy", "train/loss", "val/loss"];
const EVERY = 4000; // ms between looks at jobs that still run

const root = document.getElementById("curves");
const jobs = JSON.parse(root.dataset.jobs); // [{id, name, final}]
const names = JSON.parse(root.dataset.metrics);
const cursor = new Cursor();
const panels = [];

const optionsOf = (name) => ({ title: name, format: name.endsWith("accuracy") ? "percent" : "plain", log: !name.endsWith("accuracy") });

function show(panel) {
  panel.chart.set(jobs.map((job) => ({ name: job.name, points: job.metrics.points(panel.name) })));
}

function addPanel(name) {
  const panel = { name, chart: new Chart(root, cursor, optionsOf(name)) };
  panels.push(panel);
  show(panel);
  return panel;
}

for (const job of jobs) {
  job.metrics = new Metrics(
    job.id,
    (changed) => panels.filter((panel) => changed.includes(panel.name)).forEach(show),
    () => {},
  );
}
const first = names.length ? FIRST.filter((name) => names.includes(name)) : FIRST; // none yet: these will come
for (const name of first.length ? first : names.slice(0, 1)) addPanel(name);
addChosen(names.filter((name) => !first.includes(name)));

/** A last panel whose metric the reader chooses. */
function addChosen(others) {
  if (!others.length) return;
  const panel = addPanel(others.includes("train/accuracy") ? "train/accuracy" : others[0]);
  const select = document.createElement("select");
  select.setAttribute("aria-label", "Another metric to draw");
  select.append(...others.map((name) => new Option(name, name)));
  select.value = panel.name;
  panel.chart.caption.querySelector("b").replaceWith(select);
  select.addEventListener("change", () => {
    panel.name = select.value;
    show(panel);
    load();
  });
}

/** Loads what the panels want, job after job, and again where the server is away. */
async function load() {
  for (const job of jobs) {
    try {
      await job.metrics.want(panels.map((panel) => panel.name));
    } catch {
      setTimeout(load, EVERY);
      return;
    }
  }
}

async function follow() {
  if (!document.hidden) for (const job of jobs) if (!job.final) await job.metrics.poll().catch(() => {});
  setTimeout(follow, EVERY);
}

await load();
if (jobs.some((job) => !job.final)) follow();

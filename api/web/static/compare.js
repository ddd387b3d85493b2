// Jobs side by side: one panel for a metric, one curve for a job.

import "./page.js";
import { Chart } from "./chart.js";
import { feed, Metrics } from "./metrics.js";
import { View } from "./view.js";

const FIRST = ["val/accuracy", "train/loss", "val/loss"];
const EVERY = 4000; // ms between looks at jobs that still run

const root = document.getElementById("curves");
const jobs = JSON.parse(root.dataset.jobs); // [{id, name, final, group}]; jobs of a group differ in nothing but the seed
const names = JSON.parse(root.dataset.metrics);
const view = new View().share();
const groups = [...new Set(jobs.map((job) => job.group).filter(Boolean))];
root.before(view.controls({ bands: groups.length > 0 }));
const panels = [];

const optionsOf = (name) => ({ title: name, y: name.split("/").pop(), format: name.endsWith("accuracy") ? "percent" : "plain", log: true });

/** A curve for each job or, where the seeds are a band, for each group of them. */
function show(panel) {
  const curve = (job) => ({ name: job.name, ...job.metrics.series(panel.name) });
  const grouped = groups.map((group) => ({ name: group, members: jobs.filter((job) => job.group === group).map(curve) }));
  panel.chart.set(view.banded ? [...grouped, ...jobs.filter((job) => !job.group).map(curve)] : jobs.map(curve));
}

function addPanel(name) {
  const panel = { name, chart: new Chart(root, view, optionsOf(name)) };
  panels.push(panel);
  show(panel);
  return panel;
}

view.listen((changed) => changed.includes("banded") && panels.forEach(show));
feed(view, () => jobs.map((job) => ({ metrics: job.metrics, names: panels.map((panel) => panel.name) })));

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
    panel.name = panel.chart.y = select.value;
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
view.again();
if (jobs.some((job) => !job.final)) follow();

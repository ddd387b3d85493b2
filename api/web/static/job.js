// A job's page: curves, actions, a log that follows its end.

import "./page.js";
import "./actions.js";
import "./keeping.js";
import { Chart } from "./chart.js";
import { live } from "./live.js";
import { searchLog } from "./logs.js";
import { feed, Metrics } from "./metrics.js";
import { startSystem } from "./system.js";
import { View } from "./view.js";

const PANELS = [
  { title: "Loss", y: "loss", names: ["train/loss", "val/loss"], log: true },
  { title: "Accuracy", y: "accuracy", names: ["train/accuracy", "val/accuracy"], format: "percent" },
  { title: "Learning rate", y: "rate", names: ["lr"], log: true },
];
const RUN_PANELS = [
  { title: "Training loss, each run", y: "loss", of: "train/loss", log: true },
  { title: "Validation accuracy, each run", y: "accuracy", of: "val/accuracy", format: "percent" },
];
const OTHER = "images_per_second";

/** Those of a training; an analysis has one of a kind for all its runs, whose names stand before the metrics'. */
function panelsOf(runs) {
  if (!runs.length) return PANELS;
  return RUN_PANELS.map((panel) => ({ ...panel, runs, names: runs.map((run) => `${run}/${panel.of}`) }));
}

function startCurves(job, root, final) {
  const runs = JSON.parse(root.dataset.runs ?? "[]");
  const chosen = panelsOf(runs);
  const core = chosen.flatMap((panel) => panel.names);
  const first = runs.length ? `${runs[0]}/${OTHER}` : OTHER;
  const view = new View().share();
  root.before(view.controls());
  const panels = chosen.map((panel) => ({ ...panel, chart: new Chart(root, view, panel) }));
  const other = { chart: new Chart(root, view, { title: "Other", log: true }), names: [first] };
  const select = document.createElement("select");
  select.setAttribute("aria-label", "Other metrics to draw");
  other.chart.caption.querySelector("b").replaceWith(select);

  const show = (panel) => {
    const label = (name, at) => (panel.runs ? panel.runs[at] : shortName(name, panel.names, core));
    panel.chart.set(panel.names.map((name, at) => ({ name, label: label(name, at), ...metrics.series(name) })));
  };
  const fill = (names) => fillSelect(select, names.filter((name) => !core.includes(name)), first, runs.length ? 2 : 1);
  const metrics = new Metrics(
    job,
    (names) => {
      for (const panel of [...panels, other]) if (panel.names.some((name) => names.includes(name))) show(panel);
      fill(metrics.names);
    },
    () => live.soon(),
  );
  const choose = async () => {
    other.names = select.value.endsWith("/") ? metrics.names.filter((name) => name.startsWith(select.value)) : [select.value];
    other.chart.y = select.value;
    show(other);
    await metrics.want(other.names).catch(() => {});
    show(other);
    if (view.smoothing > 0) await metrics.wantMeans(other.names).catch(() => {});
  };
  select.addEventListener("change", choose);
  feed(view, () => [...panels, other].map(({ names }) => ({ metrics, names })));

  for (const panel of [...panels, other]) show(panel);
  fill([first]);
  (async () => {
    for (let wait = 1000; ; wait = Math.min(wait * 2, 15_000)) {
      try {
        await metrics.want([...core, first]);
        await metrics.discover();
        break;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, wait)); // the server is away; the page says so
      }
    }
    view.again();
    fill(metrics.names);
    if (!final) await metrics.follow();
  })();
}

/** Without the part that all names of a panel share: "train" and "val", or the layers. */
function shortName(name, names, core) {
  if (names.every((one) => core.includes(one)) && name.includes("/")) return name.split("/")[0];
  const group = name.slice(0, name.indexOf("/") + 1);
  return names.length > 1 && group ? name.slice(group.length) : name;
}

/** Each metric, and before the metrics of a group ("grad_norm/…", or `depth` 2: "RUN/grad_norm/…") all of it at once. */
function fillSelect(select, others, first, depth) {
  if (!others.length || select.dataset.names === others.join("\n")) return;
  const chosen = select.value || first;
  select.dataset.names = others.join("\n");
  const groups = new Map();
  for (const name of others) {
    const cut = depth === 2 ? name.indexOf("/", name.indexOf("/") + 1) : name.indexOf("/");
    const group = name.slice(0, cut + 1);
    groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  const options = [];
  for (const [group, members] of groups) {
    if (!group || members.length < 2) options.push(...members.map((name) => new Option(name, name)));
    else {
      const box = document.createElement("optgroup");
      box.label = group.slice(0, -1);
      box.append(new Option(`${group.slice(0, -1)}, all`, group), ...members.map((name) => new Option(name, name)));
      options.push(box);
    }
  }
  select.replaceChildren(...options);
  select.value = chosen;
}

/** A log scrolled to its end stays there as it grows. */
function followLogs() {
  const atEnd = (log) => log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  const toEnd = () => document.querySelectorAll(".log").forEach((log) => (log.scrollTop = log.scrollHeight));
  live.around(() => {
    const log = document.getElementById("log");
    if (log && !atEnd(log)) return undefined;
    return () => {
      const grown = document.getElementById("log");
      if (grown) grown.scrollTop = grown.scrollHeight;
    };
  });
  toEnd();
}

followLogs();
searchLog();
const root = document.getElementById("curves");
const { job } = document.getElementById("job").dataset;
const ended = () => document.getElementById("now").dataset.final === "yes";
if (root) startCurves(job, root, ended());
const system = document.getElementById("system");
if (system) startSystem(job, system, ended);

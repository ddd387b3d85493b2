// A job's page: curves, actions, a log that follows its end.

import "./page.js";
import "./actions.js";
import { Chart, Cursor } from "./chart.js";
import { live } from "./live.js";
import { Metrics } from "./metrics.js";

const PANELS = [
  { title: "Loss", names: ["train/loss", "val/loss"], log: true },
  { title: "Accuracy", names: ["train/accuracy", "val/accuracy"], format: "percent" },
  { title: "Learning rate", names: ["lr"], log: true },
];
const CORE = PANELS.flatMap((panel) => panel.names);
const FIRST_OTHER = "images_per_second";

function startCurves(job, root, final) {
  const cursor = new Cursor();
  const panels = PANELS.map((panel) => ({ ...panel, chart: new Chart(root, cursor, panel) }));
  const other = { chart: new Chart(root, cursor, { title: "Other", log: true }), names: [FIRST_OTHER] };
  const select = document.createElement("select");
  select.setAttribute("aria-label", "Other metrics to draw");
  other.chart.caption.querySelector("b").replaceWith(select);

  const show = ({ chart, names }) =>
    chart.set(names.map((name) => ({ name, label: shortName(name, names), points: metrics.points(name) })));
  const metrics = new Metrics(
    job,
    (names) => {
      for (const panel of [...panels, other]) if (panel.names.some((name) => names.includes(name))) show(panel);
      fillSelect(select, metrics.names);
    },
    () => live.soon(),
  );
  const choose = async () => {
    other.names = select.value.endsWith("/") ? metrics.names.filter((name) => name.startsWith(select.value)) : [select.value];
    show(other);
    await metrics.want(other.names).catch(() => {});
    show(other);
  };
  select.addEventListener("change", choose);

  for (const panel of [...panels, other]) show(panel);
  fillSelect(select, [FIRST_OTHER]);
  (async () => {
    for (let wait = 1000; ; wait = Math.min(wait * 2, 15_000)) {
      try {
        await metrics.want([...CORE, FIRST_OTHER]);
        await metrics.discover();
        break;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, wait)); // the server is away; the page says so
      }
    }
    fillSelect(select, metrics.names);
    if (!final) await metrics.follow();
  })();
}

/** Without the part that all names of a panel share: "train" and "val", or the layers. */
function shortName(name, names) {
  if (names.every((one) => CORE.includes(one)) && name.includes("/")) return name.split("/")[0];
  const group = name.slice(0, name.indexOf("/") + 1);
  return names.length > 1 && group ? name.slice(group.length) : name;
}

/** Each metric, and before the metrics of a group ("grad_norm/…") all of it at once. */
function fillSelect(select, names) {
  const others = names.filter((name) => !CORE.includes(name));
  if (!others.length || select.dataset.names === others.join("\n")) return;
  const chosen = select.value || FIRST_OTHER;
  select.dataset.names = others.join("\n");
  const groups = new Map();
  for (const name of others) {
    const group = name.slice(0, name.indexOf("/") + 1);
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
const root = document.getElementById("curves");
if (root) startCurves(document.getElementById("job").dataset.job, root, document.getElementById("now").dataset.final === "yes");

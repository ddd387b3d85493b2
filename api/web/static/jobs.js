// The list of jobs: stars, and what is done with several chosen jobs at once.

import "./page.js";
import "./select.js";
import { confirmed } from "./actions.js";
import { live } from "./live.js";
import { prefix } from "./prefix.js";
import { call, showProblem } from "./problems.js";

const bulk = document.getElementById("bulk");
const label = document.getElementById("bulk-label");
const chosen = () => [...document.querySelectorAll("input[name='job'][form='compare']:checked")];

function show() {
  if (bulk) bulk.hidden = chosen().length === 0;
}

/** The label that is written, as the change of a job. */
function labelled() {
  const at = label.value.indexOf(":");
  if (at < 1) throw new Error(`Write a label as key:value, not ${label.value || "nothing"}`);
  return { labels: { [label.value.slice(0, at).trim()]: label.value.slice(at + 1).trim() } };
}

const CALLS = {
  cancel: () => ({ method: "POST", path: "/cancel" }),
  delete: () => ({ method: "DELETE", path: "" }),
  label: () => ({ method: "PATCH", path: "", headers: { "Content-Type": "application/json" }, body: JSON.stringify(labelled()) }),
};
const QUESTIONS = {
  cancel: (count) => `Cancel ${count} jobs? Trainings save their state and stop; they cannot be resumed, only retried.`,
  delete: (count) => `Delete ${count} jobs with their metrics, logs and files? Models that they published stay.`,
};

/** One after the other, so that many jobs are no burst; those that the service refuses stay chosen. */
async function each(boxes, { path, ...options }) {
  const refused = [];
  for (const box of boxes) {
    try {
      await call(`${prefix}/v1/jobs/${encodeURIComponent(box.value)}${path}`, options);
      box.checked = false;
    } catch (error) {
      refused.push(error.message);
    }
  }
  return refused;
}

bulk?.addEventListener("click", async ({ target }) => {
  const what = target.dataset.bulk;
  if (!what) return;
  showProblem("");
  try {
    const boxes = chosen();
    const options = CALLS[what]();
    if (QUESTIONS[what] && !(await confirmed(QUESTIONS[what](boxes.length), target.textContent))) return;
    const refused = await each(boxes, options);
    if (refused.length) showProblem(`Refused for ${refused.length} of ${boxes.length}: ${[...new Set(refused)].join(" ")}`);
    else label.value = "";
  } catch (error) {
    showProblem(error.message);
  }
  label.dispatchEvent(new Event("change", { bubbles: true }));
  live.soon();
});

document.addEventListener("change", show);
live.around(() => show);
addEventListener("pageshow", show);
show();

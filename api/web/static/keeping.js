// The form that names, labels and describes a job or a model: it sends what has changed, by PATCH.

import { live } from "./live.js";
import { call } from "./problems.js";

/** The labels of a text with a line `key:value` for each; throws an Error about a line that is none. */
function labelsOf(text) {
  const found = {};
  for (const line of text.split("\n").map((one) => one.trim()).filter(Boolean)) {
    const at = line.indexOf(":");
    if (at < 1) throw new Error(`Write a label as key:value, not ${line}`);
    found[line.slice(0, at)] = line.slice(at + 1);
  }
  return found;
}

/** What turns the labels `before` into `after`, as a merge patch; null where nothing does. */
function changeOf(before, after) {
  const change = {};
  for (const key of Object.keys(before)) if (!(key in after)) change[key] = null;
  for (const [key, value] of Object.entries(after)) if (before[key] !== value) change[key] = value;
  return Object.keys(change).length ? change : null;
}

async function save(form) {
  const alert = form.querySelector("[role='alert']");
  const button = form.querySelector("button");
  const { name, notes, labels } = form.elements;
  alert.hidden = true;
  button.disabled = true;
  try {
    const after = labelsOf(labels.value);
    const change = changeOf(JSON.parse(form.dataset.labels), after);
    const body = change ? { labels: change } : {};
    for (const field of [name, notes]) if (field.value !== field.defaultValue) body[field.name] = field.value.trim() ? field.value : null;
    const headers = { "Content-Type": "application/json" };
    await call(form.dataset.edit, { method: "PATCH", headers, body: JSON.stringify(body) });
    form.dataset.labels = JSON.stringify(after);
    for (const field of [name, notes]) field.defaultValue = field.value;
    form.closest("details").open = false;
    live.soon();
  } catch (error) {
    alert.textContent = error.message;
    alert.hidden = false;
  } finally {
    button.disabled = false;
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-edit]");
  if (!form) return;
  event.preventDefault();
  save(form);
});

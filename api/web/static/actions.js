// Buttons that call the API: cancel, pause, resume, retry, delete, run a recipe.

import { live } from "./live.js";
import { prefix } from "./prefix.js";
import { call, showProblem } from "./problems.js";

/** Whether the reader agrees to what the question says. */
export function confirmed(question, word) {
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-text").textContent = question;
  document.getElementById("confirm-yes").textContent = `${word} it`;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-path]");
  if (!button) return;
  const { method, path, body, confirm, then } = button.dataset;
  if (confirm && !(await confirmed(confirm, button.textContent.trim()))) return;
  showProblem("");
  button.disabled = true;
  try {
    const headers = body ? { "Content-Type": "application/json" } : {};
    const response = await call(path, { method, headers, body });
    if (then) live.stop();
    if (then === "job") location.assign(`${prefix}/jobs/${encodeURIComponent((await response.json()).id)}`);
    else if (then) location.assign(then);
  } catch (error) {
    showProblem(error.message);
  } finally {
    button.disabled = false;
    live.soon();
  }
});

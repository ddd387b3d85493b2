// The list of models: an import with its progress.

import "./page.js";
import { prefix } from "./prefix.js";
import { call, showProblem } from "./problems.js";

const form = document.getElementById("import");

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  const parts = new FormData();
  parts.append("weights", form.elements.weights.files[0]);
  showProblem("");
  button.disabled = true;
  try {
    const response = await call(`${prefix}/v1/models`, { method: "POST", body: parts });
    location.assign(`${prefix}/models/${encodeURIComponent((await response.json()).id)}`);
  } catch (error) {
    showProblem(error.message);
  } finally {
    button.disabled = false;
  }
});

// A model's page: an image that is dropped, pasted or chosen goes to the model as it is.

import "./page.js";
import "./actions.js";
import "./keeping.js";
import { prefix } from "./prefix.js";
import { call, showProblem } from "./problems.js";

const SHOWN = 10; // classes
const model = document.getElementById("model").dataset.model;
const drop = document.getElementById("drop");
const input = document.getElementById("image");
const preview = document.getElementById("preview");
const answer = document.getElementById("answer");

async function predict(file) {
  showProblem("");
  URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(file);
  preview.hidden = false;
  document.getElementById("drop-text").textContent = file.name || "pasted image";
  try {
    const headers = { "Content-Type": file.type || "application/octet-stream" };
    const response = await call(`${prefix}/v1/models/${encodeURIComponent(model)}/predict`, { method: "POST", headers, body: file });
    showAnswer(await response.json());
  } catch (error) {
    answer.replaceChildren();
    showProblem(error.message);
  }
}

/** The likeliest classes of {probabilities: {class: p}}. */
const ranked = ({ probabilities }) => Object.entries(probabilities).sort((a, b) => b[1] - a[1]).slice(0, SHOWN);

function showAnswer(body) {
  const notes = (body.notes ?? []).map((text) => {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = text;
    return note;
  });
  answer.replaceChildren(
    ...ranked(body).map(([name, probability]) => {
      const row = document.createElement("div");
      row.className = "guess";
      const bar = document.createElement("progress");
      bar.max = 1;
      bar.value = probability;
      bar.setAttribute("aria-hidden", "true");
      const label = document.createElement("span");
      label.textContent = name;
      const share = document.createElement("span");
      share.className = "num";
      share.textContent = `${(probability * 100).toFixed(1)} %`;
      row.append(label, bar, share);
      return row;
    }),
    ...notes,
  );
}

input.addEventListener("change", () => input.files[0] && predict(input.files[0]));
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
  });
}
drop.addEventListener("drop", (event) => event.dataTransfer.files[0] && predict(event.dataTransfer.files[0]));
document.addEventListener("paste", (event) => event.clipboardData.files[0] && predict(event.clipboardData.files[0]));

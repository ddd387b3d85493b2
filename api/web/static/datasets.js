// The page of datasets: an upload with its progress; buttons that delete one.

import "./page.js";
import "./actions.js";
import { live } from "./live.js";
import { prefix } from "./prefix.js";
import { showProblem } from "./problems.js";
import { packed } from "./tar.js";

const form = document.getElementById("upload");
const sent = document.getElementById("sent");

/** What was chosen beside size and colours: only what is not the default. */
function chosen() {
  const options = {};
  for (const field of form.querySelectorAll("[data-option]")) {
    if (field.value) options[field.dataset.option] = field.inputMode ? Number(field.value) : field.value;
  }
  const columns = [...form.querySelectorAll("[data-column]")].filter((field) => field.value);
  if (columns.length) options.columns = Object.fromEntries(columns.map((field) => [field.dataset.column, field.value]));
  return options;
}

/** The form's parts as the API takes them: the small ones first, so that what is wrong is refused early. */
function body() {
  const fields = new FormData(form);
  const [height, width = height] = fields.get("size").split(/[x×]/).map(Number);
  const options = chosen();
  if (height) options.size = [height, width];
  if (fields.get("channels")) options.channels = Number(fields.get("channels"));
  const [file] = form.elements.file.files;
  if (!file && !form.elements.folder.files.length) throw new Error("Choose a file or a folder");
  const parts = new FormData();
  parts.append("name", fields.get("name"));
  parts.append("options", JSON.stringify(options));
  parts.append("file", file ?? packed(form.elements.folder.files), file?.name ?? "folder.tar");
  return parts;
}

/** Why the server refused, in words. */
function reason(request) {
  try {
    const { title, detail } = JSON.parse(request.responseText);
    return detail ? `${title}. ${detail}` : title;
  } catch {
    return `The server answered ${request.status}`;
  }
}

/** A name for the dataset, from that of the file or folder: leaves.zip becomes leaves. A file and a folder exclude each other. */
form.addEventListener("change", ({ target }) => {
  const { file, folder, name } = form.elements;
  if ((target !== file && target !== folder) || !target.files.length) return;
  (target === file ? folder : file).value = "";
  if (name.value) return;
  const called = target === file ? target.files[0].name.replace(/(\.tar)?\.[^.]+$/, "") : target.files[0].webkitRelativePath.split("/")[0];
  name.value = called.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
});

// fetch() does not tell how much of a body it has sent.
form.addEventListener("submit", (event) => {
  event.preventDefault();
  let parts;
  try {
    parts = body();
  } catch (error) {
    return showProblem(`${error.message}.`);
  }
  const button = form.querySelector("button");
  const request = new XMLHttpRequest();
  request.open("POST", `${prefix}/v1/datasets`);
  request.upload.addEventListener("progress", ({ loaded, total }) => (sent.value = total ? loaded / total : 0));
  request.addEventListener("loadend", () => {
    sent.hidden = true;
    button.disabled = false;
    if (request.status === 0) showProblem("The upload broke off. The server ends an upload early when the file is too long.");
    else if (request.status >= 300) showProblem(reason(request));
    else form.reset();
    live.soon();
  });
  showProblem("");
  sent.value = 0;
  sent.hidden = false;
  button.disabled = true;
  request.send(parts);
  return undefined;
});

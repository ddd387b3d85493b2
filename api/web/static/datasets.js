// The page of datasets: an upload with its progress; buttons that delete one.

import "./page.js";
import "./actions.js";
import { live } from "./live.js";
import { prefix } from "./prefix.js";
import { showProblem } from "./problems.js";

const form = document.getElementById("upload");
const sent = document.getElementById("sent");

/** The form's parts as the API takes them: the small ones first, so that what is wrong is refused early. */
function body() {
  const fields = new FormData(form);
  const [height, width = height] = fields.get("size").split(/[x×]/).map(Number);
  const options = {};
  if (height) options.size = [height, width];
  if (fields.get("channels")) options.channels = Number(fields.get("channels"));
  const parts = new FormData();
  parts.append("name", fields.get("name"));
  parts.append("options", JSON.stringify(options));
  parts.append("file", fields.get("file"));
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

/** A name for the dataset, from that of the file: leaves.zip becomes leaves. */
form.elements.file.addEventListener("change", ({ target }) => {
  const { name } = form.elements;
  if (name.value || !target.files.length) return;
  name.value = target.files[0].name.replace(/(\.tar)?\.[^.]+$/, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
});

// fetch() does not tell how much of a body it has sent.
form.addEventListener("submit", (event) => {
  event.preventDefault();
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
  request.send(body());
});

// A model's page: an image that is dropped, pasted, chosen, drawn or photographed goes to the model as it is.

import "./page.js";
import "./actions.js";
import "./keeping.js";
import { prefix } from "./prefix.js";
import { call, showProblem } from "./problems.js";

const SHOWN = 10; // classes
const INK = 22; // pixels of the pen, of 280: as thick as the strokes of digits
const model = document.getElementById("model").dataset.model;
const drop = document.getElementById("drop");
const input = document.getElementById("image");
const preview = document.getElementById("preview");
const answer = document.getElementById("answer");
let latest = 0;

/** Asks the model about an image; the answer to an older question is not shown. */
async function predict(file, said = file.name || "pasted image") {
  const mine = ++latest;
  showProblem("");
  URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(file);
  preview.hidden = false;
  document.getElementById("drop-text").textContent = said;
  try {
    const headers = { "Content-Type": file.type || "application/octet-stream" };
    const response = await call(`${prefix}/v1/models/${encodeURIComponent(model)}/predict`, { method: "POST", headers, body: file });
    const body = await response.json();
    if (mine === latest) showAnswer(body);
  } catch (error) {
    if (mine !== latest) return;
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

/** Opens or closes the box that a button controls; says whether it is open now. */
function toggle(button) {
  const box = document.getElementById(button.getAttribute("aria-controls"));
  box.hidden = !box.hidden;
  button.setAttribute("aria-expanded", String(!box.hidden));
  return !box.hidden;
}

function startPad(button, pad) {
  const pen = pad.getContext("2d");
  const wipe = () => pen.fillRect(0, 0, pad.width, pad.height);
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
  };
  pen.fillStyle = "#000";
  pen.strokeStyle = "#fff";
  pen.lineWidth = INK;
  pen.lineCap = pen.lineJoin = "round";
  wipe();
  button.addEventListener("click", () => toggle(button));
  document.getElementById("wipe").addEventListener("click", wipe);
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    pen.beginPath();
    pen.moveTo(...place(event));
    pen.lineTo(...place(event));
    pen.stroke();
  });
  pad.addEventListener("pointermove", (event) => {
    if (!pad.hasPointerCapture(event.pointerId)) return;
    pen.lineTo(...place(event));
    pen.stroke();
  });
  pad.addEventListener("pointerup", () => pad.toBlob((blob) => predict(blob, "drawing"), "image/png"));
}

function startCamera(button, video) {
  const stop = () => {
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.srcObject = null;
  };
  button.addEventListener("click", async () => {
    if (!toggle(button)) return stop();
    showProblem("");
    try {
      if (!navigator.mediaDevices) throw new Error("a browser gives the camera to pages over HTTPS or from this machine alone");
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      toggle(button);
      showProblem(`No camera: ${error.message}. An image can be chosen from a file instead.`);
    }
    return undefined;
  });
  document.getElementById("shoot").addEventListener("click", () => {
    const side = Math.min(video.videoWidth, video.videoHeight); // the square in the middle
    if (!side) return;
    const shot = new OffscreenCanvas(side, side);
    shot.getContext("2d").drawImage(video, (video.videoWidth - side) / 2, (video.videoHeight - side) / 2, side, side, 0, 0, side, side);
    shot.convertToBlob({ type: "image/png" }).then((blob) => predict(blob, "photograph"));
  });
  addEventListener("pagehide", stop);
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
const draw = document.getElementById("draw");
if (draw) startPad(draw, document.getElementById("pad"));
startCamera(document.getElementById("camera"), document.getElementById("video"));

// On every page: live regions, the service's health, buttons that copy.

import { live } from "./live.js";
import { prefix } from "./prefix.js";

const HEALTH_EVERY = 10_000; // ms

document.documentElement.classList.add("scripted");

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source); // no clipboard over plain http from another machine: Ctrl+C does it
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1600);
});

document.addEventListener("click", (event) => {
  const health = document.getElementById("health");
  if (health?.open && !health.contains(event.target)) health.open = false;
});
document.addEventListener("keydown", (event) => {
  const health = document.getElementById("health");
  if (event.key !== "Escape" || !health?.open) return;
  health.open = false;
  health.querySelector("summary").focus();
});

/** /readyz names each part: {ready, checks: {name: {ok, detail, required}}}. */
async function readiness() {
  if (!document.hidden) {
    try {
      const response = await fetch(`${prefix}/readyz`, { headers: { Accept: "application/json" } });
      showReadiness(response.ok, await response.json());
    } catch {
      showReadiness(false, {});
    }
  }
  setTimeout(readiness, HEALTH_EVERY);
}

function showReadiness(ready, body) {
  const parts = Object.entries(body.checks ?? {});
  const missing = parts.filter(([, part]) => part.required && !part.ok).map(([name]) => name);
  const dot = document.getElementById("health-dot");
  const word = document.getElementById("readiness");
  const list = document.getElementById("parts");
  if (!dot || !word || !list) return;
  const onlyWorker = missing.length > 0 && missing.every((name) => name === "worker");
  dot.className = `dot ${ready ? "on" : onlyWorker ? "off" : "down"}`;
  word.textContent = ready ? "ready" : onlyWorker ? "no worker" : "not ready";
  list.replaceChildren(
    ...parts.map(([name, part]) => {
      const item = document.createElement("li");
      item.className = part.ok ? "ok" : part.required ? "bad" : "off";
      item.textContent = part.ok ? name : `${name}: ${part.detail}`;
      return item;
    }),
  );
}

live.start();
if (document.getElementById("health")) readiness();

// On every page: live regions, the service's health, buttons that copy.

import { live } from "./live.js";

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

/** /readyz names each part and says whether it works; whatever shape a part has, only what is plain is shown. */
async function readiness() {
  if (!document.hidden) {
    try {
      const response = await fetch("/readyz", { headers: { Accept: "application/json" } });
      showReadiness(response.ok, await response.json());
    } catch {
      showReadiness(false, {});
    }
  }
  setTimeout(readiness, HEALTH_EVERY);
}

function partsOf(document_) {
  const parts = document_.checks ?? document_.parts ?? document_;
  return Object.entries(parts)
    .map(([name, part]) => [name, typeof part === "object" && part !== null ? (part.ok ?? part.ready) : part, part?.detail ?? part?.message ?? ""])
    .map(([name, state, detail]) => [name, state === true || state === "ok", detail, typeof state === "boolean" || typeof state === "string"])
    .filter(([name, , , known]) => known && !["ready", "ok", "status", "type", "title", "detail", "code"].includes(name));
}

function showReadiness(ready, body) {
  const parts = partsOf(body);
  const missing = parts.filter(([, fine]) => !fine).map(([name]) => name);
  const dot = document.getElementById("health-dot");
  const word = document.getElementById("readiness");
  const list = document.getElementById("parts");
  if (!dot || !word || !list) return;
  const onlyWorker = missing.length > 0 && missing.every((name) => name.startsWith("worker"));
  dot.className = `dot ${ready ? "on" : onlyWorker ? "off" : "down"}`;
  word.textContent = ready ? "ready" : onlyWorker ? "no worker" : "not ready";
  list.replaceChildren(
    ...parts.map(([name, fine, detail]) => {
      const item = document.createElement("li");
      item.className = fine ? "ok" : "bad";
      item.textContent = typeof detail === "string" && detail && !fine ? `${name}: ${detail}` : name;
      return item;
    }),
  );
}

live.start();
if (document.getElementById("health")) readiness();

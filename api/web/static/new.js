// The form of a new job: while one types, the server checks it and says what it costs, by the same page.

import "./page.js";
import { morph } from "./morph.js";

const PAUSE = 350; // ms without a key after which the form is checked
const form = document.getElementById("new");
let timer = 0;
let latest = 0;

/** The form's values; those of empty fields need not travel. */
function body() {
  const fields = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value || name === "vary" || name === "values") fields.append(name, value);
  fields.delete("yaml");
  return fields;
}

async function check() {
  const mine = ++latest;
  try {
    const response = await fetch(form.action, { method: "POST", body: body(), headers: { Accept: "text/html" } });
    const text = await response.text();
    if (mine !== latest || !response.ok) return;
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("new");
    if (fresh) morph(form, fresh);
  } catch {
    // The line above the page says that the server is away; the next key tries again.
  }
}

form.addEventListener("input", (event) => {
  if (event.target.name === "yaml") return;
  clearTimeout(timer);
  timer = setTimeout(check, PAUSE);
});

/** An optional section is there exactly when its box is ticked: filling a field ticks it, taking the tick empties it. */
form.addEventListener("input", ({ target }) => {
  const group = target.closest("details.group");
  const box = group?.querySelector(".tick input");
  if (!box) return;
  if (target !== box) box.checked ||= Boolean(target.value);
  else if (!box.checked) for (const field of group.querySelectorAll(".entry :is(input, select, textarea)")) field.value = "";
});

form.addEventListener("submit", (event) => {
  if (event.submitter?.value !== "start") return;
  clearTimeout(timer);
  latest += 1; // a check that is under way must not change what is sent
});

// Enter starts nothing by accident: the first button of the form checks it.
addEventListener("pageshow", ({ persisted }) => persisted && check());
const wrong = document.querySelector("[aria-invalid='true']");
if (wrong) {
  wrong.closest("details")?.setAttribute("open", "");
  wrong.focus();
}

// Search in a log: every place is marked, Enter goes to the next one. It searches what the page shows of the log.

import { live } from "./live.js";

const MOST = 1000; // places that are marked

export function searchLog() {
  const field = document.getElementById("log-search");
  if (!field || !CSS.highlights) return;
  const said = document.getElementById("log-found");
  let places = [];
  let at = -1;

  const mark = () => {
    const log = document.getElementById("log");
    const wanted = field.value.toLowerCase();
    places = [];
    for (const node of wanted && log ? textsOf(log) : []) {
      const text = node.data.toLowerCase();
      for (let from = text.indexOf(wanted); from >= 0 && places.length < MOST; from = text.indexOf(wanted, from + wanted.length)) {
        const range = new Range();
        range.setStart(node, from);
        range.setEnd(node, from + wanted.length);
        places.push(range);
      }
    }
    CSS.highlights.set("found", new Highlight(...places));
    said.textContent = wanted ? `${at >= 0 && at < places.length ? `${at + 1} of ` : ""}${places.length} found` : "";
  };
  const go = (step) => {
    if (!places.length) return;
    at = (at + step + places.length) % places.length;
    const log = document.getElementById("log");
    log.scrollTop += places[at].getBoundingClientRect().top - log.getBoundingClientRect().top - log.clientHeight / 2;
    said.textContent = `${at + 1} of ${places.length} found`;
  };
  field.addEventListener("input", () => {
    at = -1;
    mark();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    go(event.shiftKey ? -1 : 1);
  });
  live.around(() => mark);
}

function textsOf(element) {
  const walk = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walk.nextNode()) found.push(walk.currentNode);
  return found;
}

// A sweep's page: actions, tables that sort by a click, jobs to compare.

import "./page.js";
import "./actions.js";
import "./select.js";
import { live } from "./live.js";

const keyOf = (row, column) => row.cells[column]?.dataset.sort ?? "";

/** Numbers by size, other values by name, and what has none last in either order. */
function compared(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const [x, y] = [Number(a), Number(b)];
  return sign * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y);
}

function sort(table) {
  const head = table.querySelector("th[aria-sort]");
  if (!head) return;
  const sign = head.getAttribute("aria-sort") === "descending" ? -1 : 1;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compared(keyOf(a, head.cellIndex), keyOf(b, head.cellIndex), sign));
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("button.sort")?.closest("th");
    if (!head) return;
    const before = head.getAttribute("aria-sort");
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    // The best of a column of numbers is mostly the greatest: that order comes first.
    const first = head.classList.contains("num") ? "descending" : "ascending";
    const second = first === "descending" ? "ascending" : "descending";
    head.setAttribute("aria-sort", before === first ? second : first);
    sort(table);
  });
  live.around(() => () => sort(table)); // a refresh brings the server's order
}

// Boxes that choose jobs to compare: the button says how many are chosen, and works from two on.

import { live } from "./live.js";

const FEWEST = 2;
const MOST = 20;

function count() {
  const button = document.getElementById("compare-button");
  const chosen = document.querySelectorAll("input[name='job'][form='compare']:checked").length;
  button.textContent = chosen ? `Compare ${chosen}` : "Compare";
  button.disabled = chosen < FEWEST || chosen > MOST;
  button.title = chosen > MOST ? `At most ${MOST} jobs` : button.disabled ? `Choose ${FEWEST} to ${MOST} jobs` : "";
}

if (document.getElementById("compare-button")) {
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[name='job']")) count();
  });
  live.around(() => count); // a job that was chosen may be gone
  addEventListener("pageshow", count); // boxes stay chosen when the reader comes back
  count();
}

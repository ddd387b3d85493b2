// The list of jobs.

import "./page.js";
import "./select.js";

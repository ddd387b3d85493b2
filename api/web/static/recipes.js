// The page of recipes: buttons that submit one.

import "./page.js";
import "./actions.js";

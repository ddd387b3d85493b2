// Calls to the REST API from a page, and what it says when it refuses.

/** The answer; throws an Error with the problem's text where the API refuses. */
export async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Check whether the change was made before you try again.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const title = problem.title ?? `The server answered ${response.status}`;
  throw new Error(problem.detail ? `${title}. ${problem.detail}` : title);
}

/** Shows `text` in the page's alert; an empty one hides it. */
export function showProblem(text) {
  const alert = document.getElementById("problem");
  alert.hidden = !text;
  alert.textContent = text;
}

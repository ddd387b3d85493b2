// Brings a piece of the page to what the server renders now, touching only what differs: focus, selection, scrolling
// and opened <details> stay as they are.

const OWN = "data-own"; // a script's, not the server's
const KEPT = new Set(["open"]); // attributes that belong to the reader

export function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.replaceWith(document.importNode(to, true));
  } else if (from.nodeType === Node.TEXT_NODE) {
    morphText(from, to.data);
  } else if (from.nodeType === Node.ELEMENT_NODE && !from.hasAttribute(OWN)) {
    morphAttributes(from, to);
    morphChildren(from, to);
  }
}

/** Appends where text only grew, so that a selection in a growing log survives. */
function morphText(node, text) {
  if (node.data === text) return;
  if (node.data && text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

function morphAttributes(from, to) {
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !KEPT.has(name)) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value && !KEPT.has(name)) from.setAttribute(name, value);
  }
}

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || null : null);

function morphChildren(from, to) {
  const wanted = new Set([...to.childNodes].map(keyOf).filter(Boolean));
  const keyed = new Map();
  for (const child of [...from.childNodes]) {
    const key = keyOf(child);
    if (key && wanted.has(key)) keyed.set(key, child);
    else if (key) child.remove();
  }
  const hadKeys = keyed.size > 0;
  let at = from.firstChild;
  for (const next of to.childNodes) {
    const key = keyOf(next);
    const match = key ? keyed.get(key) : at && !keyOf(at) ? at : null;
    if (!match) {
      const added = document.importNode(next, true);
      if (key && hadKeys) added.classList.add("fresh");
      from.insertBefore(added, at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else from.insertBefore(match, at);
    morph(match, next);
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

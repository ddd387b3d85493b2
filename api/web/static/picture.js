// A chart as a file: PNG of what it shows, CSV of the points that it shows.

import { svg } from "./draw.js";

const DENSITY = 2; // pixels of the picture for one of the page
const DRAWN = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "opacity", "font-family", "font-size", "font-weight"];
const EDGE = 16;
const LINE = 20; // px of a line of the legend

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\w.-]+/g, "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A copy that keeps its looks without the page's style sheets: as attributes, which the content policy allows. */
function standalone(chart) {
  const copy = chart.cloneNode(true);
  const originals = [...chart.querySelectorAll("*")];
  [...copy.querySelectorAll("*")].forEach((element, i) => {
    const style = getComputedStyle(originals[i]);
    for (const name of DRAWN) element.setAttribute(name, style.getPropertyValue(name));
  });
  return copy;
}

/** `named`: [{label, colour}] of the curves that are drawn. */
function framed(chart, title, named) {
  const { clientWidth: width, clientHeight: height } = chart;
  const root = getComputedStyle(document.documentElement);
  const colour = (name) => root.getPropertyValue(name).trim();
  const text = { "font-family": getComputedStyle(chart).fontFamily, "font-size": 13, fill: colour("--ink") };
  const top = EDGE + 24 + LINE * named.length;
  const sheet = svg("svg", { xmlns: "http://www.w3.org/2000/svg", width: width + 2 * EDGE, height: top + height + EDGE });
  sheet.append(svg("rect", { width: "100%", height: "100%", fill: colour("--card") }));
  sheet.append(svg("text", { ...text, x: EDGE, y: EDGE + 12, "font-weight": 600 }, title));
  named.forEach(({ label, colour: stroke }, i) => {
    const y = EDGE + 20 + LINE * (i + 0.5);
    sheet.append(svg("rect", { x: EDGE, y: y - 2, width: 14, height: 3, fill: stroke }), svg("text", { ...text, x: EDGE + 22, y: y + 4 }, label));
  });
  const copy = standalone(chart);
  for (const [name, value] of Object.entries({ x: EDGE, y: top, width, height })) copy.setAttribute(name, value);
  sheet.append(copy);
  return sheet;
}

/** A PNG of the chart with its title and legend, in the colours of the page. */
export async function png(chart, title, named) {
  const sheet = framed(chart, title, named);
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(sheet)], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = sheet.getAttribute("width") * DENSITY;
    canvas.height = sheet.getAttribute("height") * DENSITY;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}

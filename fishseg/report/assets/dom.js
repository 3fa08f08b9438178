// Elements, numbers and scales: what all parts of the page use.

const SVG = "http://www.w3.org/2000/svg";

/**
 * A new element. An attribute that is a function listens to the event of its name; one that is
 * null or false is left out. Strings become text, never markup.
 */
function element(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** The same for an element of an SVG drawing. */
function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null));
  return node;
}

/** A section of the page with its entry in the table of contents. */
function section(id, title, ...children) {
  document
    .getElementById("contents")
    .append(element("a", { href: `#${id}` }, title));
  const heading = element("h2", { id: `${id}-title` }, title);
  document
    .getElementById("main")
    .append(element("section", { id, "aria-labelledby": `${id}-title` }, heading, ...children));
}

/** A table that scrolls by itself where the window is narrower than its content. */
function scrollable(label, table) {
  return element("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, table);
}

/** Rows of cells as a table; the first cell of each row is its heading. */
function table(className, head, rows) {
  const cells = (row) =>
    row.map((cell, column) =>
      column === 0 ? element("th", { scope: "row" }, cell) : element("td", {}, cell),
    );
  return element(
    "table",
    { class: className },
    element("thead", {}, element("tr", {}, head.map((cell) => element("th", { scope: "col" }, cell)))),
    element("tbody", {}, rows.map((row) => element("tr", {}, cells(row)))),
  );
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** A number for people; a dash where there is none. */
function decimal(value, digits = 3) {
  return isNumber(value) ? value.toFixed(digits) : "–";
}

function percent(value, digits = 0) {
  return isNumber(value) ? `${(100 * value).toFixed(digits)}%` : "–";
}

function count(value, noun, plural = `${noun}s`) {
  return `${value} ${value === 1 ? noun : plural}`;
}

/** A name as the pipeline writes it (`low_light`) as people do (`low light`). */
function words(name) {
  return name.replaceAll("_", " ");
}

/** Round numbers from `low` to `high`, about `wanted` of them. */
function ticks(low, high, wanted) {
  const rough = (high - low || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/** Maps [low, high] of the data to [from, to] of the drawing. */
function scale(low, high, from, to) {
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

/** Draws into a container now, and again whenever its width changes. */
function drawToWidth(container, draw) {
  let drawn = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width > 0 && width !== drawn) {
      drawn = width;
      container.replaceChildren(draw(width));
    }
  }).observe(container);
  return container;
}

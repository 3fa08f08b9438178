// All images: search, filter, sort, and open one in the viewer. What an image has to show, be it
// one with a ground truth or one that was only predicted, is said by its kind.

const CARDS_AT_ONCE = 120;
const ANY = "";
const ORDERS = {
  iou_up: ["IoU, lowest first", (image) => image.iou],
  iou_down: ["IoU, highest first", (image) => -image.iou],
  boundary_up: ["Boundary IoU, lowest first", (image) => image.boundary_iou],
  confidence_up: ["Confidence, lowest first", (image) => image.confidence],
  confidence_down: ["Confidence, highest first", (image) => -image.confidence],
  overconfident: ["Confident but wrong first", (image) => image.iou - image.confidence],
  class_name: ["Class", (image) => image.class_name],
  sample_id: ["Name", (image) => image.sample_id],
};

/** Images of validation and test, which have a ground truth. */
const EVALUATED = {
  title: "Images",
  orders: ORDERS,
  needsConfidence: (order) => /^(confid|overconf)/.test(order),
  selects: ["split", "class_name", "mask_status"],
  ranges: ["iou", "confidence"],
  fields: (distinct, hasConfidence) => [
    field("Split", choice("split", [[ANY, "both"], ...distinct("split").map((split) => [split, SPLIT_NAMES[split]])])),
    field("Class", choice("class_name", [[ANY, "all"], ...distinct("class_name").map((name) => [name, name])])),
    field("Mask", choice("mask_status", [[ANY, "any"], ...distinct("mask_status").map((status) => [status, status])])),
    range("IoU", "iou"),
    hasConfidence ? range("Confidence", "confidence") : null,
  ],
  label(image) {
    const confidence = isNumber(image.confidence) ? `, confidence ${decimal(image.confidence)}` : "";
    return `${image.sample_id}, ${SPLIT_NAMES[image.split]}, IoU ${decimal(image.iou)}${confidence}, mask ${image.mask_status}`;
  },
  lines(image) {
    const name = image.sample_id.startsWith(`${image.class_name}/`) ? image.sample_id.slice(image.class_name.length + 1) : image.sample_id;
    const status = image.mask_status === "ok" ? null : element("span", { class: "tag" }, image.mask_status);
    return [
      [element("span", { class: "card-name" }, image.class_name), element("span", { class: "card-iou" }, decimal(image.iou))],
      [element("span", { class: "card-name" }, name), status, element("span", { class: `key ${image.split}` }, image.split)],
    ];
  },
  panes: ["Image", "Ground truth", "Prediction", "Errors"],
  compose: (photograph, masks, width, height) => compose(photograph, masks, width, height),
  facts: (record) => viewerFacts(record),
  keys: "",
};

function showImages(images, kind = EVALUATED) {
  const hasConfidence = images.some((image) => isNumber(image.confidence));
  const orders = Object.entries(kind.orders).filter(([name]) => hasConfidence || !kind.needsConfidence(name));
  const distinct = (key) => [...new Set(images.map((image) => image[key]))].sort();
  const form = element(
    "form",
    { class: "filters", role: "search", "aria-label": "Images", submit: (event) => event.preventDefault() },
    field("Name contains", element("input", { type: "search", name: "text", autocomplete: "off", spellcheck: "false" })),
    kind.fields(distinct, hasConfidence),
    field("Sort by", choice("order", orders.map(([name, [title]]) => [name, title]))),
    element("button", { type: "button", click: reset }, "Reset"),
  );
  const number = element("p", { class: "count", role: "status" });
  const grid = element("ul", { class: "cards", "aria-label": "Images" });
  const more = element("button", { type: "button", class: "more", click: () => showMore() });
  const viewer = makeViewer(document.getElementById("viewer"), { kind, closed: focusCard });
  let chosen = [];

  function update() {
    chosen = chooseImages(images, Object.fromEntries(new FormData(form)), kind);
    number.textContent = `${chosen.length} of ${count(images.length, "image")}`;
    grid.replaceChildren();
    showMore();
  }

  function reset() {
    form.reset();
    update();
  }

  function showMore() {
    const start = grid.childElementCount;
    const cards = chosen.slice(start, start + CARDS_AT_ONCE).map((image, offset) => card(image, () => viewer.open(chosen, start + offset), kind));
    grid.append(...cards);
    const left = chosen.length - grid.childElementCount;
    more.hidden = left <= 0;
    more.textContent = `Show ${Math.min(left, CARDS_AT_ONCE)} more of ${left}`;
    if (start > 0) grid.children[start]?.querySelector("button").focus();
  }

  function focusCard(image) {
    const index = chosen.indexOf(image);
    while (grid.childElementCount <= index) showMore();
    grid.children[index]?.querySelector("button").focus();
  }

  form.addEventListener("input", update);
  section("images", kind.title, kind.head?.() ?? null, form, number, grid, more);
  update();
  return {
    refresh(image) {
      const shown = grid.children[chosen.indexOf(image)];
      shown?.replaceWith(card(image, () => viewer.open(chosen, chosen.indexOf(image)), kind));
    },
    filterByClass(name) {
      form.reset();
      form.elements.class_name.value = name;
      update();
      document.getElementById("images").scrollIntoView();
      form.elements.class_name.focus({ preventScroll: true });
    },
  };
}

/** The images that pass the filters, in the wanted order. */
function chooseImages(images, wanted, kind) {
  const text = wanted.text.trim().toLowerCase();
  const key = kind.orders[wanted.order][1];
  const fits = (image) =>
    image.sample_id.toLowerCase().includes(text) &&
    kind.selects.every((name) => wanted[name] === ANY || image[name] === wanted[name]) &&
    kind.ranges.every((name) => isBetween(image[name], wanted[`${name}_from`], wanted[`${name}_to`]));
  const before = (left, right) => {
    if (key(left) !== key(right)) return key(left) < key(right) ? -1 : 1;
    return left.sample_id < right.sample_id ? -1 : 1;
  };
  return images.filter(fits).sort(before);
}

/** Whether a value lies within two texts from a form; an empty one, or none, sets no limit. */
function isBetween(value, from, to) {
  return (!from || value >= Number(from)) && (!to || value <= Number(to));
}

function card(image, open, kind) {
  const [first, second] = kind.lines(image);
  return element(
    "li",
    {},
    element(
      "button",
      { type: "button", class: "card", click: open, "aria-label": kind.label(image) },
      element("span", { class: "thumbnail" }, element("img", { src: image.thumbnail, alt: "", loading: "lazy", decoding: "async" })),
      element("span", { class: "card-line" }, first),
      element("span", { class: "card-line small" }, second),
    ),
  );
}

function field(title, control) {
  return element("label", { class: "field" }, element("span", {}, title), control);
}

function choice(name, options) {
  return element("select", { name }, options.map(([value, title]) => element("option", { value }, title)));
}

function range(title, name) {
  const end = (which, placeholder) =>
    element("input", { type: "number", name: `${name}_${which}`, "aria-label": `${title} ${which}`, placeholder, min: 0, max: 1, step: 0.01, inputmode: "decimal" });
  return element("div", { class: "field", role: "group", "aria-label": title }, element("span", {}, title), element("span", { class: "range" }, end("from", "0"), "to", end("to", "1")));
}

// The head of the page and its headline numbers.

const SPLIT_NAMES = { val: "Validation", test: "Test", train: "Training" };
const METRICS = [
  ["mean_iou", "Mean IoU", "the mean over images of IoU, each at its original size"],
  ["raw_mask_iou", "… raw masks", "the same against the masks before the audit repaired or rejected any"],
  ["boundary_iou", "Boundary IoU", "IoU of the two bands along the outlines: how well the edge is met"],
  ["dice", "Dice", "twice the shared pixels over the pixels of both masks"],
  ["precision", "Precision", "how much of what was called fish is fish"],
  ["recall", "Recall", "how much of the fish was found"],
  ["dataset_iou", "Pooled IoU", "over all pixels of the split at once: large fish count more"],
  ["batch8_iou", "IoU in batches of 8", "the starting project's number, at the working resolution"],
  ["worst_iou", "Worst image", "the lowest IoU"],
  ["best_iou", "Best image", "the highest IoU"],
];

function showSetup(setup) {
  const entries = Object.entries(setup).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value)),
  );
  document.getElementById("setup").append(...entries);
}

function showSummary({ splits, leak, images }) {
  const shown = ["val", "test"].filter((split) => isNumber(splits[split]?.mean_iou));
  section(
    "summary",
    "Summary",
    element(
      "p",
      { class: "lead" },
      "IoU, intersection over union: of all pixels that the mask or the prediction calls fish, the share that both call so. 1 is perfect.",
    ),
    leakNotice(leak),
    element("div", { class: "headlines" }, shown.map((split) => headline(split, splits[split], images, shown, splits))),
    element(
      "p",
      { class: "note" },
      "The bar is the 95% interval: where the mean might lie with other photographs. It comes from resampling photographs, not images, since copies of one photograph are no independent evidence. A difference smaller than the bars may be chance.",
    ),
    metricsTable(splits),
  );
}

function leakNotice(leak) {
  const leaky = ["val", "test"].filter((split) => leak[`${split}_leak`] > 0);
  if (leaky.length === 0) return null;
  const shares = leaky.map((split) => `${percent(leak[`${split}_leak`])} of the ${SPLIT_NAMES[split].toLowerCase()} images`);
  return element(
    "p",
    { class: "notice", role: "note" },
    `This split is leaky: ${shares.join(" and ")} show a photograph that the decoder was trained on. The numbers say little about new photographs.`,
  );
}

function headline(split, metrics, images, shown, splits) {
  const scores = images.filter((image) => image.split === split && image.mask_status !== "rejected").map((image) => image.iou);
  const low = Math.min(...shown.map((name) => splits[name].iou_ci_low ?? splits[name].mean_iou));
  const floor = Math.max(0, Math.floor(low * 10 - 0.5) / 10);
  return element(
    "article",
    { class: `headline ${split}` },
    element("h3", {}, SPLIT_NAMES[split]),
    element("p", { class: "figure" }, decimal(metrics.mean_iou)),
    element("p", { class: "unit" }, "mean IoU"),
    drawToWidth(element("div", { class: "interval" }), (width) => intervalBar(metrics, floor, width)),
    element(
      "p",
      { class: "facts" },
      `95% interval ${decimal(metrics.iou_ci_low)} to ${decimal(metrics.iou_ci_high)}, ${count(metrics.n_images, "image")} of ${count(metrics.n_groups, "photograph")}. ${aboveNineTenths(scores)}`,
    ),
  );
}

function aboveNineTenths(scores) {
  if (scores.length === 0) return "";
  const good = scores.filter((iou) => iou >= 0.9).length;
  return `${percent(good / scores.length)} of the images reach 0.9.`;
}

function intervalBar(metrics, floor, width) {
  const x = scale(floor, 1, 1, width - 1);
  const y = 9;
  const values = ticks(floor, 1, 4);
  const anchors = ["start"];
  const last = values.length - 1;
  const marks = values.map((value, index) => [
    svg("line", { class: "tick", x1: x(value), x2: x(value), y1: y - 4, y2: y + 4 }),
    svg("text", { class: "tick-label", x: x(value), y: y + 20, "text-anchor": anchors[index] ?? (index === last ? "end" : "middle") }, decimal(value, 2)),
  ]);
  return svg(
    "svg",
    { width, height: 34, role: "img", "aria-label": `Mean ${decimal(metrics.mean_iou)}, interval from ${decimal(metrics.iou_ci_low)} to ${decimal(metrics.iou_ci_high)}` },
    svg("line", { class: "axis", x1: 0, x2: width, y1: y, y2: y }),
    marks,
    svg("line", { class: "whisker", x1: x(metrics.iou_ci_low), x2: x(metrics.iou_ci_high), y1: y, y2: y }),
    svg("circle", { class: "mean", cx: x(metrics.mean_iou), cy: y, r: 6 }),
  );
}

function metricsTable(splits) {
  const columns = ["val", "test", "train"].filter((split) => splits[split]?.n_images > 0);
  const rows = METRICS.filter(([key]) => columns.some((split) => isNumber(splits[split][key]))).map(
    ([key, name, meaning]) => [
      [name, element("span", { class: "meaning" }, meaning)],
      ...columns.map((split) => decimal(splits[split][key])),
    ],
  );
  rows.push(["Images", ...columns.map((split) => splits[split].n_images)]);
  rows.push(["Photographs", ...columns.map((split) => splits[split].n_groups)]);
  return scrollable("All metrics", table("metrics", ["Metric", ...columns.map((split) => SPLIT_NAMES[split])], rows));
}

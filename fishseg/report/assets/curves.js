// How training went: loss and IoU of each epoch, a band of one standard deviation around each.

const CURVE_HEIGHT = 260;
const MARGIN = { left: 40, right: 12, top: 12, bottom: 36 };

function showTraining({ epochs, training }) {
  if (epochs.length === 0) return;
  const best = epochs.find((epoch) => epoch.best === 1) ?? epochs[epochs.length - 1];
  const size = isNumber(training.n_parameters) ? ` The decoder has ${training.n_parameters.toLocaleString("en")} weights.` : "";
  section(
    "training",
    "Training",
    element(
      "p",
      { class: "lead" },
      `${count(epochs.length, "epoch")}; the decoder of epoch ${best.epoch}, with the best validation IoU, was kept.${size}`,
    ),
    element(
      "div",
      { class: "curves" },
      curve(epochs, best, "iou", "IoU, at the working resolution"),
      curve(epochs, best, "loss", "Loss"),
    ),
    element("p", { class: "note" }, "The bands show one standard deviation: of the steps in training, of the images or batches in validation."),
    element("details", {}, element("summary", {}, "The curves as numbers"), epochsTable(epochs)),
  );
}

function epochsTable(epochs) {
  const columns = [["Epoch", "epoch", 0], ["Train loss", "train_loss", 4], ["Val loss", "val_loss", 4], ["Train IoU", "train_iou", 4], ["Val IoU", "val_iou", 4]];
  const rows = epochs.map((epoch) => columns.map(([, key, digits]) => decimal(epoch[key], digits)));
  return scrollable("The curves as numbers", table("plain", columns.map(([name]) => name), rows));
}

function curve(epochs, best, key, title) {
  const readings = ["train", "val"].map((split) => ({ split, value: element("span") }));
  const place = element("span", { class: "at" });
  const read = (epoch) => {
    place.textContent = `epoch ${epoch.epoch}`;
    for (const { split, value } of readings) value.textContent = decimal(epoch[`${split}_${key}`]);
  };
  read(best);
  const legend = readings.map(({ split, value }) => [
    element("span", { class: `key ${split}` }, SPLIT_NAMES[split].toLowerCase(), " ", value),
    " ",
  ]);
  return element(
    "figure",
    { class: "curve" },
    element("figcaption", {}, element("h3", {}, title), element("p", { class: "legend" }, legend, place)),
    drawToWidth(element("div"), (width) => curveDrawing(epochs, best, key, title, width, read)),
  );
}

function curveDrawing(epochs, best, key, title, width, read) {
  const splits = ["train", "val"].map((split) => ({
    split,
    points: epochs
      .filter((epoch) => isNumber(epoch[`${split}_${key}`]))
      .map((epoch) => curvePoint(epoch, `${split}_${key}`, key)),
  }));
  const points = splits.flatMap((series) => series.points);
  const low = key === "loss" ? 0 : Math.min(...points.map((point) => point.low));
  const high = key === "iou" ? 1 : Math.max(...points.map((point) => point.high));
  const x = scale(epochs[0].epoch, epochs[epochs.length - 1].epoch, MARGIN.left, width - MARGIN.right);
  const y = scale(low, high, CURVE_HEIGHT - MARGIN.bottom, MARGIN.top);
  const cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: CURVE_HEIGHT - MARGIN.bottom, x1: x(best.epoch), x2: x(best.epoch) });
  const follow = (event) => {
    const at = event.clientX - event.currentTarget.getBoundingClientRect().left;
    const nearest = epochs.reduce((left, right) => (Math.abs(x(right.epoch) - at) < Math.abs(x(left.epoch) - at) ? right : left));
    moveCursor(nearest);
  };
  const moveCursor = (epoch) => {
    cursor.setAttribute("x1", x(epoch.epoch));
    cursor.setAttribute("x2", x(epoch.epoch));
    read(epoch);
  };
  const last = epochs[epochs.length - 1];
  return svg(
    "svg",
    {
      width,
      height: CURVE_HEIGHT,
      role: "img",
      "aria-label": `${title}: validation from ${decimal(epochs[0][`val_${key}`])} in epoch ${epochs[0].epoch} to ${decimal(last[`val_${key}`])} in epoch ${last.epoch}`,
      pointermove: follow,
      pointerleave: () => moveCursor(best),
    },
    curveAxes(x, y, epochs, low, high, width),
    splits.map(({ split, points: line }) => [
      svg("path", { class: `band ${split}`, d: bandPath(line, x, y) }),
      svg("path", { class: `line ${split}`, d: linePath(line.map((point) => [x(point.epoch), y(point.value)])) }),
    ]),
    cursor,
    isNumber(best[`val_${key}`]) ? svg("circle", { class: "best val", cx: x(best.epoch), cy: y(best[`val_${key}`]), r: 4.5 }) : null,
  );
}

/** A value and its band, kept inside what the quantity can be. */
function curvePoint(epoch, column, key) {
  const value = epoch[column];
  const spread = epoch[`${column}_std`] ?? 0;
  return {
    epoch: epoch.epoch,
    value,
    low: Math.max(0, value - spread),
    high: key === "iou" ? Math.min(1, value + spread) : value + spread,
  };
}

function curveAxes(x, y, epochs, low, high, width) {
  const bottom = CURVE_HEIGHT - MARGIN.bottom;
  const rows = ticks(low, high, 5);
  const digits = rows.some((value) => Math.abs(value * 10 - Math.round(value * 10)) > 1e-6) ? 2 : 1;
  const first = epochs[0].epoch;
  const last = epochs[epochs.length - 1].epoch;
  const columns = ticks(first, last, Math.min(width / 60, last - first || 1)).filter(Number.isInteger);
  return [
    rows.map((value) => [
      svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
      svg("text", { class: "tick-label", x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, decimal(value, digits)),
    ]),
    columns.map((value) => svg("text", { class: "tick-label", x: x(value), y: bottom + 18, "text-anchor": "middle" }, value)),
    svg("text", { class: "axis-label", x: width - MARGIN.right, y: bottom + 33, "text-anchor": "end" }, "epoch"),
  ];
}

function linePath(points) {
  return points.map(([x, y], index) => `${index === 0 ? "M" : "L"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
}

function bandPath(points, x, y) {
  const upper = points.map((point) => [x(point.epoch), y(point.high)]);
  const lower = points.map((point) => [x(point.epoch), y(point.low)]).reverse();
  return points.length === 0 ? "" : `${linePath([...upper, ...lower])}Z`;
}

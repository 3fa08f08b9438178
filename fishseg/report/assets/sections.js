// Classes, species, robustness, calibration, audit, parameters: one section each, all but the last left
// out where nothing was measured.

function showClasses({ splits, class_names: names, images }, filterByClass) {
  const slugs = [...new Set(["val", "test"].flatMap((split) => Object.keys(splits[split]?.per_class ?? {})))];
  if (slugs.length === 0) return;
  const mean = (slug) => splits.val?.per_class?.[slug]?.mean_iou ?? splits.test?.per_class?.[slug]?.mean_iou ?? 1;
  slugs.sort((left, right) => mean(left) - mean(right) || (left < right ? -1 : 1));
  const kept = images.filter((image) => image.mask_status !== "rejected");
  const floor = Math.floor(Math.min(...kept.map((image) => image.iou), 0.9) * 10) / 10;
  const rows = slugs.map((slug) => {
    const name = names[slug] ?? slug;
    const score = (split, key) => decimal(splits[split]?.per_class?.[slug]?.[key]);
    const own = kept.filter((image) => image.class_name === name);
    return [
      element("button", { type: "button", class: "link", title: "Show its images", click: () => filterByClass(name) }, name),
      drawToWidth(element("div", { class: "strip" }), (width) => scoreStrip(own, floor, width)),
      score("val", "mean_iou"),
      score("test", "mean_iou"),
      score("val", "boundary_iou"),
      score("test", "boundary_iou"),
    ];
  });
  const axis = drawToWidth(element("div", { class: "strip" }), (width) => stripAxis(floor, width));
  const short = (split) => [element("span", { class: `key ${split}` }, split)];
  section(
    "classes",
    "Classes",
    element("p", { class: "lead" }, "Hardest first. A dot is an image, a bar the mean; a class leads to its images."),
    scrollable(
      "Scores of each class",
      table("classes", ["Class", axis, ["IoU", short("val")], ["IoU", short("test")], ["Boundary", short("val")], ["Boundary", short("test")]], rows),
    ),
  );
}

function scoreStrip(images, floor, width) {
  const x = scale(floor, 1, 5, width - 5);
  const lanes = { val: 10, test: 24 };
  return svg(
    "svg",
    { width, height: 34, "aria-hidden": "true" },
    Object.entries(lanes).map(([split, y]) => {
      const scores = images.filter((image) => image.split === split).map((image) => image.iou);
      const mean = scores.reduce((sum, iou) => sum + iou, 0) / scores.length;
      return [
        svg("line", { class: "grid", x1: 0, x2: width, y1: y, y2: y }),
        scores.map((iou) => svg("circle", { class: `dot ${split}`, cx: x(iou), cy: y, r: 3.5 })),
        scores.length > 0 ? svg("line", { class: `line ${split}`, x1: x(mean), x2: x(mean), y1: y - 7, y2: y + 7 }) : null,
      ];
    }),
  );
}

function stripAxis(floor, width) {
  const x = scale(floor, 1, 5, width - 5);
  return svg(
    "svg",
    { width, height: 16, role: "img", "aria-label": `IoU of each image, from ${decimal(floor, 1)} to 1` },
    ticks(floor, 1, Math.max(2, width / 60)).map((value) =>
      svg("text", { class: "tick-label", x: x(value), y: 12, "text-anchor": value === 1 ? "end" : "middle" }, decimal(value, 1)),
    ),
  );
}

/** How well each species is recognised, hardest first; nothing where none were learned. */
function showSpecies({ species, species_classes: classes, class_names: names }) {
  if (!species?.classifier) return;
  const of = (split, name) => classes.find((row) => row.split === split && row.class_name === name) ?? {};
  const recall = (name) => of("val", name).recall ?? of("test", name).recall ?? 1;
  const auroc = (name) => {
    const slug = Object.keys(names).find((key) => names[key] === name);
    return species.unknown.val?.per_class?.[slug]?.auroc;
  };
  const rows = [...species.classes]
    .sort((left, right) => recall(left) - recall(right) || (left < right ? -1 : 1))
    .map((name) => [
      name,
      ...["recall", "precision"].flatMap((key) => ["val", "test"].map((split) => decimal(of(split, name)[key], 2))),
      of("val", name).taken_for || of("test", name).taken_for || "–",
      decimal(auroc(name), 2),
    ]);
  const right = ["val", "test"].map((split) => {
    const found = species[split].predicted;
    if (!isNumber(found.accuracy)) return "";
    const interval = `[${percent(found.accuracy_ci_low)}, ${percent(found.accuracy_ci_high)}]`;
    return ` ${SPLIT_NAMES[split]}: ${percent(found.accuracy)} ${interval} of ${count(found.n_images, "image")} of ${count(found.n_groups, "photograph")} are right.`;
  });
  const unknown = species.unknown.val ?? {};
  const strangers = isNumber(unknown.auroc)
    ? ` A species that was left out is told from the others with an AUROC of ${decimal(unknown.auroc, 2)} [${decimal(unknown.auroc_ci_low, 2)}, ${decimal(unknown.auroc_ci_high, 2)}] on val.`
    : "";
  const leftOut = Object.keys(species.left_out);
  const short = (name, split) => [`${name} `, element("span", { class: `key ${split}` }, split)];
  section(
    "species",
    "Species",
    element("p", { class: "lead" }, `Named from the features under the predicted mask.${right.join("")}${strangers}`),
    scrollable(
      "Scores of each species",
      table(
        "metrics",
        ["Species", short("Recall", "val"), short("Recall", "test"), short("Precision", "val"), short("Precision", "test"), "Mistaken for", "AUROC if left out"],
        rows,
      ),
    ),
    leftOut.length === 0 ? [] : element("p", { class: "note" }, `Left out, with one photograph in train: ${leftOut.join(", ")}.`),
  );
}

function showRobustness(robustness, figures) {
  if (!robustness) return;
  const disturbances = Object.entries(robustness).filter(
    ([name, levels]) => name !== "clean" && levels !== null && typeof levels === "object" && "1" in levels,
  );
  if (disturbances.length === 0) return;
  const severities = Object.keys(disturbances[0][1]).filter((key) => /^\d+$/.test(key));
  const rows = disturbances.map(([name, levels]) => [
    words(name),
    ...severities.map((severity) => retained(levels[severity])),
  ]);
  const clean = isNumber(robustness.clean?.mean_iou) ? ` Undisturbed, it is ${decimal(robustness.clean.mean_iou)}.` : "";
  const some = isNumber(robustness.n_images) ? ` Measured on ${count(robustness.n_images, "validation photograph")}, each in some of these ways.` : "";
  const interval = isNumber(robustness.retained_ci_low) ? ` [${percent(robustness.retained_ci_low)}, ${percent(robustness.retained_ci_high)}]` : "";
  const all = isNumber(robustness.mean_iou_retained) ? ` Over all of them: ${percent(robustness.mean_iou_retained)}${interval}.` : "";
  section(
    "robustness",
    "Robustness",
    element(
      "p",
      { class: "lead" },
      `How much of the mean IoU is left when the picture is disturbed, from hardly visible (1) to hard for a person (5).${clean}${all}${some}`,
    ),
    scrollable("IoU retained", table("heat", ["Disturbance", ...severities], rows)),
    shownFigures(figures),
  );
}

/** A cell whose colour says the same as its number. */
function retained(level) {
  const value = level?.iou_retained ?? level?.mean_iou;
  const cell = element("span", { class: "heat-cell", title: `mean IoU ${decimal(level?.mean_iou)}` }, percent(value));
  if (isNumber(value)) cell.style.setProperty("--loss", `${Math.round(60 * Math.min(1, Math.max(0, 1 - value)))}%`);
  return cell;
}

const CALIBRATION = [
  ["calibration", "temperature", "Temperature", "what the logits are divided by; 1 leaves them as they are"],
  ["calibration", "ece", "Calibration error", "how far the probabilities are from how often pixels are fish"],
  ["confidence", "spearman", "Confidence against IoU", "rank correlation over images: 1 where the confidence orders them as the IoU does"],
  ["confidence", "aurc", "Risk under coverage", "mean 1 − IoU of the most confident images, over all shares of them: lower is better"],
  ["confidence", "aurc_optimal", "… at best", "with a confidence that orders the images perfectly"],
  ["confidence", "aurc_random", "… at random", "with a confidence that says nothing"],
];

function showCalibration(splits, figures) {
  const columns = ["val", "test"].filter((split) => splits[split]?.calibration || splits[split]?.confidence);
  if (columns.length === 0) return;
  const value = (split, group, key) => splits[split][group]?.[key];
  const rows = CALIBRATION.filter(([group, key]) => columns.some((split) => isNumber(value(split, group, key)))).map(
    ([group, key, name, meaning]) => [
      [name, element("span", { class: "meaning" }, meaning)],
      ...columns.map((split) => decimal(value(split, group, key), 4)),
    ],
  );
  section(
    "calibration",
    "Calibration",
    element("p", { class: "lead" }, "Whether the probabilities mean what they say, and whether a low confidence warns of a bad mask."),
    scrollable("Calibration", table("metrics", ["", ...columns.map((split) => SPLIT_NAMES[split])], rows)),
    shownFigures(figures),
  );
}

function showAudit(audit, figures) {
  const masks = audit.masks ?? {};
  const problems = Object.entries(audit.files?.problems ?? {}).filter(([, number]) => number > 0);
  const facts = [
    [audit.files?.n_images, "usable images"],
    [audit.n_photos ?? audit.n_groups, "photographs they are copies of"],
    [masks.wrong, "masks that belong to another transform"],
    [masks.repaired, "of them repaired"],
    [masks.rejected, "of them rejected"],
    [masks.unverified, "masks that nothing can check"],
    [audit.near_duplicates, "near duplicates"],
  ].filter(([number]) => isNumber(number));
  section(
    "audit",
    "Data",
    element("p", { class: "lead" }, "What the audit found before anything was trained: files that cannot be used, copies of one photograph, masks that do not fit their image."),
    element(
      "dl",
      { class: "tiles" },
      facts.map(([number, meaning]) => element("div", {}, element("dt", {}, meaning), element("dd", {}, number.toLocaleString("en")))),
    ),
    element(
      "p",
      { class: "note" },
      problems.length === 0
        ? "No file was broken, double or without its partner."
        : `Left out or doubtful: ${problems.map(([kind, number]) => `${words(kind)} ${number}`).join(", ")}.`,
    ),
    shownFigures(figures),
  );
}

/** Every value of params.yaml that the run had, a table a section of it. */
function showParameters(parameters) {
  const text = (value) => (value === "" ? "(empty)" : Array.isArray(value) ? value.join(", ") : String(value));
  section(
    "parameters",
    "Parameters",
    element("p", { class: "lead" }, "What this run was asked for, as params.yaml said it."),
    Object.entries(parameters).map(([name, values]) =>
      element(
        "details",
        {},
        element("summary", {}, name),
        scrollable(
          `Parameters of ${name}`,
          table("parameters", ["Name", "Value"], Object.entries(values).map(([key, value]) => [key, text(value)])),
        ),
      ),
    ),
  );
}

/** Pictures that a stage has drawn; open where there is room, folded where there is not. */
function shownFigures(figures) {
  return (figures ?? []).map(({ caption, image, width, height }) =>
    element(
      "details",
      { class: "picture" },
      element("summary", {}, caption),
      scrollable(caption, element("img", { src: image, alt: caption, width, height, loading: "lazy" })),
    ),
  );
}

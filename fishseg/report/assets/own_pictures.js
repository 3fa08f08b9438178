// The page of `fishseg predict`: the user's own pictures, the doubtful ones first, accepted or
// rejected one by one. Decisions stay in this browser until they are saved as a table.

const page = JSON.parse(document.getElementById("content").textContent);
const STORED = `fishseg ${location.pathname}`;
const DECISIONS = { accepted: "accepted", rejected: "rejected", [ANY]: "open" };
const doubt = (image) => (image.n_fish === 0 ? 2 : 0) + (image.check ? 1 : 0) - (image.confidence ?? 1);
const text = (value) => (isNumber(value) ? String(value) : "–");

const stored = (() => {
  try {
    return JSON.parse(localStorage.getItem(STORED)) ?? {};
  } catch {
    return {};
  }
})();
for (const image of page.images) {
  // Earlier versions kept the word alone; it is taken for one on the mask that is there now.
  if (typeof stored[image.sample_id] === "string") keep(image, stored[image.sample_id]);
  const kept = stored[image.sample_id];
  // A decision belongs to the picture and the mask that it was made on.
  if (kept?.checksum === image.checksum) Object.assign(image, { decision: kept.decision, outdated: false });
  else if (kept && kept.decision !== "open" && image.decision === "open") image.outdated = true;
}

function keep(image, decision) {
  stored[image.sample_id] = { decision, checksum: image.checksum };
  try {
    localStorage.setItem(STORED, JSON.stringify(stored));
  } catch {
    // Without storage the decisions last as long as the page is open.
  }
}

function decide(image, decision) {
  image.decision = image.decision === decision ? "open" : decision;
  image.outdated = false;
  keep(image, image.decision);
  browser.refresh(image);
  return true;
}

/** The decisions as a table that `fishseg predict` reads when it lies beside this page. */
function save() {
  const quoted = (value) => `"${value.replaceAll('"', '""')}"`;
  const rows = page.images.filter((image) => image.decision !== "open").map((image) => `${quoted(image.sample_id)},${image.decision},${image.checksum}`);
  const file = new Blob([["image,decision,checksum", ...rows, ""].join("\n")], { type: "text/csv" });
  const link = element("a", { href: URL.createObjectURL(file), download: "decisions.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** The length of the largest fish. */
function size(image) {
  if (image.n_fish === 0) return "no fish";
  return image.length_mm ? `${decimal(image.length_mm, 1)} mm` : `${decimal(image.length_px, 0)} px`;
}

const OWN = {
  title: "Pictures",
  orders: {
    doubt: ["Doubtful first", (image) => -doubt(image)],
    confidence_up: ["Confidence, lowest first", (image) => image.confidence ?? 2],
    confidence_down: ["Confidence, highest first", (image) => -(image.confidence ?? -1)],
    length_down: ["Longest first", (image) => -(image.length_mm ?? image.length_px ?? 0)],
    length_up: ["Shortest first", (image) => image.length_mm ?? image.length_px ?? 0],
    sample_id: ["Name", (image) => image.sample_id],
  },
  needsConfidence: (order) => /^confid/.test(order),
  selects: ["decision", "look", "mask_from"],
  ranges: ["confidence"],
  fields: (distinct, hasConfidence) => [
    field("Decision", choice("decision", [[ANY, "any"], ["open", "open"], ["accepted", "accepted"], ["rejected", "rejected"]])),
    field("To look at", choice("look", [[ANY, "all"], ...distinct("look").map((look) => [look, look])])),
    field("Mask", choice("mask_from", [[ANY, "any"], ...distinct("mask_from").map((from) => [from, from])])),
    hasConfidence ? range("Confidence", "confidence") : null,
  ],
  head: () =>
    element(
      "p",
      { class: "lead" },
      "Doubtful pictures stand first. Open one and press A to accept it or R to reject it. ",
      element("button", { type: "button", class: "save", click: save }, "Save the decisions"),
      " as decisions.csv into the folder of this page; the next run of fishseg puts them into the table. A decision is on a picture with all its fish.",
    ),
  label: (image) => `${image.sample_id}, ${count(image.n_fish, "fish", "fish")}, confidence ${decimal(image.confidence)}, ${image.check || "nothing odd"}, ${image.outdated ? "decide again" : image.decision}`,
  lines: (image) => [
    [element("span", { class: "card-name" }, image.sample_id), element("span", { class: "card-iou" }, decimal(image.confidence, 2))],
    [
      element("span", { class: "card-name" }, image.check || size(image)),
      image.decision === "open" ? (image.outdated ? element("span", { class: "tag" }, "decide again") : null) : element("span", { class: `tag ${image.decision}` }, image.decision),
    ],
  ],
  panes: ["Image", "Fish"],
  compose(photograph, masks, width, height) {
    const image = layer(width, height, (pen) => pen.drawImage(photograph, 0, 0, width, height));
    const mask = layer(width, height, (pen) => pen.drawImage(masks, 0, 0, width, height));
    return [image, cutOut(image, mask)];
  },
  facts: (image) =>
    listed([
      ["Decision", image.outdated ? "open: the one before was on another mask or picture" : image.decision],
      image.check ? ["To look at", image.check] : null,
      ["Fish", text(image.n_fish)],
      ["Confidence", decimal(image.confidence)],
      ["Longest", `${decimal(image.length_px, 0)} px`],
      image.length_mm ? ["Longest", `${decimal(image.length_mm, 1)} mm`] : null,
      ["Mask from", image.mask_from],
    ]),
  tools: (current, show) =>
    [["Accept", "accepted"], ["Reject", "rejected"]].map(([title, decision]) =>
      element("button", { type: "button", click: () => decide(current(), decision) && show() }, title),
    ),
  pressed: (key, image) => ({ a: () => decide(image, "accepted"), r: () => decide(image, "rejected") })[key.toLowerCase()]?.() ?? false,
  keys: "A accepts, R rejects · ",
};

showSetup(page.setup);
const browser = showImages(page.images, OWN);

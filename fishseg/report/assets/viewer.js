// One image at a time: its panes side by side, moved together.

const OUTLINE = "#ffc800";
const MISSED = "#e69f00";
const ADDED = "#56b4e9";
const LARGEST_ZOOM = 24;

/** A viewer in the page's dialog; `open(images, index)` shows one of a list. */
function makeViewer(dialog, { kind, closed }) {
  const canvases = kind.panes.map((name) => ({
    name,
    canvas: element("canvas", { role: "img", "aria-label": name }),
  }));
  const zoom = makeZoom(canvases.map(({ canvas }) => canvas));
  const parts = {
    title: element("h2", { id: "viewer-title" }),
    position: element("p", { class: "position" }),
    facts: element("dl", { class: "viewer-facts" }),
    trouble: element("p", { class: "notice", role: "alert", hidden: true }),
    previous: element("button", { type: "button", "aria-label": "Previous image", click: () => step(-1) }, "←"),
    next: element("button", { type: "button", "aria-label": "Next image", click: () => step(1) }, "→"),
  };
  let images = [];
  let index = 0;

  dialog.append(
    element(
      "div",
      { class: "viewer-frame" },
      element(
        "header",
        {},
        element("div", { class: "naming", "aria-live": "polite" }, parts.title, parts.position),
        element(
          "div",
          { class: "tools" },
          kind.tools?.(() => images[index], show) ?? null,
          parts.previous,
          parts.next,
          element("button", { type: "button", "aria-label": "Zoom out", click: () => zoom.by(1 / 1.5) }, "−"),
          zoom.readout,
          element("button", { type: "button", "aria-label": "Zoom in", click: () => zoom.by(1.5) }, "+"),
          element("button", { type: "button", class: "close", "aria-label": "Close", click: () => dialog.close() }, "✕"),
        ),
      ),
      element(
        "div",
        { class: "panes" },
        canvases.map(({ name, canvas }) => element("figure", {}, element("div", { class: "pane" }, canvas), element("figcaption", {}, caption(name)))),
      ),
      parts.trouble,
      parts.facts,
      element("p", { class: "keys" }, `${kind.keys}← → other images · + − 0 zoom · wheel, drag or Shift and arrows move · Esc closes`),
    ),
  );
  dialog.addEventListener("keydown", (event) => {
    if (pressed(event)) event.preventDefault();
  });
  dialog.addEventListener("close", () => closed(images[index]));

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const steps = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.shiftKey && event.key in steps) zoom.move(...steps[event.key].map((part) => part * 0.1));
    else if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "+" || event.key === "=") zoom.by(1.5);
    else if (event.key === "-") zoom.by(1 / 1.5);
    else if (event.key === "0") zoom.reset();
    else if (kind.pressed?.(event.key, images[index])) show();
    else return false;
    return true;
  }

  function step(by) {
    const wanted = index + by;
    if (wanted < 0 || wanted >= images.length) return;
    index = wanted;
    show();
  }

  async function show() {
    const record = images[index];
    parts.title.textContent = record.sample_id;
    parts.position.textContent = `${index + 1} of ${images.length}`;
    parts.previous.setAttribute("aria-disabled", index === 0);
    parts.next.setAttribute("aria-disabled", index === images.length - 1);
    parts.facts.replaceChildren(...kind.facts(record));
    dialog.setAttribute("aria-busy", "true");
    try {
      const [photograph, masks] = await Promise.all([loadPicture(record.image), loadPicture(record.masks)]);
      // The reader may have gone on while this one was on its way.
      if (images[index] !== record) return;
      const drawings = kind.compose(photograph, masks, record.width, record.height);
      canvases.forEach(({ canvas }, number) => copyTo(canvas, drawings[number]));
      parts.trouble.hidden = true;
    } catch {
      if (images[index] !== record) return;
      canvases.forEach(({ canvas }) => canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height));
      parts.trouble.textContent = "The picture cannot be loaded. It lies in the folder “pictures” beside this page: copy both together.";
      parts.trouble.hidden = false;
    }
    dialog.setAttribute("aria-busy", "false");
  }

  return {
    open(list, at) {
      images = list;
      index = at;
      zoom.reset();
      dialog.showModal();
      show();
    },
  };
}

function caption(name) {
  if (name !== "Errors") return name;
  return [name, " ", element("span", { class: "key missed" }, "missed"), " ", element("span", { class: "key added" }, "added")];
}

function viewerFacts(record) {
  const facts = [
    ["IoU", decimal(record.iou)],
    ["Boundary IoU", decimal(record.boundary_iou)],
    ["Precision", decimal(record.precision)],
    ["Recall", decimal(record.recall)],
    isNumber(record.confidence) ? ["Confidence", decimal(record.confidence)] : null,
    Math.abs(record.iou - record.raw_iou) > 5e-4 ? ["IoU, mask as it came", decimal(record.raw_iou)] : null,
    ["Split", record.split],
    ["Mask", record.mask_status],
    ["Photograph", record.group_id],
  ];
  return listed(facts);
}

/** Names and values as they stand in a list; null is left out. */
function listed(facts) {
  return facts
    .filter((fact) => fact !== null)
    .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
}

async function loadPicture(address) {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  return picture;
}

/**
 * The four drawings of a photograph and its masks (truth above, prediction below, white on
 * nothing). They are made by laying pictures over each other, never by reading pixels: a browser
 * forbids that for files beside a page from the disk.
 */
function compose(photograph, masks, width, height) {
  const truth = layer(width, height, (pen) => pen.drawImage(masks, 0, 0, width, height, 0, 0, width, height));
  const prediction = layer(width, height, (pen) => pen.drawImage(masks, 0, height, width, height, 0, 0, width, height));
  const image = layer(width, height, (pen) => pen.drawImage(photograph, 0, 0, width, height));
  return [image, cutOut(image, truth), cutOut(image, prediction), errorsOf(image, truth, prediction)];
}

function layer(width, height, paint) {
  const canvas = element("canvas", { width, height });
  paint(canvas.getContext("2d"));
  return canvas;
}

/** The fish as photographed with an outline around it, the rest dimmed and without colour. */
function cutOut(image, mask) {
  const { width, height } = image;
  const thick = Math.max(1, Math.round(Math.hypot(width, height) / 500));
  const fish = layer(width, height, (pen) => {
    pen.drawImage(image, 0, 0);
    pen.globalCompositeOperation = "destination-in";
    pen.drawImage(mask, 0, 0);
  });
  const outline = layer(width, height, (pen) => {
    for (const dx of [-thick, 0, thick]) for (const dy of [-thick, 0, thick]) pen.drawImage(mask, dx, dy);
    pen.globalCompositeOperation = "destination-out";
    pen.drawImage(mask, 0, 0);
    fillWhatIsThere(pen, OUTLINE);
  });
  return layer(width, height, (pen) => {
    dim(pen, image, 0.65);
    pen.drawImage(fish, 0, 0);
    pen.drawImage(outline, 0, 0);
  });
}

/** The photograph in grey, missed and added pixels in colour, the fish that was found lightened. */
function errorsOf(image, truth, prediction) {
  const { width, height } = image;
  const region = (mask, operation, other, colour) =>
    layer(width, height, (pen) => {
      pen.drawImage(mask, 0, 0);
      pen.globalCompositeOperation = operation;
      pen.drawImage(other, 0, 0);
      fillWhatIsThere(pen, colour);
    });
  const found = region(truth, "destination-in", prediction, "#fff");
  const missed = region(truth, "destination-out", prediction, MISSED);
  const added = region(prediction, "destination-out", truth, ADDED);
  return layer(width, height, (pen) => {
    dim(pen, image, 0.4);
    pen.globalAlpha = 0.45;
    pen.drawImage(found, 0, 0);
    pen.globalAlpha = 0.85;
    pen.drawImage(missed, 0, 0);
    pen.drawImage(added, 0, 0);
  });
}

function fillWhatIsThere(pen, colour) {
  pen.globalCompositeOperation = "source-in";
  pen.fillStyle = colour;
  pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
}

function dim(pen, image, darkness) {
  pen.drawImage(image, 0, 0);
  pen.globalCompositeOperation = "saturation";
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, image.width, image.height);
  pen.globalCompositeOperation = "source-over";
  pen.globalAlpha = darkness;
  pen.fillRect(0, 0, image.width, image.height);
  pen.globalAlpha = 1;
}

function copyTo(canvas, drawing) {
  canvas.width = drawing.width;
  canvas.height = drawing.height;
  canvas.getContext("2d").drawImage(drawing, 0, 0);
}

/** One zoom and place for several canvases, each alone in a pane that cuts it off. */
function makeZoom(canvases) {
  const readout = element("button", { type: "button", class: "readout", "aria-label": "Zoom to the whole image", click: () => reset() });
  const pointers = new Map();
  let size = 1;
  let x = 0; // of the left edge, in widths of the pane; 0 and below
  let y = 0;

  function apply() {
    x = Math.min(0, Math.max(1 - size, x));
    y = Math.min(0, Math.max(1 - size, y));
    readout.textContent = `${Math.round(100 * size)}%`;
    for (const canvas of canvases) {
      canvas.style.transform = `translate(${100 * x}%, ${100 * y}%) scale(${size})`;
      canvas.style.imageRendering = size >= 4 ? "pixelated" : "auto";
      // A finger scrolls the viewer until there is something to drag.
      canvas.style.touchAction = size > 1 ? "none" : "pan-y";
    }
  }

  /** Zooms by a factor so that the point at (u, v) of the pane stays where it is. */
  function by(factor, u = 0.5, v = 0.5) {
    const wanted = Math.min(LARGEST_ZOOM, Math.max(1, size * factor));
    x = u - ((u - x) * wanted) / size;
    y = v - ((v - y) * wanted) / size;
    size = wanted;
    apply();
  }

  function move(dx, dy) {
    x += dx;
    y += dy;
    apply();
  }

  function reset() {
    size = 1;
    apply();
  }

  function within(pane, { clientX, clientY }) {
    const box = pane.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  }

  function drag(event) {
    if (!pointers.has(event.pointerId)) return;
    const before = [...pointers.values()];
    const was = pointers.get(event.pointerId);
    const now = within(event.currentTarget, event);
    pointers.set(event.pointerId, now);
    if (before.length === 1) {
      move(now[0] - was[0], now[1] - was[1]);
    } else if (before.length === 2) {
      const after = [...pointers.values()];
      const spread = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
      const middle = [(after[0][0] + after[1][0]) / 2, (after[0][1] + after[1][1]) / 2];
      by(spread(after) / (spread(before) || 1), ...middle);
    }
  }

  for (const canvas of canvases) {
    // The pane exists once the canvas stands in it.
    queueMicrotask(() => {
      const pane = canvas.parentElement;
      pane.addEventListener("wheel", (event) => {
        event.preventDefault();
        by(Math.exp(-event.deltaY / 400), ...within(pane, event));
      }, { passive: false });
      pane.addEventListener("dblclick", (event) => (size > 1 ? reset() : by(3, ...within(pane, event))));
      pane.addEventListener("pointerdown", (event) => {
        pane.setPointerCapture(event.pointerId);
        pointers.set(event.pointerId, within(pane, event));
      });
      pane.addEventListener("pointermove", drag);
      for (const end of ["pointerup", "pointercancel"]) pane.addEventListener(end, (event) => pointers.delete(event.pointerId));
    });
  }
  apply();
  return { by, move, reset, readout };
}

from __future__ import annotations

import re
from pathlib import Path

import vl_convert
from dvc_render import ImageRenderer, VegaRenderer, render_html
from PIL import Image
from playwright.sync_api import Browser

from fishseg.plots import dvc_page

REPOSITORY = Path(__file__).parents[2]


def test_dvc_draws_its_curves_without_a_network(browser: Browser, tmp_path: Path) -> None:
    rows = [
        {"epoch": epoch, "iou": iou, "rev": rev, "filename": "epochs.csv", "field": "iou"}
        for rev, ious in (("HEAD", (0.5, 0.7, 0.8)), ("workspace", (0.6, 0.8, 0.9)))
        for epoch, iou in enumerate(ious)
    ]
    curve = VegaRenderer(rows, "epochs", x="epoch", y="iou", title="IoU per epoch")
    template = tmp_path / "template.html"
    template.write_text(dvc_page.template(), encoding="utf-8")
    render_html([curve], tmp_path / "index.html", html_template=template)

    asked_for: list[str] = []
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.on("request", lambda request: asked_for.append(request.url))
        page.goto((tmp_path / "index.html").as_uri())
        page.wait_for_selector(".vega-embed .marks")
    assert [url for url in asked_for if not url.startswith(("file:", "data:", "blob:"))] == []


def test_a_single_epoch_is_two_marks_that_differ() -> None:
    """One epoch has no line; its points say by their shape which is train and which is val."""
    fields = {"train_loss": 0.5, "val_loss": 0.7}
    source = {"rev": "HEAD", "filename": "epochs.csv", "epoch": 1}
    plot = VegaRenderer(
        [{**source, "field": field, "loss": loss} for field, loss in fields.items()],
        "loss",
        x="epoch",
        y="loss",
        template="epochs",
        template_dir=str(REPOSITORY / ".dvc/plots"),
        revs_with_datapoints=["HEAD"],
        anchors_y_definitions=[{"filename": "epochs.csv", "field": field} for field in fields],
    )
    drawn = vl_convert.vegalite_to_svg(plot.get_filled_template())
    points = re.findall(r'aria-roledescription="point"[^>]* d="([^"]+)"', drawn)
    assert len(points) == len(set(points)) == 2


def test_bars_of_two_splits_are_not_stacked() -> None:
    rows = [
        {"rev": rev, "filename": "per_class.csv", "field": "recall", "split": split, "recall": 1.0}
        | {"class_name": "Trout"}
        for rev in ("HEAD", "workspace")
        for split in ("val", "test")
    ]
    plot = VegaRenderer(
        rows,
        "recall",
        x="recall",
        y="class_name",
        template="bars",
        template_dir=str(REPOSITORY / ".dvc/plots"),
        revs_with_datapoints=["HEAD", "workspace"],
        anchors_y_definitions=[{"filename": "per_class.csv", "field": "class_name"}],
    )
    drawn = vl_convert.vegalite_to_svg(plot.get_filled_template())
    numbers = [float(text) for text in re.findall(r">(\d\.\d+)</text>", drawn)]
    assert len(re.findall(r'aria-roledescription="bar"', drawn)) == 4
    assert max(numbers) == 1


def test_two_tall_pictures_stand_side_by_side_in_one_screen(
    browser: Browser, tmp_path: Path
) -> None:
    Image.new("RGB", (1500, 4000)).save(tmp_path / "tall.png")
    pictures = [{"rev": rev, "src": str(tmp_path / "tall.png")} for rev in ("HEAD", "workspace")]
    template = tmp_path / "template.html"
    template.write_text(dvc_page.template(), encoding="utf-8")
    index = tmp_path / "index.html"
    render_html([ImageRenderer(pictures, "tall")], index, html_template=template)
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        page.goto(index.as_uri())
        page.wait_for_function("[...document.images].every((image) => image.complete)")
        boxes = [image.bounding_box() for image in page.query_selector_all("img")]
        left, right = (box for box in boxes if box is not None)
        assert left["y"] == right["y"]
        assert right["x"] + right["width"] <= 1280
        assert page.evaluate("document.documentElement.scrollHeight") <= 800

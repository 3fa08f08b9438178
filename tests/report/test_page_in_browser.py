"""The report in a real browser: what it shows, and that everything answers to the keyboard."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import SCHEMES, WIDTHS, hard_to_read, overflow_px, paper_is_dark
from example_report import HEIGHT, HOSTILE, PARAMS, WIDTH, example_scores, write_example
from PIL import Image
from playwright.sync_api import Page, expect

from fishseg.plots.overlays import OUTLINE_RGB

Open = Callable[..., Page]
SHOWN = example_scores().query("split != 'train'")
SECTIONS = [
    "summary",
    "training",
    "classes",
    "robustness",
    "calibration",
    "audit",
    "parameters",
    "images",
]


def shown_ids(page: Page) -> list[str]:
    """The samples on the cards, in the order shown."""
    labels = page.locator(".card").evaluate_all("all => all.map(one => one.ariaLabel)")
    return [label.split(", Validation")[0].split(", Test")[0] for label in labels]


def ids(table: pd.DataFrame) -> list[str]:
    return list(table["sample_id"])


def worst_first(table: pd.DataFrame) -> list[str]:
    return ids(table.sort_values("iou"))


def reset(page: Page) -> None:
    page.get_by_role("button", name="Reset").click()
    expect(page.locator(".count")).to_have_text("12 of 12 images")


def test_it_loads_from_the_disk_without_a_network(
    open_page: Open, example_page: Path, trouble: list[str]
) -> None:
    page = open_page(example_page)
    found = page.locator("main > section").evaluate_all("all => all.map(one => one.id)")
    assert found == SECTIONS
    page.locator(".card").last.scroll_into_view_if_needed()
    page.locator(".card").last.click()
    expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")
    assert trouble == []


def test_it_says_the_numbers(open_page: Open, example_page: Path) -> None:
    page = open_page(example_page)
    assert page.locator(".headline .figure").all_inner_texts() == ["0.877", "0.700"]
    assert "0.810 to 0.930, 6 images of 3 photographs" in page.locator(".facts").first.inner_text()
    heat = page.locator("#robustness tbody tr").all_inner_texts()
    assert [row.split() for row in heat] == [["low", "light", "90%", "80%", "70%", "60%", "50%"]]
    calibration = page.locator("#calibration td").all_inner_texts()
    assert calibration == [f"{v:.4f}" for v in (1.25, 0.0123, 0.789) for _ in range(2)]
    assert page.locator("#classes tbody th").all_inner_texts()[0] == "hostile"
    assert page.locator("#training path.line").count() == 4


def test_it_names_the_parameters(open_page: Open, example_page: Path) -> None:
    page = open_page(example_page)
    train = page.locator("#parameters details").first
    train.locator("summary").click()
    expect(train.locator("tr", has_text="epochs")).to_have_text("epochs3")
    features = page.locator("#parameters details").nth(1)
    expect(features.locator("tr", has_text="layers")).to_contain_text("-7, -1")


def test_the_curves_can_be_read_off(open_page: Open, example_page: Path) -> None:
    page = open_page(example_page)
    legend = page.locator(".legend").first
    expect(legend).to_contain_text("training 0.800 validation 0.900 epoch 2")
    page.locator(".curve svg").first.hover(position={"x": 42, "y": 100})
    expect(legend).to_contain_text("training 0.500 validation 0.600 epoch 1")


@pytest.mark.parametrize(
    ("order", "column", "ascending"),
    [
        ("iou_up", "iou", True),
        ("iou_down", "iou", False),
        ("boundary_up", "boundary_iou", True),
        ("confidence_up", "confidence", True),
        ("confidence_down", "confidence", False),
        ("sample_id", "sample_id", True),
    ],
)
def test_sorting(example: Page, order: str, column: str, ascending: bool) -> None:
    reset(example)
    example.select_option("[name=order]", order)
    assert shown_ids(example) == ids(SHOWN.sort_values(column, ascending=ascending))


@pytest.mark.parametrize(
    ("fill", "condition"),
    [
        ({"split": "val"}, "split == 'val'"),
        ({"class_name": "NA"}, "class_name == 'NA'"),
        ({"class_name": HOSTILE}, "class_name == @HOSTILE"),
        ({"mask_status": "repaired"}, "mask_status == 'repaired'"),
        ({"iou_from": "0.6"}, "iou >= 0.6"),
        ({"iou_to": "0.6"}, "iou <= 0.6"),
        ({"confidence_from": "0.4", "confidence_to": "0.6"}, "0.4 <= confidence <= 0.6"),
        ({"text": " sea bass/0000"}, "class_name == 'Sea Bass' and sample_id < 'Sea Bass/0001'"),
        ({"split": "test", "iou_from": "0.7"}, "split == 'test' and iou >= 0.7"),
        ({"text": "no such name"}, "iou > 2"),
    ],
)
def test_filtering(example: Page, fill: dict[str, str], condition: str) -> None:
    reset(example)
    assert shown_ids(example) == worst_first(SHOWN)
    for name, value in fill.items():
        field = example.locator(f"[name={name}]")
        if field.evaluate("one => one.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    expected = worst_first(SHOWN.query(condition, local_dict={"HOSTILE": HOSTILE}))
    assert shown_ids(example) == expected
    assert 0 <= len(expected) < len(SHOWN)
    assert example.locator(".count").inner_text() == f"{len(expected)} of 12 images"
    reset(example)
    assert shown_ids(example) == worst_first(SHOWN)


def test_a_class_leads_to_its_images(open_page: Open, example_page: Path) -> None:
    page = open_page(example_page)
    page.get_by_role("button", name="Sea Bass", exact=True).click()
    assert shown_ids(page) == worst_first(SHOWN.query("class_name == 'Sea Bass'"))
    expect(page.locator("#images h2")).to_be_in_viewport()


def test_the_viewer_answers_to_the_keyboard(open_page: Open, example_page: Path) -> None:
    page = open_page(example_page)
    order = worst_first(SHOWN)
    title, viewer = page.locator("#viewer-title"), page.locator("#viewer")
    page.locator(".card").nth(1).focus()
    page.keyboard.press("Enter")
    expect(viewer).to_be_visible()
    expect(title).to_have_text(order[1])
    for key, expected in [
        ("ArrowRight", 2),
        ("ArrowRight", 3),
        ("ArrowLeft", 2),
        ("ArrowLeft", 1),
        ("ArrowLeft", 0),
        ("ArrowLeft", 0),
        ("ArrowRight", 1),
    ]:
        page.keyboard.press(key)
        expect(title).to_have_text(order[expected])
        expect(page.locator(".position")).to_have_text(f"{expected + 1} of 12")
    for _ in range(8):  # focus never leaves the open viewer
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || "
            "document.getElementById('viewer').contains(document.activeElement)"
        )
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    # Focus is back on the grid, on the image that was seen last.
    expect(page.locator(".card:focus")).to_have_attribute("aria-label", re.compile(order[2]))


def transform(page: Page) -> tuple[float, float, float]:
    """Zoom, and left and top edge in pixels, which the four pictures share."""
    found = page.locator(".pane canvas").evaluate_all(
        "all => all.map(one => new DOMMatrix(getComputedStyle(one).transform))"
        ".map(matrix => [matrix.a, matrix.e, matrix.f])"
    )
    assert len(found) == 4
    for other in found[1:]:  # panes may differ by a fraction of a pixel
        assert other == pytest.approx(found[0], abs=0.5)
    zoom, left, top = found[0]
    return zoom, left, top


def test_the_four_pictures_zoom_and_move_together(open_page: Open, example_page: Path) -> None:
    page = open_page(example_page)
    page.locator(".card").first.click()
    pane = page.locator(".pane").nth(2)
    assert transform(page) == (1, 0, 0)

    box = pane.bounding_box()
    assert box is not None
    corner = (round(box["x"]) + 10, round(box["y"]) + 10)  # the browser counts whole pixels
    page.mouse.move(*corner)
    page.mouse.wheel(0, -400)
    expect(page.locator(".readout")).to_have_text("272%")
    zoomed = transform(page)
    assert zoomed[0] == pytest.approx(np.e, rel=1e-3)
    # What lay under the pointer still does.
    fixed = np.array(corner) - (box["x"], box["y"])
    np.testing.assert_allclose(zoomed[1:], fixed * (1 - zoomed[0]), atol=0.5)

    page.mouse.down()
    page.mouse.move(corner[0] - 50, corner[1] - 30)
    page.mouse.up()
    moved = transform(page)
    assert moved == pytest.approx((zoomed[0], zoomed[1] - 50, zoomed[2] - 30), abs=0.5)
    page.mouse.move(corner[0] + 400, corner[1])  # the button is up: nothing moves
    assert transform(page) == moved

    page.keyboard.press("Shift+ArrowLeft")
    assert transform(page)[1] == pytest.approx(moved[1] + 0.1 * box["width"], abs=0.5)
    for _ in range(20):
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("+")
    assert transform(page)[0] == 24
    expect(page.locator(".readout")).to_have_text("2400%")
    for _ in range(20):
        page.keyboard.press("-")
    assert transform(page) == (1, 0, 0)
    page.get_by_role("button", name="Zoom in").click()
    assert transform(page)[0] == 1.5
    page.keyboard.press("0")
    assert transform(page) == (1, 0, 0)


def pixels(page: Page, pane: int) -> np.ndarray:
    """What a canvas of the viewer holds, (H, W, 3)."""
    flat = (
        page.locator(".pane canvas")
        .nth(pane)
        .evaluate("one => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]")
    )
    return np.array(flat, np.uint8).reshape(HEIGHT, WIDTH, 4)[..., :3]


def test_the_pictures_show_truth_prediction_and_errors(open_page: Open, example_page: Path) -> None:
    page = open_page(example_page)
    page.locator(".card").first.click()
    expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")
    image, truth, prediction, errors = (pixels(page, pane).astype(int) for pane in range(4))
    # One pixel inside each region of row 20: truth alone, both, prediction alone, neither.
    missed, found, added, outside = (20, 15), (20, 25), (20, 35), (20, 50)
    for drawing, fish, other in (
        (truth, (missed, found), (added, outside)),
        (prediction, (found, added), (missed, outside)),
    ):
        for at in fish:
            np.testing.assert_array_equal(drawing[at], image[at])
        for at in other:
            assert np.ptp(drawing[at]) <= 1, "grey"
            assert drawing[at].mean() < 0.5 * image[at].mean()
    assert truth[20, 9].tolist() == list(OUTLINE_RGB)
    assert prediction[20, 40].tolist() == list(OUTLINE_RGB)
    red, green, blue = errors[missed]
    assert red > green > blue + 50, "missed is orange"
    red, green, blue = errors[added]
    assert blue > green > red + 50, "added is blue"
    assert np.ptp(errors[outside]) <= 1
    assert np.ptp(errors[found]) <= 1
    assert errors[found].mean() > errors[outside].mean() + 30


def test_all_that_answers_can_be_reached_and_seen_with_the_tab_key(
    open_page: Open, example_page: Path
) -> None:
    page = open_page(example_page)
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        focused: dict[str, Any] = page.evaluate(
            "(() => { const one = document.activeElement, style = getComputedStyle(one);"
            "return { name: one.name || one.className || one.tagName,"
            "seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 }; })()"
        )
        reached.append(focused["name"])
        assert focused["seen"], f"no focus ring on {focused['name']}"
        if focused["name"] == "card":
            break
    wanted = ["skip", "link", "text", "split", "class_name", "iou_from", "confidence_to", "order"]
    assert [name for name in reached if name in wanted and name != "link"] == [
        name for name in wanted if name != "link"
    ]
    assert reached.count("link") == 3
    assert reached[-1] == "card"


@pytest.mark.parametrize("width", [375, 320])
def test_it_fits_on_a_phone(open_page: Open, example_page: Path, width: int) -> None:
    page = open_page(example_page, width=width, height=667, has_touch=True)
    page.locator("details").evaluate_all("all => all.forEach(one => (one.open = true))")
    assert overflow_px(page) <= 0
    small = page.locator("main *:not(svg *)").evaluate_all(
        "all => all.filter(one => one.firstChild?.nodeType === 3 && one.offsetParent)"
        ".map(one => parseFloat(getComputedStyle(one).fontSize)).filter(size => size < 12)"
    )
    assert small == []
    page.locator(".card").first.tap()
    expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")
    assert overflow_px(page) <= 0
    assert page.locator(".pane").first.evaluate("one => one.clientHeight") >= 130


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_fits_and_stands_out_in_any_window_and_light(
    open_page: Open, example_page: Path, width: int, scheme: str
) -> None:
    page = open_page(example_page, width=width, color_scheme=scheme)
    page.locator("details").evaluate_all("all => all.forEach(one => (one.open = true))")
    assert paper_is_dark(page) == (scheme == "dark")
    assert overflow_px(page) <= 0
    assert hard_to_read(page) == []
    page.locator(".card").first.click()
    expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")
    assert overflow_px(page) <= 0
    assert hard_to_read(page) == []


def test_a_hostile_name_is_text(open_page: Open, example_page: Path, trouble: list[str]) -> None:
    page = open_page(example_page)
    page.select_option("[name=class_name]", HOSTILE)
    assert page.locator(".card-name").first.text_content() == HOSTILE
    page.locator(".card").first.click()
    expect(page.locator("#viewer-title")).to_contain_text(HOSTILE)
    assert page.evaluate("window.hostile") is None
    assert page.locator("[onerror]").count() == 0
    assert page.locator("script").count() == 2
    assert trouble == []


def test_even_markup_that_slipped_in_would_be_stopped(
    open_page: Open, example_page: Path, trouble: list[str]
) -> None:
    page = open_page(example_page)
    page.evaluate("name => document.body.insertAdjacentHTML('beforeend', name)", HOSTILE)
    expect(page.locator("[onerror]")).to_have_js_property("complete", True)
    assert page.evaluate("window.hostile") is None
    assert any("inline event handler violates" in message for message in trouble)


def test_pictures_beside_the_page_load_when_they_are_looked_at(
    open_page: Open, tmp_path: Path, trouble: list[str]
) -> None:
    page = open_page(write_example(tmp_path, params=PARAMS.model_copy(update={"max_embedded": 0})))
    page.locator(".card").first.scroll_into_view_if_needed()
    expect(page.locator(".card img").first).to_have_js_property("naturalWidth", 32)
    page.locator(".card").first.click()
    expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")
    shot = Image.open(io.BytesIO(page.locator(".pane").nth(3).screenshot())).convert("RGB")
    red, green, blue = np.moveaxis(np.asarray(shot).astype(int), 2, 0)
    assert ((red > green) & (green > blue + 50)).mean() > 0.05, "missed is orange"
    assert ((blue > green) & (green > red + 50)).mean() > 0.05, "added is blue"
    assert trouble == []


def test_a_picture_that_was_left_behind_is_said(open_page: Open, tmp_path: Path) -> None:
    path = write_example(tmp_path, params=PARAMS.model_copy(update={"max_embedded": 0}))
    worst = SHOWN.reset_index(drop=True)["iou"].idxmin()
    (path.parent / f"pictures/{worst:05d}.webp").unlink()
    page = open_page(path)
    page.locator(".card").first.click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be loaded")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_without_confidence_and_robustness_nothing_speaks_of_them(
    open_page: Open, tmp_path: Path, trouble: list[str]
) -> None:
    scores = example_scores().drop(columns="confidence")
    path = write_example(tmp_path, scores)
    page = open_page(path)
    assert page.locator("[name^=confidence]").count() == 0
    assert page.locator("[name=order] option").count() == 5
    assert shown_ids(page) == worst_first(SHOWN)
    assert trouble == []


def test_many_images_come_in_portions(open_page: Open, tmp_path: Path) -> None:
    scores = example_scores(130)
    params = PARAMS.model_copy(update={"max_embedded": 0, "max_images": len(scores)})
    page = open_page(write_example(tmp_path, scores, params))
    order = worst_first(scores.query("split != 'train'"))
    assert shown_ids(page) == order[:120]
    page.get_by_role("button", name="Show 10 more of 10").click()
    assert shown_ids(page) == order
    # The keyboard goes on where the new images begin.
    assert page.evaluate("document.activeElement.ariaLabel").startswith(order[120])
    assert page.get_by_role("button", name="Show").count() == 0

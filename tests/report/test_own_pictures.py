"""The page of the user's own pictures in a real browser."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browsing import SCHEMES, WIDTHS, hard_to_read, overflow_px, paper_is_dark
from PIL import Image
from playwright.sync_api import Page, expect

from fishseg import cli

Open = Callable[..., Page]
# Below the last picture of the viewer, where more of them could be.
EMPTY_BELOW_PX = (
    "one => one.getBoundingClientRect().bottom"
    " - one.lastElementChild.getBoundingClientRect().bottom"
)
HOSTILE = '100% #1 <b>&"\u00e4?.png'


def measure(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["measure", "in", "drawn", "--out", "out", *arguments])
    return stopped.value.code


@pytest.fixture
def results(workspace: Path) -> Path:
    """A fine fish, one at the frame, none, and a picture with an awkward name."""
    boxes = {"fine.jpg": (20, 20, 40, 10), "frame.png": (0, 20, 30, 10), "none.png": None}
    boxes[HOSTILE] = (20, 20, 50, 12)
    for name, box in boxes.items():
        for folder in ("in", "drawn/sub", "in/sub", "drawn"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        mask = np.zeros((60, 90), np.uint8)
        if box is not None:
            left, top, width, height = box
            mask[top : top + height, left : left + width] = 255
        Image.new("RGB", (90, 60), (200, 60, 60)).save(Path("in/sub") / name)
        Image.fromarray(mask).save(Path("drawn/sub") / Path(name).with_suffix(".png"))
    assert measure("--mm-per-px", "0.5") == 0
    return workspace / "out"


def shown(page: Page) -> list[str]:
    labels: list[str] = page.locator(".card").evaluate_all("all => all.map(one => one.ariaLabel)")
    return [label.split(", ")[0].removeprefix("sub/") for label in labels]


def test_doubtful_pictures_stand_first_and_every_file_is_found(
    results: Path, open_page: Open, trouble: list[str]
) -> None:
    page = open_page(results / "index.html")
    assert shown(page) == ["none.png", "frame.png", HOSTILE, "fine.jpg"]
    thumbnails = page.locator(".card img")
    for number in range(4):
        thumbnails.nth(number).scroll_into_view_if_needed()
        expect(thumbnails.nth(number)).to_have_js_property("naturalWidth", 90)
    page.locator(".card").nth(2).click()
    expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")
    assert page.locator(".viewer .notice").is_hidden()
    assert page.locator("#viewer-title").inner_text() == f"sub/{HOSTILE}"
    page.locator("#viewer canvas").nth(1).evaluate("one => one.width")
    assert page.locator("#viewer canvas").count() == 2
    assert trouble == []


def test_sorting_and_filtering(results: Path, open_page: Open) -> None:
    page = open_page(results / "index.html")
    page.select_option("[name=order]", "length_down")
    assert shown(page) == [HOSTILE, "fine.jpg", "frame.png", "none.png"]
    page.select_option("[name=look]", "something odd")
    assert shown(page) == ["frame.png", "none.png"]
    page.get_by_role("button", name="Reset").click()
    page.fill("[name=text]", "FINE")
    assert shown(page) == ["fine.jpg"]


def test_decisions_are_saved_and_come_into_the_table(
    results: Path, open_page: Open, trouble: list[str]
) -> None:
    page = open_page(results / "index.html")
    page.locator(".card").first.click()
    expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")
    page.keyboard.press("r")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Accept", exact=True).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("a")
    page.keyboard.press("a")  # taken back
    page.keyboard.press("Escape")
    expect(page.locator(".tag")).to_have_text(["rejected", "accepted", "accepted"])
    page.select_option("[name=decision]", "open")
    assert shown(page) == ["fine.jpg"]
    # They outlive the page, and a new one of the same folder.
    page.reload()
    expect(page.locator(".tag")).to_have_text(["rejected", "accepted", "accepted"])
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the decisions").click()
    assert download.value.suggested_filename == "decisions.csv"
    download.value.save_as(results / "decisions.csv")
    assert trouble == []
    assert measure() == 0
    assert decisions() == {
        "sub/frame.png": "accepted",
        f"sub/{HOSTILE}": "accepted",
        "sub/fine.jpg": "",
    }
    fresh = open_page(results / "index.html")
    expect(fresh.locator(".tag")).to_have_text(["rejected", "accepted", "accepted"])


def decide_on_the_first(page: Page) -> None:
    page.locator(".card").first.click()
    expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")
    page.keyboard.press("r")
    page.keyboard.press("Escape")


def repaint(left: int) -> None:
    """Correct the mask of frame.png, which stands first then."""
    mask = np.zeros((60, 90), np.uint8)
    mask[20:30, left : left + 30] = 255
    Image.fromarray(mask).save("out/masks/sub/frame.png")


def test_a_decision_belongs_to_the_mask_that_it_was_made_on(
    results: Path, open_page: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    page = open_page(results / "index.html")
    page.fill("[name=text]", "frame")
    decide_on_the_first(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the decisions").click()
    download.value.save_as(results / "decisions.csv")
    assert measure() == 0
    assert decisions()["sub/frame.png"] == "rejected"
    repaint(1)
    assert measure() == 0
    assert set(decisions().values()) == {None}
    said = caplog.records[-1].getMessage()
    assert "decisions.csv: sub/frame.png: decided on with another mask" in said
    # The browser's own memory counts no more than the table.
    page.reload()
    page.fill("[name=text]", "frame")
    expect(page.locator(".tag")).to_have_text(["decide again"])
    decide_on_the_first(page)
    expect(page.locator(".tag")).to_have_text(["rejected"])
    page.reload()
    page.fill("[name=text]", "frame")
    expect(page.locator(".tag")).to_have_text(["rejected"])
    fresh = open_page(results / "index.html")
    fresh.fill("[name=text]", "frame")
    expect(fresh.locator(".tag")).to_have_text(["decide again"])


def test_a_decision_does_not_outlive_its_picture(results: Path) -> None:
    """Two pictures without fish have the same mask."""
    page = (results / "index.html").read_text()
    checksum = re.search(r'"sub/none.png".*?"checksum":"(\w+)"', page)
    assert checksum is not None
    (results / "decisions.csv").write_text(
        f"image,decision,checksum\nsub/none.png,rejected,{checksum[1]}\n"
    )
    assert measure() == 0
    assert '"decision":"rejected"' in (results / "index.html").read_text()
    Image.new("RGB", (90, 60), (1, 2, 3)).save("in/sub/none.png")
    assert measure() == 0
    assert '"decision":"rejected"' not in (results / "index.html").read_text()


def test_what_an_earlier_version_kept_of_decisions_counts(results: Path, open_page: Open) -> None:
    (results / "decisions.csv").write_text("image,decision\nsub/fine.jpg,accepted\n")
    assert measure() == 0
    assert decisions()["sub/fine.jpg"] == "accepted"
    page = open_page(results / "index.html")
    page.evaluate(
        'localStorage.setItem(`fishseg ${location.pathname}`, \'{"sub/frame.png": "rejected"}\')'
    )
    page.reload()
    expect(page.locator(".tag")).to_have_text(["rejected", "accepted"])
    repaint(1)
    assert measure() == 0
    page.reload()
    expect(page.locator(".tag")).to_have_text(["decide again", "accepted"])


def decisions() -> dict[str, str | None]:
    with Path("out/measurements.csv").open(newline="") as file:
        return {row["image"]: row.get("decision") for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffimage;decision;checksum\r\nfine.jpg;Accepted;\r\nsub\\frame.png;rejected;\r\n",
        "decision,image\naccepted,sub/fine.jpg\nrejected,frame.png\nopen,sub/none.png\n",
    ],
    ids=["spreadsheet", "other order"],
)
def test_decisions_that_a_spreadsheet_saved(results: Path, content: str) -> None:
    (results / "decisions.csv").write_bytes(content.encode())
    assert measure() == 0
    decided = {name: decision for name, decision in decisions().items() if decision}
    assert decided == {"sub/fine.jpg": "accepted", "sub/frame.png": "rejected"}


def test_decisions_on_no_picture_are_named(results: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (results / "decisions.csv").write_text("image,decision\nnix.jpg,accepted\n")
    assert measure() == 0
    used, _, others = caplog.records[-1].getMessage().partition("to know:")
    assert "decisions.csv: nix.jpg: no such picture" in others
    assert used == "4 pictures used\n"


@pytest.mark.parametrize(
    "content",
    [
        "image\na\n",
        "image,decision\na,perhaps\n",
        "\x00",
        "image,decision\na,accepted\na,rejected\n",
        "image,decision\na,accepted,x,y\n",
    ],
)
def test_damaged_decisions_end_the_run_before_it_begins(results: Path, content: str) -> None:
    before = (results / "measurements.csv").read_bytes()
    (results / "decisions.csv").write_text(content)
    assert "the decisions cannot be read" in str(measure())
    assert (results / "measurements.csv").read_bytes() == before


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_fits_and_stands_out_in_any_window_and_light(
    results: Path, open_page: Open, width: int, scheme: str
) -> None:
    page = open_page(results / "index.html", width=width, color_scheme=scheme)
    assert paper_is_dark(page) == (scheme == "dark")
    for key in "ar":  # a card that was accepted, and one that was rejected
        page.locator(".card").nth("ar".index(key)).click()
        expect(page.locator("#viewer")).to_have_attribute("aria-busy", "false")
        assert overflow_px(page) <= 0
        assert hard_to_read(page) == []
        expect(page.get_by_role("button", name="Accept", exact=True)).to_be_in_viewport()
        assert page.locator(".panes").evaluate(EMPTY_BELOW_PX) <= 1
        page.keyboard.press(key)
        page.keyboard.press("Escape")
    expect(page.locator(".tag")).to_have_text(["accepted", "rejected"])
    assert overflow_px(page) <= 0
    assert hard_to_read(page) == []

"""``--scale ruler``: the scale of each picture from the ruler in it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from measured_masks import mask, run, table
from PIL import Image

from benchmarks.drawn_rulers import Ruler, draw_ruler

SIZE = (900, 600)  # width and height
PX_PER_MM = 8.0


@pytest.fixture(autouse=True)
def pictures(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A picture with a ruler, one without, each with a mask of a fish of 160 px and 80 px."""
    caplog.set_level(logging.INFO)
    drawn = draw_ruler(
        Ruler(edges=("mm", None)),
        np.random.default_rng(0),
        size=SIZE[::-1],
        px_per_mm=PX_PER_MM,
        centre=(0.5, 0.8),
    )
    Path("in").mkdir()
    Image.fromarray(drawn.picture).save("in/ruled.png")
    Image.new("RGB", SIZE, (9, 99, 199)).save("in/bare.png")
    for name in ("ruled", "bare"):
        mask(f"drawn/{name}.png", (100, 100, 160, 80), size=SIZE)


def measured(*arguments: str) -> dict[str, dict[str, str]]:
    assert run("in", "drawn", "--out", "out", *arguments) == 0
    return {row["image"]: row for row in table()}


def test_the_ruler_gives_the_scale_and_doubt_is_said(caplog: pytest.LogCaptureFixture) -> None:
    rows = measured("--scale", "ruler")
    ruled, bare = rows["ruled.png"], rows["bare.png"]
    assert float(ruled["mm_per_px"]) == pytest.approx(1 / PX_PER_MM, rel=0.005)
    assert ruled["scale_from"] == "ruler"
    assert 0.5 <= float(ruled["scale_confidence"]) <= 1
    assert float(ruled["area_mm2"]) == pytest.approx(20 * 10, rel=0.01)
    assert bare["mm_per_px"] == bare["scale_from"] == bare["length_mm"] == ""
    assert "bare.png: no scale: no ruler was found" in caplog.text
    assert "ruled.png: " not in caplog.text


def test_the_overlay_shows_the_ticks() -> None:
    measured()
    before = np.asarray(Image.open("out/overlays/ruled.png"))
    masks = {path.name: path.stat().st_mtime_ns for path in Path("out/masks").iterdir()}
    # What is finished is not made anew, but for the overlay.
    measured("--scale", "ruler")
    after = np.asarray(Image.open("out/overlays/ruled.png"))
    assert masks == {path.name: path.stat().st_mtime_ns for path in Path("out/masks").iterdir()}
    changed = (before != after).any(axis=-1)
    rows = np.flatnonzero(changed.any(axis=1))
    assert rows.min() > 300  # the fish above it is as it was
    assert np.ptp(np.flatnonzero(changed.any(axis=0))) > 100 * PX_PER_MM
    green = (after[..., 1].astype(int) - after[..., 0] > 60) & changed
    assert green.sum() > 1000


def test_fish_that_touch_are_drawn_apart_again() -> None:
    numbers = np.zeros(SIZE[::-1], np.uint8)
    numbers[100:180, 100:190], numbers[100:180, 190:260] = 2, 1
    Image.fromarray(numbers).save("drawn/ruled.png")
    measured("--mask-values", "numbered")
    before = np.asarray(Image.open("out/overlays/ruled.png"))
    rows = measured("--mask-values", "numbered", "--scale", "ruler")
    assert rows["ruled.png"]["fish"] == "2"
    after = np.asarray(Image.open("out/overlays/ruled.png"))
    changed = np.flatnonzero((before != after).any(axis=(1, 2)))
    assert changed.min() > 300  # all that is new is the ruler


def test_a_picture_is_searched_once_and_keeps_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured("--scale", "ruler")
    monkeypatch.setattr("fishseg.cli.streaming.find_ruler", None)  # would fail if called
    assert measured("--scale", "ruler") == measured() == first


def test_what_other_code_has_read_is_read_anew() -> None:
    first = measured("--scale", "ruler")
    path = Path("out/.fishseg/records/ruled.json")
    record = json.loads(path.read_text())
    record["ruler"] = {"doubt": "a net", "code": "of before"}
    record["mm_per_px"] = record["scale_from"] = record["scale_confidence"] = None
    path.write_text(json.dumps(record))
    assert measured("--scale", "ruler") == first


def test_a_table_wins_over_the_ruler() -> None:
    Path("scales.csv").write_text("image,mm_per_px\nruled.png,0.5\n")
    rows = measured("--scale", "ruler", "--scales", "scales.csv")
    assert (rows["ruled.png"]["mm_per_px"], rows["ruled.png"]["scale_from"]) == (
        "0.5",
        "scales.csv",
    )
    record = json.loads(Path("out/.fishseg/records/ruled.json").read_text())
    assert "ruler" not in record
    back = measured("--scale", "ruler")["ruled.png"]
    assert float(back["mm_per_px"]) == pytest.approx(1 / PX_PER_MM, rel=0.005)


def test_another_picture_is_searched_anew() -> None:
    measured("--scale", "ruler")
    Image.new("RGB", SIZE, (90, 99, 19)).save("in/ruled.png")
    assert run("in", "drawn", "--out", "out", "--scale", "ruler") == 0
    record = json.loads(Path("out/.fishseg/records/ruled.json").read_text())
    assert record["ruler"]["doubt"] == "no ruler was found"
    assert {row["image"]: row.get("mm_per_px") for row in table()}["ruled.png"] is None


def test_one_scale_for_all_and_the_ruler_contradict_each_other() -> None:
    arguments = ("in", "drawn", "--out", "out", "--scale", "ruler", "--mm-per-px", "0.2")
    assert "the scale is not clear" in str(run(*arguments))
    assert not Path("out").exists()

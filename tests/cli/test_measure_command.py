"""`fishseg measure`: masks that are there already."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from measured_masks import mask, photograph, run, table
from PIL import Image


@pytest.fixture(autouse=True)
def quiet(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def areas(out: str = "out") -> dict[str, int]:
    return {row["image"]: int(row["area_px"]) for row in table(out)}


def test_given_masks_are_measured_without_a_model() -> None:
    photograph("in/a.jpg")
    photograph("in/sub/b.png")
    mask("drawn/a.png", (20, 20, 40, 10))
    mask("drawn/sub/b.tif", (5, 5, 50, 10), (10, 40, 30, 10))
    assert run("in", "drawn", "--out", "out", "--mm-per-px", "0,5", "--coco") == 0
    rows = table()
    assert [(row["image"], row["fish"], row["area_px"]) for row in rows] == [
        ("a.jpg", "1", "400"),
        ("sub/b.png", "1", "500"),
        ("sub/b.png", "2", "300"),
    ]
    assert {row["mask_from"] for row in rows} == {"given"}
    assert {row["confidence"] for row in rows} == {""}
    assert rows[0]["area_mm2"] == "100.0"
    assert rows[0]["scale_from"] == "--mm-per-px"
    for name in ("a", "sub/b"):
        assert set(np.unique(np.asarray(Image.open(f"out/masks/{name}.png")))) == {0, 255}
        assert Image.open(f"out/overlays/{name}.png").size == (90, 60)
    assert Path("out/annotations.json").exists()


def test_a_mask_that_is_changed_is_measured_anew() -> None:
    photograph("in/a.png")
    mask("drawn/a.png", (20, 20, 40, 10))
    assert run("in", "drawn", "--out", "out") == 0
    mask("drawn/a.png", (20, 20, 30, 10))
    assert run("in", "drawn", "--out", "out") == 0
    assert areas() == {"a.png": 300}
    # Among the results it is a correction of those that were given.
    mask("out/masks/a.png", (20, 20, 20, 10))
    mask("drawn/a.png", (20, 20, 10, 10))
    assert run("in", "drawn", "--out", "out") == 0
    assert [(row["area_px"], row["mask_from"]) for row in table()] == [("200", "hand")]


def test_masks_of_an_earlier_prediction_are_taken_when_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    photograph("in/a.png")
    mask("drawn/a.png", (20, 20, 40, 10))
    assert run("in", "drawn", "--out", "first") == 0
    assert run("in", "first/masks", "--out", "second") == 0
    assert areas("second") == {"a.png": 400}
    before = Path("first/masks/a.png").read_bytes()
    assert run("in", "first/masks", "--out", "first") == 1
    assert "would overwrite" in caplog.records[-1].getMessage()
    assert Path("first/masks/a.png").read_bytes() == before


def test_one_picture_and_one_mask_may_have_different_names() -> None:
    photograph("photo.jpg")
    mask("drawn.png", (20, 20, 40, 10))
    assert run("photo.jpg", "drawn.png", "--out", "out") == 0
    assert areas() == {"photo.jpg": 400}


def test_what_has_no_partner_is_named(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "no-mask.png", "two.png", "same.jpg", "same.png", "own.jpg", "own.png"):
        photograph(f"in/{name}")
    for name in ("a.png", "no-picture.png", "two.png", "two.bmp", "same.png"):
        mask(f"drawn/{name}", (20, 20, 40, 10))
    mask("drawn/own.jpg.png", (20, 20, 30, 10))
    mask("drawn/own.png.png", (20, 20, 20, 10))
    assert run("in", "drawn", "--out", "out") == 1
    assert areas() == {"a.png": 400, "own.jpg": 300, "own.png": 200}
    last = caplog.records[-1].getMessage()
    assert last.startswith("3 pictures used, 5 files could not be used:")
    for words in (
        "no-mask.png: there is no mask of it in drawn (expected no-mask.png there)",
        "two.png: it is not clear which mask is whose: two.bmp, two.png",
        "same.jpg: it is not clear which mask is whose: same.png",
        "same.png: it is not clear which mask is whose: same.png",
        "drawn/no-picture.png: there is no picture of this mask",
    ):
        assert words in last


def test_masks_that_do_not_fit_or_are_none(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "b.png", "c.png"):
        photograph(f"in/{name}")
    mask("drawn/a.png", (20, 20, 40, 10))
    mask("drawn/b.png", (20, 20, 20, 10), size=(60, 90))
    Path("drawn/c.png").write_text("no picture")
    assert run("in", "drawn", "--out", "out") == 1
    assert areas() == {"a.png": 400}
    last = caplog.records[-1].getMessage()
    assert "drawn/b.png: the mask does not fit" in last
    assert "drawn/c.png: the file is no image" in last
    assert "no such mask" in str(run("in", "nowhere", "--out", "out"))


def test_pictures_or_masks_that_are_not_there_accuse_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    photograph("in/a.png")
    mask("drawn/a.png", (20, 20, 40, 10))
    Path("barren").mkdir()
    said = str(run("nix", "drawn", "--out", "out"))
    assert "there is no such picture or folder\n  where:    nix" in said
    assert run("barren", "drawn", "--out", "out") == 1
    last = caplog.records[-1].getMessage()
    assert "barren: there are no images in this folder" in last
    assert "drawn" not in last
    assert "there are no masks in this folder" in str(run("in", "barren", "--out", "out"))
    assert not Path("out").exists()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_pictures_and_masks_the_wrong_way_round(suffix: str) -> None:
    Path("in").mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        pixels = random.integers(0, 256, (60, 90, 3), np.uint8)
        Image.fromarray(pixels).save(f"in/{name}.{suffix}")
        mask(f"drawn/{name}.png", (20, 20, 40, 10))
    said = str(run("drawn", "in", "--out", "out"))
    assert "these look like photographs, where masks are expected" in said
    assert f"where:    in/a.{suffix}, in/b.{suffix}, ..." in said
    assert "fishseg measure PICTURES MASKS" in said
    assert not Path("out").exists()


def test_refused_files_are_all_named_from_here(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b", "c"):
        photograph(f"in/{name}.png")
    mask("drawn/a.png", (20, 20, 40, 10))
    mask("drawn/d.png", (20, 20, 40, 10))
    mask("drawn/b.png", (20, 20, 40, 10))
    Path("in/b.png").write_text("no picture")
    assert run(Path("in").absolute(), Path("drawn").absolute(), "--out", "out") == 1
    lines = caplog.records[-1].getMessage().splitlines()
    assert sorted(line.partition(":")[0] for line in lines[1:]) == [
        "drawn/d.png",
        "in/b.png",
        "in/c.png",
    ]


def test_a_sheet_for_excel(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("=1+1", "a\x07b", "plain"):
        photograph(f"in/{name}.png")
        mask(f"drawn/{name}.png", (20, 20, 40, 10))
    assert run("in", "drawn", "--out", "out", "--excel", "--mm-per-px", "0.21") == 0
    book = openpyxl.load_workbook("out/measurements.xlsx")
    assert book.sheetnames == ["measurements"]
    head, *lines = book["measurements"].iter_rows()
    rows = table()
    assert [cell.value for cell in head] == list(rows[0])
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        for cell, (column, text) in zip(line, row.items(), strict=True):
            if column in ("image", "mask_from", "scale_from", "check"):
                assert cell.data_type != "f"  # no formula
                assert (cell.value or "") == text.replace("\x07", "\ufffd")
            elif text:
                assert cell.data_type == "n"
                assert float(cell.value) == float(text)
    # Once there it is kept up to date; without the library that is said before the work begins.
    photograph("in/z.png")
    mask("drawn/z.png", (20, 20, 40, 10))
    assert run("in", "drawn", "--out", "out") == 0
    assert openpyxl.load_workbook("out/measurements.xlsx")["measurements"].max_row == 5
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install '.[excel]'" in str(run("in", "drawn", "--out", "other", "--excel"))
    assert not Path("other").exists()
    # Where it is there from before, everything else is brought up to date.
    mask("drawn/z.png", (20, 20, 30, 10))
    assert run("in", "drawn", "--out", "out", "--coco") == 0
    assert areas()["z.png"] == 300
    assert Path("out/annotations.json").exists()
    assert "measurements.xlsx is not brought up to date: pip install openpyxl" in caplog.text


def test_which_values_are_fish_is_judged_over_all_masks() -> None:
    for name in ("a", "b"):
        photograph(f"in/{name}.png")
        mask(f"drawn/{name}.png", (20, 20, 40, 10))
    # 0, 1 and a ring of 255 that is to be ignored: one mask alone would tell another story.
    pixels = np.asarray(Image.open("drawn/a.png")) // 255
    pixels[5:8, 5:8] = 255
    Image.fromarray(pixels).save("drawn/a.png")
    Image.fromarray(np.asarray(Image.open("drawn/b.png")) // 255).save("drawn/b.png")
    assert "--mask-values" in str(run("in", "drawn", "--out", "out"))
    assert not Path("out").exists()
    rule = ("--mask-values", "fish: 1; ignore: 255")
    assert run("in", "drawn", "--out", "out", *rule) == 0
    assert areas() == {"a.png": 400, "b.png": 400}
    assert run("in", "drawn", "--out", "out", "--mask-values", "not 0", "--min-share", "0") == 0
    assert [row["area_px"] for row in table() if row["image"] == "a.png"] == ["400", "9"]


def test_masks_that_number_their_fish() -> None:
    photograph("in/a.png")
    values = np.zeros((60, 90), np.uint8)
    values[20:30, 10:40], values[20:30, 40:80] = 7, 3
    Path("drawn").mkdir(exist_ok=True)
    Image.fromarray(values).save("drawn/a.png")
    assert run("in", "drawn", "--out", "out", "--mask-values", "numbered") == 0
    assert [row["area_px"] for row in table()] == ["400", "300"]
    assert run("in", "drawn", "--out", "out", "--mask-values", "numbered", "--coco") == 0
    annotations = json.loads(Path("out/annotations.json").read_text())["annotations"]
    assert [one["area"] for one in annotations] == [400, 300]
    assert run("in", "drawn", "--out", "as-one", "--mask-values", "not 0") == 0
    assert [row["area_px"] for row in table("as-one")] == ["700"]

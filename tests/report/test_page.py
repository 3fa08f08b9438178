"""The files of the report: what they hold, that they are safe, and the same bytes twice."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_report import (
    HEIGHT,
    HOSTILE,
    PARAMETERS,
    PARAMS,
    PREDICTION,
    TRUTH,
    WIDTH,
    example_predictions,
    example_scores,
    write_example,
    write_results,
)
from PIL import Image

from fishseg.errors import DataError
from fishseg.report.document import render
from fishseg.report.image_files import size_within, stacked_masks
from fishseg.report.page import write_page
from fishseg.report.results import read_results, read_scores


def content_of(page: Path) -> dict[str, Any]:
    """The JSON that a page carries."""
    text = page.read_text()
    found = re.findall(r'<script type="application/json" id="content">(.*?)</script>', text, re.S)
    assert len(found) == 1
    content: dict[str, Any] = json.loads(found[0])
    return content


def decoded(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1])))


def test_the_page_holds_every_val_and_test_image_with_its_scores(tmp_path: Path) -> None:
    scores = example_scores()
    images = content_of(write_example(tmp_path))["images"]
    shown = scores[scores["split"] != "train"]
    assert [image["sample_id"] for image in images] == list(shown["sample_id"])
    assert [image["iou"] for image in images] == list(shown["iou"])
    assert images[0]["class_name"] == "NA"
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["index.html"]


def test_of_many_images_the_worst_are_shown_and_only_those_written(tmp_path: Path) -> None:
    scores = example_scores()
    shown = scores[scores["split"] != "train"].sort_values("iou", kind="stable")
    params = PARAMS.model_copy(update={"max_images": 4, "max_embedded": 0})
    page = write_example(tmp_path, params=params)
    content = content_of(page)
    assert {image["sample_id"] for image in content["images"]} == set(shown["sample_id"][:4])
    assert len(list((page.parent / "pictures").iterdir())) == 3 * 4
    assert content["setup"]["Images shown"] == f"the 4 of lowest IoU, of {len(shown)}"
    assert content["splits"] == content_of(write_example(tmp_path / "all"))["splits"]


def test_the_embedded_masks_are_the_truth_above_the_prediction(tmp_path: Path) -> None:
    record = content_of(write_example(tmp_path))["images"][3]
    masks = decoded(record["masks"])
    assert masks.info["transparency"] == 0
    stacked = np.asarray(masks)
    assert stacked.shape == (2 * HEIGHT, WIDTH)
    assert stacked.dtype == bool
    expected = np.zeros((2, HEIGHT, WIDTH), bool)
    expected[0, 5:35, TRUTH] = True
    expected[1, 5:35, PREDICTION] = True
    np.testing.assert_array_equal(stacked.reshape(expected.shape), expected)
    assert decoded(record["image"]).size == (WIDTH, HEIGHT)
    assert max(decoded(record["thumbnail"]).size) == PARAMS.thumbnail_px


def test_a_mask_of_one_bit_is_small() -> None:
    disc = np.hypot(*np.ogrid[-222:223, -295:295]) < 150
    assert len(stacked_masks(disc, disc)) < 3000


def test_large_images_are_shrunk_and_keep_their_proportions(tmp_path: Path) -> None:
    small = PARAMS.model_copy(update={"picture_px": 64, "thumbnail_px": 32})
    page = write_example(tmp_path / "as they are", params=small)
    assert content_of(page)["images"][0]["width"] == WIDTH  # never enlarged

    assert size_within((3000, 4000), 1024) == (768, 1024)
    assert size_within((4000, 3), 100) == (100, 1)


def test_many_images_lie_beside_the_page(tmp_path: Path) -> None:
    page = write_example(tmp_path, params=PARAMS.model_copy(update={"max_embedded": 11}))
    images = content_of(page)["images"]
    assert images[0]["image"] == "pictures/00000.webp"
    assert "data:" not in json.dumps(images)
    for image in images:
        for key in ("image", "thumbnail", "masks"):
            assert (page.parent / image[key]).stat().st_size > 0
    assert len(list((page.parent / "pictures").iterdir())) == 3 * len(images)


@pytest.mark.parametrize("max_embedded", [0, 100])
def test_the_same_results_give_the_same_bytes(tmp_path: Path, max_embedded: int) -> None:
    params = PARAMS.model_copy(update={"max_embedded": max_embedded})
    pages = [write_example(tmp_path / name, params=params) for name in ("here", "elsewhere")]
    first, second = (
        {p.name: p.read_bytes() for p in sorted(page.parent.rglob("*")) if p.is_file()}
        for page in pages
    )
    assert first == second
    assert str(tmp_path).encode() not in first["index.html"]


def test_no_content_becomes_markup() -> None:
    plain = render({"name": ""})
    hostile = render({"name": f"{HOSTILE}<!-- <script> \u2028 &lt;"})
    for tag in ("<script", "</script", "<img", "<!--", "\u2028"):
        assert hostile.count(tag) == plain.count(tag)
    assert json.loads(re.findall(r'id="content">(.*?)</script>', hostile)[0])["name"].startswith(
        HOSTILE
    )


def test_numbers_that_json_has_not_become_null(tmp_path: Path) -> None:
    content = content_of(write_example(tmp_path))
    assert content["training"]["val_loss"] is None
    assert [epoch["val_loss"] for epoch in content["epochs"]] == [0.8, 0.3, None]
    assert "NaN" not in json.dumps(content)


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    write_results(tmp_path, example_scores().drop(columns="confidence"))
    (tmp_path / "metrics/robustness.json").unlink()
    assert read_results(tmp_path / "metrics")["robustness"] is None
    assert "confidence" not in read_scores(tmp_path / "metrics/evaluate/images.csv")


def test_a_score_that_is_missing_is_no_number_and_a_name_stays_a_name(tmp_path: Path) -> None:
    scores = example_scores()
    scores.loc[0, "confidence"] = float("nan")
    write_results(tmp_path, scores)
    read = read_scores(tmp_path / "metrics/evaluate/images.csv")
    assert read["confidence"].isna().sum() == 1
    assert set(read["class_name"]) == {"NA", "Sea Bass", HOSTILE}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("metrics/evaluate/images.csv", "sample_id,iou\na,1\n", "class_name"),
        ("metrics/evaluate/images.csv", "", "cannot be read"),
        ("metrics/evaluate/images.csv", "sample_id,iou\na,good\n", "cannot be read"),
        ("metrics/train/epochs.csv", None, "No such file"),
        ("metrics/evaluate.json", '{"val": ', "cannot be read"),
        ("metrics/audit.json", None, "No such file"),
    ],
)
def test_a_damaged_result_is_named(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    write_results(tmp_path, example_scores())
    (tmp_path / name).unlink()
    if text is not None:
        (tmp_path / name).write_text(text)

    def read() -> None:
        read_scores(tmp_path / "metrics/evaluate/images.csv")
        read_results(tmp_path / "metrics")

    with pytest.raises(DataError, match=says) as raised:
        read()
    assert str(tmp_path / name) in str(raised.value)
    assert "dvc repro" in str(raised.value)


def test_a_prediction_without_scores_is_refused(tmp_path: Path) -> None:
    scores = example_scores()
    write_results(tmp_path, scores.iloc[1:])
    with pytest.raises(DataError, match=f"{re.escape(scores['sample_id'][0])} has no scores"):
        write_page(
            example_predictions(tmp_path, scores),
            metrics=tmp_path / "metrics",
            plots=tmp_path / "plots",
            params=PARAMS,
            parameters=PARAMETERS,
            folder=tmp_path / "report",
        )

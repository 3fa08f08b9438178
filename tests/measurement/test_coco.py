from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fishseg.measurement import coco

mask_api = pytest.importorskip("pycocotools.mask", reason="pip install '.[dev]'")


def test_run_lengths_by_hand() -> None:
    mask = np.array([[1, 0], [1, 1]], bool)
    # Column by column, in a picture of three rows: 000 011 001.
    assert coco.run_lengths(mask, (1, 1), (3, 3)) == {"counts": [4, 2, 2, 1], "size": [3, 3]}


def test_run_lengths_decode_to_the_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        part = rng.integers(1, 9, 2)
        height, width = (part + rng.integers(0, 4, 2)).tolist()
        y, x = (int(rng.integers(0, room + 1)) for room in (height, width) - part)
        mask = rng.random(part) < rng.random()
        full = np.zeros((height, width), bool)
        full[y : y + part[0], x : x + part[1]] = mask
        runs = coco.run_lengths(mask, (x, y), (height, width))
        assert sum(runs["counts"]) == full.size
        decoded = mask_api.decode(mask_api.frPyObjects(runs, height, width))
        np.testing.assert_array_equal(decoded, full)


def test_polygons_cover_the_mask_but_for_its_holes() -> None:
    y, x = np.mgrid[:80, :120]
    fish = ((x - 60) / 50) ** 2 + ((y - 40) / 20) ** 2 <= 1
    holed = fish & ~(((x - 60) / 9) ** 2 + ((y - 40) / 9) ** 2 <= 1)
    outlines = coco.polygons(holed, (30, 10))
    assert len(outlines) == 1
    drawn = mask_api.decode(mask_api.merge(mask_api.frPyObjects(outlines, 100, 200)))
    full = np.zeros((100, 200), bool)
    full[10:90, 30:150] = fish
    assert (drawn.astype(bool) & full).sum() / (drawn.astype(bool) | full).sum() > 0.98
    assert len(outlines[0]) < 100


def test_one_pixel_still_has_an_outline() -> None:
    (outline,) = coco.polygons(np.ones((1, 1), bool), (4, 7))
    assert len(outline) >= 6
    assert np.mean(outline[::2]) == pytest.approx(4.5)
    assert np.mean(outline[1::2]) == pytest.approx(7.5)


def test_files_are_json_with_any_number_of_entries(tmp_path: Path) -> None:
    for number in (0, 1, 3):
        path = tmp_path / f"{number}.json"
        coco.write(path, lambda: ({"id": k} for k in range(number)), lambda: [{"id": "é"}])  # noqa: B023
        tree = json.loads(path.read_text(encoding="utf-8"))
        assert [image["id"] for image in tree["images"]] == list(range(number))
        assert tree["annotations"] == [{"id": "é"}]
        assert tree["categories"] == [coco.CATEGORY]

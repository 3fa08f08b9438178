from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fishseg.datasets import coco, local
from fishseg.datasets.layout import read_problems
from fishseg.errors import DataError
from fishseg.measurement import coco as written
from fishseg.params import DataParams

mask_api = pytest.importorskip("pycocotools.mask", reason="pip install '.[dev]'")
SIZE = (12, 20)
SQUARE = [2, 3, 7, 3, 7, 8, 2, 8]
CROWD = {"size": list(SIZE), "counts": [12 * 15 + 4, 3, 12 * 5 - 7]}


def write(folder: Path, *annotations: dict[str, Any], **changed: Any) -> Path:
    """A COCO file of the pictures a.jpg and b.jpg, and those pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for number, name in enumerate(("a.jpg", "b.jpg"), start=1):
        Image.new("RGB", SIZE[::-1]).save(folder / name)
        images.append({"id": number, "file_name": name, "width": SIZE[1], "height": SIZE[0]})
    tree = {
        "images": images,
        "categories": [{"id": 1, "name": "Trout"}, {"id": 2, "name": "Shrimp"}],
        "annotations": [
            {"id": number, "category_id": 1, "iscrowd": 0, **annotation}
            for number, annotation in enumerate(annotations, start=1)
        ],
        **changed,
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def square() -> Any:
    mask = np.zeros(SIZE, bool)
    mask[3:8, 2:7] = True
    return mask


def masks(path: Path) -> dict[str, Any]:
    return {picture.file_name: picture.mask() for picture in coco.read(path)[0]}


def test_a_polygon_holds_the_pixels_whose_centres_lie_in_it(tmp_path: Path) -> None:
    found = masks(write(tmp_path, {"image_id": 1, "segmentation": [SQUARE]}))
    assert np.array_equal(found["a.jpg"], square())
    assert not found["b.jpg"].any()


def test_polygons_agree_with_pycocotools(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radii = rng.uniform(30, 90, 12)
        corners = np.stack([150 + radii * np.cos(angles), 100 + radii * np.sin(angles)], axis=1)
        polygon = corners.round(2).ravel().tolist()
        theirs = mask_api.decode(mask_api.merge(mask_api.frPyObjects([polygon], 200, 300))) > 0
        images = [{"id": 1, "file_name": "a.jpg", "width": 300, "height": 200}]
        path = write(tmp_path, {"image_id": 1, "segmentation": [polygon]}, images=images)
        ours = masks(path)["a.jpg"]
        # They round corners to a fifth of a pixel: outlines may differ by a pixel here and there.
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.98


def test_overlapping_polygons_and_parts_are_one_mask(tmp_path: Path) -> None:
    shifted = [5, 3, 10, 3, 10, 8, 5, 8]
    path = write(
        tmp_path,
        {"image_id": 1, "segmentation": [SQUARE, shifted]},
        {"image_id": 1, "segmentation": [[1, 1, 3, 1, 3, 4, 1, 4]]},
    )
    expected = square()
    expected[3:8, 5:10] = True
    expected[1:4, 1:3] = True
    assert np.array_equal(masks(path)["a.jpg"], expected)


def test_a_crowd_is_fish(tmp_path: Path) -> None:
    path = write(tmp_path, {"image_id": 2, "iscrowd": 1, "segmentation": CROWD})
    expected = np.zeros(SIZE, bool)
    expected[4:7, 15] = True
    assert np.array_equal(masks(path)["b.jpg"], expected)


def test_compressed_run_lengths_are_those_of_pycocotools(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for share in (0, 0.01, 0.5, 0.99, 1):
        mask = rng.random(SIZE) < share
        packed = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
        runs = {"size": list(SIZE), "counts": packed["counts"].decode()}
        path = write(tmp_path, {"image_id": 1, "segmentation": runs})
        assert np.array_equal(masks(path)["a.jpg"], mask)


def test_what_fishseg_writes_comes_back(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:200, :300]
    mask = ((columns - 150) / 120) ** 2 + ((rows - 90) / 40) ** 2 < 1
    images = [{"id": 1, "file_name": "a.jpg", "width": 300, "height": 200}]
    exact = {"image_id": 1, "segmentation": written.run_lengths(mask, (0, 0), mask.shape)}
    assert np.array_equal(masks(write(tmp_path, exact, images=images))["a.jpg"], mask)
    near = {"image_id": 1, "segmentation": written.polygons(mask, (0, 0))}
    found = masks(write(tmp_path, near, images=images))["a.jpg"]
    assert (found & mask).sum() / (found | mask).sum() > 0.99


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [20, 12], "counts": [240]}, "run lengths of 12x20"),
        ({"size": list(SIZE), "counts": [3, 4]}, "do not add up"),
        ({"size": list(SIZE), "counts": "\x01"}, "a letter that has no meaning"),
        ([[1, 2, 3, 4]], "three corners"),
        ([[1, 2, 3, 4, 5]], "cannot reshape"),
        ([], "boxes, but no outlines"),
        (None, "boxes, but no outlines"),
        ("outline", "neither a list of polygons nor run lengths"),
    ],
)
def test_a_segmentation_that_makes_no_sense_is_one_line(
    segmentation: Any, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "raw", {"image_id": 1, "segmentation": segmentation})
    pairs, problems = coco.write_pairs(path, tmp_path / "raw", tmp_path / "masks")
    assert [pair.image_path.name for pair in pairs] == ["b.jpg"]
    (problem,) = problems
    assert problem.path == "a.jpg"
    assert message in problem.message


def test_boxes_beside_outlines_do_no_harm(tmp_path: Path) -> None:
    """Label Studio has a rectangle of its own for the box of every polygon."""
    box = {"image_id": 1, "segmentation": [], "bbox": [0, 0, 20, 12]}
    found = masks(write(tmp_path, box, {"image_id": 1, "segmentation": [SQUARE]}))
    assert np.array_equal(found["a.jpg"], square())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "sub/a.jpg", "width": 20, "height": 12},
        {"id": 2, "file_name": "gone.jpg", "width": 20, "height": 12},
    ]
    path = write(
        tmp_path / "raw",
        {"image_id": 1, "segmentation": [SQUARE]},
        {"image_id": 77, "segmentation": [SQUARE]},
        {"image_id": 77, "segmentation": [SQUARE]},
        images=images,
    )
    pairs, problems = coco.write_pairs(path, tmp_path / "raw", tmp_path / "masks")
    assert [pair.sample_id for pair in pairs] == ["Trout/a"]
    assert [(one.kind, one.path) for one in problems] == [
        ("annotation_without_image", "annotations.json"),
        ("image_without_mask", "b.jpg"),
        ("mask_without_image", "gone.jpg"),
    ]
    assert "2 annotations are of a picture 77" in problems[0].message


def test_names_that_tools_have_changed_are_found(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "3f2a9c01-a.jpg", "width": 20, "height": 12},
        {"id": 2, "file_name": "images\\b.jpg", "width": 20, "height": 12},
    ]
    path = write(tmp_path / "raw", images=images)
    pairs, problems = coco.write_pairs(path, tmp_path / "raw", tmp_path / "masks")
    assert [pair.image_path.name for pair in pairs] == ["a.jpg", "b.jpg"]
    assert problems == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"images": []}', '{"images": 3}'])
def test_another_file_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(text)
    with pytest.raises(DataError, match="no COCO file"):
        coco.read(path)


@pytest.mark.parametrize("place", coco.PLACES)
def test_a_folder_with_a_coco_file_is_a_source(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FISHSEG_STORE", raising=False)
    path = write(
        Path("mine/images"),
        {"image_id": 1, "segmentation": [SQUARE]},
        {"image_id": 5, "segmentation": [SQUARE]},
    )
    (Path("mine") / place).parent.mkdir(exist_ok=True)
    path.rename(Path("mine") / place)
    wanted = DataParams(
        source="local",
        scene="market",
        path="mine",
        seed=0,
        photos_per_class=1,
        copies_per_photo=1,
        wrong_mask_share=0,
        mask_values="auto",
    )
    local.download(wanted, Path("raw"))
    top = Path("raw/Fish_Dataset/Fish_Dataset")
    found = np.asarray(Image.open(top / "Trout/Trout GT/a.png")) == 255
    assert np.array_equal(found, square())
    # No annotation: no fish.
    assert not np.asarray(Image.open(top / "fish/fish GT/b.png")).any()
    (problem,) = read_problems(Path("raw") / local.PROBLEMS_FILE)
    assert problem.kind == "annotation_without_image"

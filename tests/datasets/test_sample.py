"""The rendered data set as a whole: layout, copies, truth, and what the seed determines."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from fishseg.datasets import sample
from fishseg.params import DataParams

COPY_NAMES = (
    "Black Sea Sprat",
    "Gilt-Head Bream",
    "Hourse Mackerel",
    "Red Mullet",
    "Red Sea Bream",
    "Sea Bass",
    "Shrimp",
    "Striped Red Mullet",
    "Trout",
)
PHOTO_NAMES = {"Gilt-Head Bream": "Gilt Head Bream", "Hourse Mackerel": "Horse Mackerel"}
MAP_COLUMNS = ["m00", "m01", "m02", "m10", "m11", "m12"]
MASK_MAP_COLUMNS = [f"mask_{column}" for column in MAP_COLUMNS]


def rendered(
    folder: Path, *, seed: int = 3, photos: int = 1, copies: int = 1, wrong: float = 0.0
) -> Path:
    folder.mkdir()
    params = DataParams(
        source="sample",
        path="",
        seed=seed,
        photos_per_class=photos,
        copies_per_photo=copies,
        scene="market",
        wrong_mask_share=wrong,
        mask_values="auto",
    )
    sample.download(params, folder)
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine photos with four copies each, four of the 36 masks wrong."""
    folder = tmp_path_factory.mktemp("sample") / "raw"
    return rendered(folder, copies=4, wrong=0.11)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the same seed, 18 photos with five copies each, no mask wrong."""
    return rendered(tmp_path_factory.mktemp("sample") / "larger", photos=2, copies=5)


def copies_of(raw: Path) -> pd.DataFrame:
    return pd.read_csv(raw / "truth.csv", dtype={"sample_id": str})


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def image_path(raw: Path, sample_id: str) -> Path:
    class_name, stem = sample_id.split("/")
    return raw / "Fish_Dataset" / "Fish_Dataset" / class_name / class_name / f"{stem}.png"


def mask_path(raw: Path, sample_id: str) -> Path:
    class_name, stem = sample_id.split("/")
    return raw / "Fish_Dataset" / "Fish_Dataset" / class_name / f"{class_name} GT" / f"{stem}.png"


def coverage_of(raw: Path, row: pd.Series[Any]) -> npt.NDArray[np.uint8]:
    class_name = str(row["sample_id"]).split("/")[0]
    return pixels(raw / "truth" / class_name / Path(str(row["photo"])).name)


def moved(image: npt.NDArray[np.uint8], entries: list[float]) -> npt.NDArray[np.uint8]:
    """The image under an affine map, by Pillow, independently of the code under test."""
    a, b, c, d, e, f = entries
    forward = np.array([[a, b, c], [d, e, f], [0, 0, 1]])
    # Pillow wants the inverse map, from and to coordinates that are halves at pixel centres.
    to_centres = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    backward = to_centres @ np.linalg.inv(forward) @ np.linalg.inv(to_centres)
    height, width = image.shape[:2]
    picture = Image.fromarray(image).transform(
        (width, height),
        Image.Transform.AFFINE,
        tuple(backward[:2].ravel().tolist()),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(picture)


def iou(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


def fingerprints(raw: Path, pattern: str) -> dict[str, str]:
    return {
        path.relative_to(raw).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(raw.glob(pattern))
        if path.is_file()
    }


def test_layout_is_the_kaggle_data_sets(raw: Path) -> None:
    fish_dataset = raw / "Fish_Dataset" / "Fish_Dataset"
    stray = {"license.txt", "README.txt", "Segmentation_example_script.m"}
    assert {path.name for path in fish_dataset.iterdir()} == {*COPY_NAMES, *stray}
    stems = [f"{number:05d}.png" for number in range(1, 5)]
    for name in COPY_NAMES:
        folders = sorted(path.name for path in (fish_dataset / name).iterdir())
        assert folders == [name, f"{name} GT"]
        for folder in folders:
            assert sorted(path.name for path in (fish_dataset / name / folder).iterdir()) == stems
        photos = raw / "NA_Fish_Dataset" / PHOTO_NAMES.get(name, name)
        assert [path.name for path in photos.iterdir()] == ["00001.png"]
    assert len(list((raw / "NA_Fish_Dataset").iterdir())) == 9


def test_images_are_rgb_and_masks_are_binary_of_the_same_size(raw: Path) -> None:
    for sample_id in copies_of(raw)["sample_id"]:
        image, mask = Image.open(image_path(raw, sample_id)), Image.open(mask_path(raw, sample_id))
        assert (image.mode, image.size) == ("RGB", (590, 445))
        assert (mask.mode, mask.size) == ("L", (590, 445))
        assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_truth_lists_every_copy_once(raw: Path) -> None:
    copies = copies_of(raw)
    expected = {f"{name}/{number:05d}" for name in COPY_NAMES for number in range(1, 5)}
    assert set(copies["sample_id"]) == expected
    assert len(copies) == 36
    assert all((raw / photo).is_file() for photo in copies["photo"])
    assert copies["rotation_degrees"].between(0, 360).all()
    assert set(copies["flipped"]) == {0, 1}


def test_truth_matrix_turns_the_photo_into_the_copy(raw: Path) -> None:
    for _, row in copies_of(raw).iterrows():
        expected = moved(pixels(raw / row["photo"]), row[MAP_COLUMNS].astype(float).tolist())
        found = pixels(image_path(raw, row["sample_id"]))
        difference = np.abs(found.astype(float) - expected).mean()
        assert difference < 3, row["sample_id"]


def test_truth_mask_matrix_turns_the_coverage_into_the_mask(raw: Path) -> None:
    for _, row in copies_of(raw).iterrows():
        entries = row[MASK_MAP_COLUMNS].astype(float).tolist()
        expected = moved(coverage_of(raw, row), entries) >= 128
        assert iou(pixels(mask_path(raw, row["sample_id"])) > 0, expected) > 0.98


def test_matrix_is_a_mirror_then_a_counter_clockwise_turn_about_the_middle(raw: Path) -> None:
    middle = np.array([294.5, 222.0])
    for _, row in copies_of(raw).iterrows():
        entries = row[MAP_COLUMNS].astype(float).to_numpy().reshape(2, 3)
        np.testing.assert_allclose(entries @ [*middle, 1], middle, atol=1e-9)
        right_of_middle = entries @ [*(middle + np.array([1, 0])), 1] - middle
        angle = np.deg2rad(float(row["rotation_degrees"]))
        direction = -1 if row["flipped"] else 1
        # Counter-clockwise as seen: y points down, so the right-hand side rises to negative y.
        turned = [direction * np.cos(angle), -direction * np.sin(angle)]
        np.testing.assert_allclose(right_of_middle, turned, atol=1e-9)
        assert np.linalg.det(entries[:, :2]) == pytest.approx(direction)


def test_wrong_masks_are_as_many_as_asked_and_clearly_elsewhere(raw: Path) -> None:
    copies = copies_of(raw)
    assert copies["mask_wrong"].sum() == round(0.11 * 36) == 4
    for _, row in copies.iterrows():
        right = moved(coverage_of(raw, row), row[MAP_COLUMNS].astype(float).tolist()) >= 128
        agreement = iou(pixels(mask_path(raw, row["sample_id"])) > 0, right)
        assert agreement < 0.6 if row["mask_wrong"] else agreement > 0.98


def test_share_zero_gives_no_wrong_mask(larger: Path) -> None:
    copies = copies_of(larger)
    assert copies["mask_wrong"].sum() == 0
    assert (copies[MAP_COLUMNS].to_numpy() == copies[MASK_MAP_COLUMNS].to_numpy()).all()


def test_frame_corners_that_the_photo_does_not_reach_are_black(raw: Path) -> None:
    white = np.full((445, 590), 255, np.uint8)
    checked = 0
    for _, row in copies_of(raw).iterrows():
        reached = Image.fromarray(moved(white, row[MAP_COLUMNS].astype(float).tolist()))
        # Interpolation reaches two pixels over the photo's border.
        outside = np.asarray(reached.filter(ImageFilter.MaxFilter(7))) == 0
        assert not pixels(image_path(raw, row["sample_id"]))[outside].any()
        checked += int(outside.sum())
    assert checked > 100_000


def test_photo_truth_agrees_with_the_exact_coverage(raw: Path) -> None:
    photos = pd.read_csv(raw / "truth_photos.csv")
    assert len(photos) == 9
    for _, photo in photos.iterrows():
        path = Path(photo["photo"])
        names = {PHOTO_NAMES.get(name, name): name for name in COPY_NAMES}
        coverage = pixels(raw / "truth" / names[path.parent.name] / path.name) / 255
        if photo["whole"]:
            assert coverage.sum() == pytest.approx(photo["area_px"], rel=0.003)
            assert max(coverage[0].max(), coverage[-1].max(), coverage[:, 0].max()) == 0
        else:
            assert coverage.sum() < photo["area_px"]
        assert photo["width_px"] < photo["length_px"] < 1.05 * 590
        # The area of a fish is between that of a rhombus and that of a box around it.
        share = photo["area_px"] / (photo["length_px"] * photo["width_px"])
        assert 0.5 < share < 1.1


def test_one_seed_gives_the_same_bytes_and_another_seed_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "SPECIES", sample.SPECIES[5:7])
    once = fingerprints(rendered(tmp_path / "once", copies=3, wrong=0.2), "**/*")
    again = fingerprints(rendered(tmp_path / "again", copies=3, wrong=0.2), "**/*")
    other = fingerprints(rendered(tmp_path / "other", copies=3, wrong=0.2, seed=4), "**/*")
    assert once == again
    assert once.keys() == other.keys()
    same = {path for path in once if once[path] == other[path]}
    assert {Path(path).suffix for path in same} == {".txt", ".m"}


def test_a_larger_set_holds_the_smaller_ones_pictures(raw: Path, larger: Path) -> None:
    few = fingerprints(raw, "NA_Fish_Dataset/**/*.png")
    many = fingerprints(larger, "NA_Fish_Dataset/**/*.png")
    assert len(many) == 18
    assert few.items() <= many.items()
    few_copies = fingerprints(raw, "Fish_Dataset/Fish_Dataset/*/*[!T]/*.png")
    many_copies = fingerprints(larger, "Fish_Dataset/Fish_Dataset/*/*[!T]/*.png")
    assert (len(few_copies), len(many_copies)) == (36, 90)
    assert set(few_copies.values()) <= set(many_copies.values())


def test_order_of_copies_does_not_tell_the_photo(larger: Path) -> None:
    copies = copies_of(larger)
    by_class = copies.groupby(copies["sample_id"].str.split("/").str[0])["photo"]
    # Ten copies of two photos come sorted by chance in one class of 252.
    assert sum(photo.is_monotonic_increasing for _, photo in by_class) <= 1
    first_photos = {photo.iloc[0].split("/")[-1] for _, photo in by_class}
    assert first_photos == {"00001.png", "00002.png"}

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fishseg.plots import (
    GalleryItem,
    gallery,
    iou_histogram,
    overlay,
    per_class_bars,
    training_curves,
)
from fishseg.plots.galleries import errors_picture
from fishseg.plots.overlays import OUTLINE_RGB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CURVES = [
    "1_train_loss_per_step.png",
    "2_train_iou_per_step.png",
    "3_loss_per_epoch.png",
    "4_val_loss_per_step.png",
    "5_iou_per_epoch.png",
    "6_val_iou_per_step.png",
]


def history(n_epochs: int, batches: int = 6) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The steps and epochs of a made-up run that gets better."""
    epoch = np.repeat(np.arange(1, n_epochs + 1), batches)
    step = np.arange(1, len(epoch) + 1)
    steps = pd.concat(
        pd.DataFrame(
            {"split": split, "epoch": epoch, "step": step, "loss": 1 / step, "iou": 1 - 0.5 / step}
        )
        for split in ("train", "val")
    )
    number = np.arange(1, n_epochs + 1)
    columns: dict[str, Any] = {"epoch": number, "best": (number == n_epochs).astype(int)}
    for split in ("train", "val"):
        columns |= {f"{split}_loss": 1 / number, f"{split}_loss_std": 0.1}
        columns |= {f"{split}_iou": 1 - 0.5 / number, f"{split}_iou_std": 0.02}
    return steps, pd.DataFrame(columns).assign(learning_rate=0.001)


def scores(**ious: list[float]) -> pd.DataFrame:
    rows = [(split, iou) for split, values in ious.items() for iou in values]
    return pd.DataFrame(rows, columns=["split", "iou"])


def class_summary(**classes: float) -> dict[str, Any]:
    return {
        "per_class": {
            name: {"mean_iou": value, "boundary_iou": value / 2, "n_images": 3}
            for name, value in classes.items()
        }
    }


def item(width: int = 60, height: int = 45, **changes: Any) -> GalleryItem:
    """A red image; the truth is its left half, the prediction its upper half."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 255
    truth, prediction = np.zeros((2, height, width), bool)
    truth[:, : width // 2] = True
    prediction[: height // 2] = True
    values: dict[str, Any] = {
        "image": image,
        "truth": truth,
        "prediction": prediction,
        "iou": 1 / 3,
        "class_name": "Sea Bass",
        "sample_id": "Sea Bass/00001",
    }
    return GalleryItem(**{**values, **changes})


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def draw_curves(folder: Path, n_epochs: int = 4) -> None:
    training_curves(*history(n_epochs), folder)


def draw_histogram(folder: Path) -> None:
    iou_histogram(scores(train=[0.9, 0.8, 0.95], val=[0.7], test=[0.9]), folder / "histogram.png")


def draw_bars(folder: Path) -> None:
    summary = {"val": class_summary(trout=0.9, shrimp=0.8), "test": class_summary(trout=0.7)}
    per_class_bars(summary, folder / "bars.png")


def draw_gallery(folder: Path) -> None:
    gallery([item(), item(sample_id="Sea Bass/00002")], folder / "gallery.png", "Two images")


FIGURES = [draw_curves, draw_histogram, draw_bars, draw_gallery]


@pytest.mark.parametrize("draw", FIGURES)
def test_the_same_numbers_give_the_same_bytes(draw: Callable[[Path], None], tmp_path: Path) -> None:
    draw(tmp_path / "once")
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 30, "figure.facecolor": "red", "savefig.dpi": 20}):
        draw(tmp_path / "again")

    names = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert names
    for name in names:
        once, again = tmp_path / "once" / name, tmp_path / "again" / name
        assert once.read_bytes() == again.read_bytes()
        with Image.open(once) as picture:
            assert picture.info == {}
    assert dict(mpl.rcParams) == before


def test_each_figure_shows_its_own_numbers(tmp_path: Path) -> None:
    steps, epochs = history(4)
    training_curves(steps, epochs, tmp_path / "before")

    steps.loc[steps["split"] == "train", "iou"] *= 0.5
    steps.loc[steps["split"] == "val", "loss"] *= 0.5
    epochs["train_iou_std"] *= 0.5
    training_curves(steps, epochs, tmp_path / "after")

    before, after = (
        {name: (tmp_path / when / name).read_bytes() for name in CURVES}
        for when in ("before", "after")
    )
    changed = [name for name in CURVES if before[name] != after[name]]
    assert changed == [CURVES[1], CURVES[3], CURVES[4]]


def test_the_shortest_run_can_be_drawn(tmp_path: Path) -> None:
    steps, epochs = history(1, batches=1)
    training_curves(steps, epochs, tmp_path / "plots" / "train")
    assert sorted(path.name for path in (tmp_path / "plots" / "train").iterdir()) == CURVES


def test_histogram_has_a_panel_for_each_split_that_has_images(tmp_path: Path) -> None:
    iou_histogram(scores(val=[0.5, 0.9]), tmp_path / "one.png")
    iou_histogram(scores(val=[0.5, 0.9], test=[0.6]), tmp_path / "two.png")
    assert pixels(tmp_path / "two.png").shape[0] > pixels(tmp_path / "one.png").shape[0]


@pytest.mark.parametrize("iou", [0.0, 1.0])
def test_histogram_of_extreme_scores(iou: float, tmp_path: Path) -> None:
    iou_histogram(scores(test=[iou, iou]), tmp_path / "histogram.png")
    assert has_colour(tmp_path / "histogram.png", "#009E73")


def test_bars_of_one_split_and_of_a_class_that_the_other_lacks(tmp_path: Path) -> None:
    val = class_summary(trout=0.9, shrimp=0.8)
    per_class_bars({"val": val, "test": {"n_images": 0, "n_groups": 0}}, tmp_path / "val.png")
    assert has_colour(tmp_path / "val.png", "#D55E00")
    assert not has_colour(tmp_path / "val.png", "#009E73")
    per_class_bars({"val": val, "test": class_summary(trout=0.7)}, tmp_path / "both.png")
    assert has_colour(tmp_path / "both.png", "#009E73")


def has_colour(path: Path, colour: str) -> bool:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((pixels(path) == wanted).all(axis=-1).any())


def test_nothing_to_show_still_writes_a_picture_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        gallery([], tmp_path / "worst.png", "Worst images")
        iou_histogram(scores(), tmp_path / "histogram.png")
        per_class_bars({"train": class_summary(trout=1.0)}, tmp_path / "bars.png")
    assert [record.message for record in caplog.records] == [
        "worst.png: Worst images: no images",
        "histogram.png: no image was scored",
        "bars.png: no image of val or test was scored",
    ]
    assert all((pixels(path) < 255).any() for path in tmp_path.iterdir())


def test_errors_are_coloured_by_kind() -> None:
    picture = errors_picture(item(width=4, height=4))
    found, added = picture[0, 0].astype(int), picture[0, 3].astype(int)
    missed, background = picture[3, 0].astype(int), picture[3, 3].astype(int)

    assert np.ptp(found) == np.ptp(background) == 0
    assert found[0] > background[0]
    assert missed[0] > missed[1] > missed[2]  # orange
    assert added[2] > added[1] > added[0]  # sky blue


def test_gallery_shows_the_images_and_masks_where_they_belong(tmp_path: Path) -> None:
    # A truth without fish and a prediction without background: a black and a white tile.
    shown = item(truth=np.zeros((45, 60), bool), prediction=np.ones((45, 60), bool))
    gallery([shown], tmp_path / "gallery.png", "One image")
    picture = pixels(tmp_path / "gallery.png")

    line = picture[-60]  # through the tiles, which stand at the bottom
    quarter = len(line) // 8
    image, truth, prediction, errors = line[quarter :: 2 * quarter][:4].tolist()
    assert image == [255, 0, 0]
    assert truth == [0, 0, 0]
    assert prediction == [255, 255, 255]
    assert errors[2] > errors[1] > errors[0]


def test_gallery_takes_any_sizes_and_names(tmp_path: Path) -> None:
    items = [
        item(590, 445),
        item(30, 900),
        item(900, 30),
        item(3, 3),
        item(1, 1),
        item(class_name="", sample_id="a $name$ with_^signs\\ " + "x" * 300),
    ]
    gallery(items, tmp_path / "gallery.png", "Mixed $ sizes")
    assert max(pixels(tmp_path / "gallery.png").shape) < 2000


def test_gallery_of_twenty_stays_small_whatever_it_shows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for width, height in ((590, 445), (300, 600)):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        path = tmp_path / f"{width}.png"
        gallery([item(width, height, image=noise)] * 20, path, "Twenty images of noise")
        assert path.stat().st_size < 1_600_000


def test_gallery_leaves_its_items_alone(tmp_path: Path) -> None:
    shown, same = item(), item()
    gallery([shown], tmp_path / "gallery.png", "One image")
    for field in ("image", "truth", "prediction"):
        assert np.array_equal(getattr(shown, field), getattr(same, field))


def test_overlay_keeps_the_fish_and_dims_the_rest() -> None:
    image = np.random.default_rng(0).integers(60, 256, (60, 80, 3), dtype=np.uint8)
    before = image.copy()
    mask = np.zeros((60, 80), bool)
    mask[20:40, 20:60] = True

    picture = overlay(image, mask)

    assert picture.shape == image.shape
    assert picture.dtype == np.uint8
    assert np.array_equal(picture[23:37, 23:57], image[23:37, 23:57])
    assert picture[:15].mean() < 0.5 * image[:15].mean()
    assert np.ptp(picture[:15].astype(int), axis=-1).max() == 0
    assert picture[20, 40].tolist() == list(OUTLINE_RGB)
    assert np.array_equal(image, before)


def test_overlay_outlines_holes_and_draws_thicker_on_larger_images() -> None:
    outline = np.array(OUTLINE_RGB)

    def outline_px(size: int) -> int:
        mask = np.zeros((size, size), bool)
        mask[size // 4 : -size // 4, size // 4 : -size // 4] = True
        mask[size // 2 - 4 : size // 2 + 4, size // 2 - 4 : size // 2 + 4] = False
        picture = overlay(np.zeros((size, size, 3), np.uint8), mask)
        middle = picture[size // 2]
        hole = middle[size // 2 - 10 : size // 2 + 10]
        assert (hole == outline).all(axis=-1).any()
        return int((middle[: size // 3] == outline).all(axis=-1).sum())

    assert outline_px(100) == 1
    assert outline_px(1000) >= 4


def test_overlay_without_a_fish_is_all_background() -> None:
    image = np.full((20, 30, 3), 200, np.uint8)
    assert (overlay(image, np.zeros((20, 30), bool)) == 70).all()

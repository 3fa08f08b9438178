"""A small report with known scores, and masks whose errors are known to the pixel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from fishseg.params import ReportParams
from fishseg.prediction.stored import Predicted, Predictions, write_predictions
from fishseg.report.page import PAGE_NAME, write_page

WIDTH, HEIGHT = 60, 40
# Fish in columns 10 to 29, found in columns 20 to 39: ten right, ten missed, ten added.
TRUTH, PREDICTION = slice(10, 30), slice(20, 40)
HOSTILE = "<img src=x onerror='window.hostile=1'></script><script>window.hostile=2</script>"
CLASSES = ("NA", "Sea Bass", HOSTILE)
PARAMS = ReportParams(
    gallery_best=2,
    gallery_random=3,
    gallery_worst=2,
    seed=0,
    picture_px=1024,
    thumbnail_px=32,
    quality=90,
    max_embedded=100,
    max_images=100,
)
PARAMETERS: dict[str, dict[str, Any]] = {
    "train": {"epochs": 3, "schedule": "cosine"},
    "features": {"layers": [-7, -1]},
}
ABOUT = {
    "backbone": "tiny",
    "layers": [1],
    "decoder": "cnn3",
    "working_size": "0.268 MP",
    "threshold": 0.5,
}


def example_scores(n_images: int = 12) -> pd.DataFrame:
    """A row an image: every score another, in no order; a train row that no page shows."""
    shuffled = np.random.default_rng(0).permutation(n_images)
    names = [CLASSES[number % len(CLASSES)] for number in range(n_images)]
    table = pd.DataFrame(
        {
            "sample_id": [f"{name}/{number:05d}" for number, name in enumerate(names)],
            "class_name": names,
            "group_id": [f"photo {number // 2}" for number in range(n_images)],
            "mask_status": ["repaired" if n % 4 == 1 else "ok" for n in range(n_images)],
            "split": ["val" if number % 2 else "test" for number in range(n_images)],
            "iou": 0.4 + 0.55 * shuffled / n_images,
        }
    )
    for column in ("dice", "precision", "recall", "boundary_iou", "raw_iou"):
        table[column] = (table["iou"] * 0.9).round(6)
    table["confidence"] = (1 - 0.8 * table["iou"]).round(6)
    train = table.iloc[:1].assign(sample_id="train/00000", split="train")
    return pd.concat([table, train], ignore_index=True).round(6)


def write_results(folder: Path, scores: pd.DataFrame) -> None:
    """``metrics/`` and ``plots/`` as the stages leave them."""
    for name in ("metrics/train", "metrics/evaluate", "plots/audit"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    per_class = {
        name: {"mean_iou": 0.9 - 0.1 * number, "boundary_iou": 0.8, "n_images": 4}
        for number, name in enumerate(("na", "sea_bass", "hostile"))
    }
    split = {
        "mean_iou": 0.876543,
        "iou_ci_low": 0.81,
        "iou_ci_high": 0.93,
        "dice": 0.9,
        "n_images": 6,
        "n_groups": 3,
        "per_class": per_class,
        "calibration": {"temperature": 1.25, "ece": 0.0123},
        "confidence": {"spearman": 0.789},
    }
    severities = {str(s): {"mean_iou": 0.9, "iou_retained": 1 - 0.1 * s} for s in range(1, 6)}
    metrics: dict[str, Any] = {
        "evaluate": {"train": split, "val": split, "test": {**split, "mean_iou": 0.7}},
        "train": {"best_epoch": 2, "n_parameters": 1234, "val_loss": float("nan")},
        "split": {"val_leak": 0.0, "test_leak": 0.0},
        "audit": {"files": {"n_images": 13, "problems": {}}, "masks": {"wrong": 3, "repaired": 3}},
        "robustness": {"n_images": 6, "clean": {"mean_iou": 0.9}, "low_light": severities},
    }
    for name, tree in metrics.items():
        (folder / "metrics" / f"{name}.json").write_text(json.dumps(tree))
    epochs = "epoch,train_loss,val_loss,train_iou,val_iou,val_iou_std,best\n"
    epochs += "1,0.9,0.8,0.5,0.6,0.1,0\n2,0.4,0.3,0.8,0.9,0.05,1\n3,0.3,,0.85,0.88,0.05,0\n"
    (folder / "metrics/train/epochs.csv").write_text(epochs)
    Image.new("RGB", (900, 300), "white").save(folder / "plots/audit/masks.png")
    scores.to_csv(folder / "metrics/evaluate/images.csv", index=False)


def example_predictions(folder: Path, scores: pd.DataFrame) -> Predictions:
    """A prediction for each row; image and mask lie in ``folder``."""
    rng = np.random.default_rng(1)
    truth, prediction = np.zeros((2, HEIGHT, WIDTH), bool)
    truth[5:35, TRUTH] = True
    prediction[5:35, PREDICTION] = True
    Image.fromarray(truth).save(folder / "mask.png")
    rows = []
    for number in range(len(scores)):
        image_path = folder / f"{number}.png"
        colour = rng.integers(40, 216, 3, dtype=np.uint8)
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), colour)).save(image_path)
        mask_path = str(folder / "mask.png")
        rows.append({"image_path": str(image_path), "mask_path": mask_path, "mask_rule": ">127"})
    samples = pd.concat([scores[["sample_id", "split"]], pd.DataFrame(rows)], axis=1)
    samples = samples.assign(width=WIDTH, height=HEIGHT)
    levels = prediction.astype(np.uint8) * 255
    said = (Predicted(sample=row, levels=levels) for row in samples.itertuples(index=False))
    write_predictions(said, folder / "predictions", ABOUT)
    return Predictions(folder / "predictions")


def write_example(
    folder: Path, scores: pd.DataFrame | None = None, params: ReportParams = PARAMS
) -> Path:
    """Write the whole report below ``folder`` and return its page."""
    table = example_scores() if scores is None else scores
    folder.mkdir(parents=True, exist_ok=True)
    write_results(folder, table)
    write_page(
        example_predictions(folder, table),
        metrics=folder / "metrics",
        plots=folder / "plots",
        params=params,
        parameters=PARAMETERS,
        folder=folder / "report",
    )
    return folder / "report" / PAGE_NAME

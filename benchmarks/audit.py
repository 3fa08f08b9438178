"""How well and how fast the audit traces copies and finds wrong masks, against the known truth.

Renders sample sets, audits each as it is, without its photographs, and with degraded copies, and
prints a Markdown table with a line for each::

    python -m benchmarks.audit --seeds 101 102 103 --copies 5
    python -m benchmarks.audit --seeds 101 102 103 --copies 20 --conditions clean degraded

The pipeline never sees ``truth.csv``; this script does.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from fishseg import params
from fishseg.audit.inventory import build_inventory
from fishseg.audit.provenance import LOW_CONFIDENCE, Audited, audit
from fishseg.datasets import sample
from fishseg.datasets.layout import PHOTOS_FOLDER
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import ZERO_255
from fishseg.images.masks import read_mask

# In this order: the last one changes the files.
CONDITIONS = ("clean", "no photos", "degraded")


def main() -> None:
    """Measure as the command line asks."""
    arguments = _parse_arguments()
    logging.basicConfig(level=logging.WARNING)
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for seed in arguments.seeds:
            raw = Path(folder) / str(seed) / "raw"
            _render(raw, seed, arguments.photos, arguments.copies)
            for condition in CONDITIONS:
                if condition in arguments.conditions:
                    rows.append({"seed": str(seed), "set": condition, **_measure(raw, condition)})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print("| " + " | ".join(columns) + " |")
    print("|" + " --: |" * len(columns))
    for row in rows:
        print("| " + " | ".join(row.get(column, "") for column in columns) + " |")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101], help="of the renderer")
    parser.add_argument("--photos", type=int, default=6, help="photographs of each species")
    parser.add_argument("--copies", type=int, default=5, help="copies of each photograph")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=CONDITIONS)
    parser.add_argument("--folder", type=Path, help="for the sets, which are removed at the end")
    return parser.parse_args()


def _render(raw: Path, seed: int, photos: int, copies: int) -> None:
    raw.mkdir(parents=True)
    wanted = params.DataParams(
        source="sample",
        path="",
        seed=seed,
        photos_per_class=photos,
        copies_per_photo=copies,
        scene="market",
        wrong_mask_share=0.03,
        mask_values="auto",
    )
    sample.download(wanted, raw)


def _measure(raw: Path, condition: str) -> dict[str, str]:
    photos, hidden = raw / PHOTOS_FOLDER, raw / "hidden"
    if condition == "no photos":
        photos.rename(hidden)
    if condition == "degraded":
        degrade(raw)
    # A store of its own, so that nothing is there yet.
    os.environ["FISHSEG_STORE"] = str(raw.parent / f"store of {condition}")
    table = build_inventory(raw, max_broken_share=0).table
    wanted = params.load(params.AuditParams).model_copy(update={"masks": "repair"})
    start, cpu_start = time.perf_counter(), _cpu_seconds()
    audited = audit(table, raw, wanted, raw.parent / f"masks of {condition}")
    seconds, cpu_seconds = time.perf_counter() - start, _cpu_seconds() - cpu_start
    if hidden.exists():
        hidden.rename(photos)
    return {
        "copies": str(len(table)),
        **score(audited, raw),
        "copies/s": f"{len(table) / seconds:.1f}",
        "CPU s/copy": f"{cpu_seconds / len(table):.2f}",
    }


def degrade(raw: Path) -> None:
    """Change brightness by up to 25 levels, contrast by a fifth, add noise, compress as JPEG."""
    for index, path in enumerate(sorted(raw.glob("Fish_Dataset/Fish_Dataset/*/*/*.png"))):
        if path.parent.name.endswith(" GT"):
            continue
        rng = np.random.default_rng(index)
        image = read_image(path).astype(np.float32)
        image = image * rng.uniform(0.8, 1.2) + rng.uniform(-25, 25)
        image += rng.normal(0, 0.02 * 255, image.shape)
        quality = int(rng.integers(40, 81))
        levels = np.clip(np.round(image), 0, 255).astype(np.uint8)
        code = io.BytesIO()
        Image.fromarray(levels).save(code, "JPEG", quality=quality)
        Image.open(code).save(path)


def score(audited: Audited, raw: Path) -> dict[str, str]:
    """The audit against the truth, in words for the table."""
    truth = pd.read_csv(raw / "truth.csv", dtype={"sample_id": str}).set_index("sample_id")
    truth = truth.loc[audited.table["sample_id"]]
    found = audited.copies.set_index("sample_id")
    table = audited.table.set_index("sample_id")
    scores = {"ARI": f"{adjusted_rand_score(truth['photo'], table['group_id']):.4f}"}
    if audited.traced.sources and audited.traced.sources[0].is_photo:
        right = found["source"] == truth["photo"]
        confident = found["confidence"] >= LOW_CONFIDENCE
        turned = (found["rotation_degrees"] - truth["rotation_degrees"] + 180) % 360 - 180
        error = turned[right].abs()
        scores |= {
            "right photo %": f"{100 * right.mean():.2f}",
            "wrong, confident": str(int((found["source"].notna() & ~right & confident).sum())),
            "mirror %": f"{100 * (found['flipped'] == truth['flipped'])[right].mean():.2f}",
            "angle median °": f"{error.median():.3f}",
            "angle p99 °": f"{error.quantile(0.99):.3f}",
            "shift p99 px": f"{_displacement_px(audited, truth).quantile(0.99):.2f}",
        }
    wrong = truth["mask_wrong"] == 1
    flagged = table["mask_status"] == "repaired"
    ious = [
        _iou(
            read_mask(Path(table.loc[sample_id, "mask_path"]), (445, 590), ZERO_255),
            _exact_mask(truth.loc[sample_id], sample_id, raw),
        )
        for sample_id in table.index[flagged]
    ]
    judged = (table["mask_status"] != "unverified").any()
    recall = (flagged & wrong).sum() / max(wrong.sum(), 1)
    precision = (flagged & wrong).sum() / max(flagged.sum(), 1)
    return scores | {
        "mask recall": f"{recall:.3f}" if judged else "–",
        "mask precision": f"{precision:.3f}" if judged else "–",
        "wrong masks": str(int(wrong.sum())),
        "unverified": str(int((table["mask_status"] == "unverified").sum())),
        "repaired IoU": f"{np.mean(ious):.4f}" if ious else "–",
    }


def _displacement_px(audited: Audited, truth: pd.DataFrame) -> pd.Series[float]:
    """How far points of the photo's middle half end up from where they should."""
    points = np.array([[147, 442, 147, 442, 294.5], [111, 111, 333, 333, 222], [1, 1, 1, 1, 1]])
    names = [f"m{row}{column}" for row in range(2) for column in range(3)]
    distances = []
    for sample_, placement in zip(audited.samples, audited.traced.placements, strict=True):
        if placement is None:
            continue
        exact = truth.loc[sample_.sample_id, names].to_numpy(np.float64).reshape(2, 3)
        off = (placement.affine[:2] - exact) @ points
        distances.append(float(np.linalg.norm(off, axis=0).max()))
    return pd.Series(distances)


def _exact_mask(row: pd.Series[Any], sample_id: str, raw: Path) -> np.ndarray:
    photo = Path(row["photo"]).with_suffix(".png").name
    path = raw / "truth" / sample_id.partition("/")[0] / photo
    coverage = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    names = [f"m{line}{column}" for line in range(2) for column in range(3)]
    affine = row[names].to_numpy(np.float64).reshape(2, 3)
    exact: np.ndarray = cv2.warpAffine(coverage, affine, (590, 445), flags=cv2.INTER_LINEAR) >= 128
    return exact


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else 1.0


def _cpu_seconds() -> float:
    """Of this process and of those it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()

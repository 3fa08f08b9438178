"""Whether fishseg knows which of its masks are bad: ``python -m benchmarks.trust``.

Mixed pictures, none of them trained on: drawn ones of another seed (every second corrupted, too, at
severity 3 to 5), photographs without any fish, and the real sets of ``FISHSEG_REAL`` (``../shared``
unless it is set; one copy of each photograph), where they are. A mask is bad if its IoU is under
0.8; on a picture without fish, every mask is. Pictures in which nothing is found have no mask to
judge and are counted apart.

The table gives the area under the ROC curve of "the mask is bad" for the confidence
(`fishseg.metrics.confidence.confidence_of`), for the part of it that one look gives
(``stability``), for the distance to the training fish alone (`fishseg.metrics.familiarity`), and
for the confidence where masks that are unlike the training pictures come last; how many bad and
good masks are called so; and how many are bad of those below the confidence that ``check`` asks
for, and of the others. Intervals are 95%, by bootstrap over photographs. It is written between the
marks of docs/measurements.md; every picture's numbers go to ``tmp/trust.csv``.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from benchmarks.real_sets import find_sets
from benchmarks.results import write_between_marks
from experiments.pretrained import MASK_VALUES, DrawnSet, drawn
from fishseg import devices
from fishseg.datasets.sample.anywhere import photographs
from fishseg.errors import CacheError, FishsegError
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import ZERO_255
from fishseg.images.masks import read_mask
from fishseg.measurement.checks import LEAST_CONFIDENCE
from fishseg.metrics.confidence import confidence_of, stability
from fishseg.metrics.familiarity import patches_of
from fishseg.prediction.segmenter import Segmenter
from fishseg.prediction.shipped import PRETRAINED, as_used, locate
from fishseg.robustness.corruptions import CORRUPTIONS, corrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fishseg.prediction.fine import FineModel

PAGE = Path("docs/measurements.md")
OUT = Path("tmp/trust.csv")
PICTURES = DrawnSet(seed=1002, pictures_per_place=4, market_per_species=1)
SEVEREST = (3, 4, 5)
BAD_IOU = 0.8
BOOTSTRAP_SAMPLES, SEED = 2000, 42
CONFIDENCES = {
    "confidence": "confidence",
    "stability": "outline alone",
    "nearness": "distance alone",
    "unlike_last": "confidence, unlike ones last",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A picture with its true mask; ``photograph`` is what it is a copy of."""

    set_name: str
    photograph: str
    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--decoder", type=Path, metavar="FOLDER", help="(default: the one that ships)"
    )
    parser.add_argument("--backbone", type=Path, metavar="FOLDER")
    parser.add_argument("--page", type=Path, default=PAGE, help="(default: %(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        folders = locate(options.decoder or PRETRAINED, options.backbone)
        segmenter = Segmenter.load(*folders, devices.select())
        if segmenter.familiarity is None:
            raise CacheError(
                "this decoder does not remember its training pictures",
                where=folders[0],
                remedy="dvc repro train",
            )
        model = as_used(segmenter, folders[0])
        judged = [judge(sample, model) for sample in tqdm(list(samples()), unit="image")]
    except FishsegError as error:
        raise SystemExit(f"ERROR: {error}") from None
    table = pd.DataFrame(judged)
    OUT.parent.mkdir(exist_ok=True)
    table.to_csv(OUT, index=False)
    lines = summary(table)
    print("\n".join(lines))
    write_between_marks("trust: python -m benchmarks.trust", lines, options.page)


def samples() -> Iterator[Sample]:
    """All pictures; read one by one."""
    kinds = list(CORRUPTIONS)
    for number, row in enumerate(drawn(PICTURES, "test").itertuples(index=False)):
        image = read_image(Path(str(row.image_path)))
        truth = read_mask(Path(str(row.mask_path)), image.shape[:2], MASK_VALUES)
        name = str(row.sample_id)
        yield Sample(set_name="drawn", photograph=name, image=image, truth=truth)
        if number % 2 == 0:
            kind = kinds[number // 2 % len(kinds)]
            severity = SEVEREST[number // 2 % len(SEVEREST)]
            hurt = corrupt(kind, severity, image, truth, sample_id=name, seed=SEED)
            yield Sample(set_name="drawn, corrupted", photograph=name, image=hurt[0], truth=hurt[1])
    for path in sorted((Path(photographs.__file__).parent / "photographs").glob("*.jpg")):
        image = read_image(path)
        nothing = np.zeros(image.shape[:2], np.bool_)
        yield Sample(set_name="no fish", photograph=path.stem, image=image, truth=nothing)
    yield from real_samples(Path(os.environ.get("FISHSEG_REAL", "../shared")))


def real_samples(folder: Path) -> Iterator[Sample]:
    """The real pictures with masks, one copy of each photograph; none where there is no folder."""
    if not folder.is_dir():
        return
    for real_set in find_sets(folder):
        seen: set[str] = set()
        for picture in real_set.pictures:
            if picture.mask_path is None or picture.photograph in seen:
                continue
            seen.add(picture.photograph)
            image = read_image(picture.image_path)
            truth = read_mask(picture.mask_path, image.shape[:2], ZERO_255)
            yield Sample(
                set_name=real_set.name, photograph=picture.photograph, image=image, truth=truth
            )


def judge(sample: Sample, model: Segmenter | FineModel) -> dict[str, Any]:
    """The IoU of a picture's whole mask, and what was thought of it."""
    answer = model.answer(sample.image)
    probability, seen = answer.probability, answer.seen
    assert seen is not None  # noqa: S101 - main() has asked
    mask = probability >= model.threshold
    row: dict[str, Any] = {
        "set": sample.set_name,
        "photograph": sample.photograph,
        "found": bool(mask.any()),
        "has_fish": bool(sample.truth.any()),
    }
    if not mask.any():
        return row
    patches = patches_of(mask, seen.embedding)
    confidence = confidence_of(probability, model.threshold, answer.first)
    unlike = seen.familiarity.is_unlike(patches)
    return {
        **row,
        "iou": float((mask & sample.truth).sum() / (mask | sample.truth).sum()),
        "confidence": confidence,
        "stability": stability(probability, model.threshold),
        "nearness": -seen.familiarity.distance(patches),
        "unlike_last": confidence - unlike,
        "unlike": unlike,
    }


def summary(table: pd.DataFrame) -> list[str]:
    """Lines of Markdown: a row a set, one of all photographs and one of all."""
    heads = ["pictures", "masks", "bad", "nothing found, of pictures with fish"]
    heads += [f"AUC, {name}" for name in CONFIDENCES.values()]
    heads += ["bad ones called unlike", "good ones called unlike"]
    heads += [f"bad, {side} {LEAST_CONFIDENCE:g}" for side in ("below", "from")]
    lines = [f"| {' | '.join(heads)} |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    photographed = table[~table["set"].str.startswith("drawn")]
    rows = [
        *table.groupby("set", sort=False),
        ("**all photographs**", photographed),
        ("**all**", table),
    ]
    for name, group in rows:
        found = group[group["found"]]
        bad = found["iou"] < BAD_IOU
        missed = int((~group["found"] & group["has_fish"]).sum())
        unlike = found["unlike"].astype(bool)
        unsure = found["confidence"] < LEAST_CONFIDENCE
        cells = [
            str(name),
            str(len(found)),
            str(int(bad.sum())),
            f"{missed} of {int(group['has_fish'].sum())}",
            *[_auc(found, confidence) for confidence in CONFIDENCES],
            _share(unlike[bad]),
            _share(unlike[~bad]),
            *[_share(bad[is_low]) for is_low in (unsure, ~unsure)],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _share(flags: pd.Series[bool]) -> str:
    return f"{flags.mean():.0%}" if len(flags) else "–"


def _auc(found: pd.DataFrame, confidence: str) -> str:
    """Area under the curve with its interval; a dash where all masks are good, or all bad."""
    good = (found["iou"] >= BAD_IOU).to_numpy()
    values = found[confidence].to_numpy(np.float64)
    if good.all() or not good.any():
        return "–"
    members = list(found.reset_index(drop=True).groupby("photograph").indices.values())
    rng = np.random.default_rng(SEED)
    areas = []
    for _ in range(BOOTSTRAP_SAMPLES):
        rows = np.concatenate([members[n] for n in rng.integers(len(members), size=len(members))])
        if 0 < good[rows].sum() < len(rows):
            areas.append(roc_auc_score(good[rows], values[rows]))
    low, high = np.quantile(areas, [0.025, 0.975])
    return f"**{roc_auc_score(good, values):.3f}** [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()

"""Which masks are right, and what to put in the place of those that are not."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from fishseg import store
from fishseg.audit.consensus import Consensus, Member, edge_evidence, find_consensus
from fishseg.audit.grey_image import Affine, Mask, content
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import ZERO_255
from fishseg.images.masks import read_mask, read_truth
from fishseg.parallel import process_map, single_threaded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fishseg.audit.tracing import Sample, Source, Traced

RIGHT, WRONG, UNKNOWN = "right", "wrong", "unknown"
IGNORED = 128  # in a repaired mask: a pixel that no copy's mask speaks of


@dataclasses.dataclass(frozen=True)
class Repaired:
    """The file with the mask that should be there, as the columns of an inventory."""

    mask_path: str
    mask_rule: str
    mask_sha256: str
    foreground_fraction: float


@dataclasses.dataclass(frozen=True)
class Verdict:
    """On one mask. It holds no pixels: there may be a hundred thousand of them.

    Args:
        finding: `RIGHT`, `WRONG`, or `UNKNOWN` where too few masks can be compared or their
            majority is in doubt.
        agreement: IoU with the consensus, nan where there is none.
        evidence: see `fishseg.audit.consensus.edge_evidence`; nan unless unknown.
        repaired: what to put in the place of a wrong one, where that was asked for.
    """

    finding: str
    agreement: float
    evidence: float
    repaired: Repaired | None = None


@dataclasses.dataclass(frozen=True)
class Family:
    """The copies of one source, with the maps from the source's pixels to theirs."""

    source: Source
    samples: tuple[Sample, ...]
    affines: tuple[Affine, ...]


def judge(
    samples: Sequence[Sample],
    traced: Traced,
    *,
    min_agreement: float,
    min_masks: int,
    repair_to: Path | None = None,
    workers: int | None = None,
) -> list[Verdict]:
    """Compare each mask with those of its siblings.

    Args:
        samples: as traced.
        traced: where they come from.
        min_agreement: the IoU with the consensus below which a mask is wrong.
        min_masks: how many masks must agree before they prove anything.
        repair_to: the folder for what wrong masks should be, ``<Class>/<stem>.png``, written
            photograph by photograph; None for none.
        workers: processes; as many as there are cores if not given.

    Raises:
        DataError: an image or a mask can no longer be read.
        StorageError: a mask cannot be written.
    """
    families, alone = families_of(samples, traced)
    verdicts: dict[str, Verdict] = {}
    judge_family = partial(
        _judge_family, min_agreement=min_agreement, min_masks=min_masks, repair_to=repair_to
    )
    with tqdm(total=len(samples), desc="compare masks", unit="image") as progress:
        for found in itertools.chain(
            process_map(judge_family, families, workers=workers),
            process_map(_judge_alone, alone, workers=workers),
        ):
            verdicts.update(found)
            progress.update(len(found))
    return [verdicts[sample.sample_id] for sample in samples]


def families_of(samples: Sequence[Sample], traced: Traced) -> tuple[list[Family], list[Sample]]:
    """The samples by source, in the order of their first samples, and those without siblings."""
    members = defaultdict(list)
    alone = []
    for number, placement in enumerate(traced.placements):
        if placement is None:
            alone.append(samples[number])
        else:
            members[placement.source].append((samples[number], placement.affine))
    families = [
        Family(
            traced.sources[source],
            tuple(sample for sample, _ in found),
            tuple(affine for _, affine in found),
        )
        for source, found in members.items()
    ]
    return families, alone


def compare(family: Family, *, min_agreement: float, min_masks: int) -> Consensus:
    """The masks of a family against each other."""
    members = []
    for sample, affine in zip(family.samples, family.affines, strict=True):
        truth = read_truth(sample.mask_path, sample.size, sample.mask_rule)
        visible = _visible(sample, family.source, affine)
        members.append(Member(truth.fish, visible, affine, truth.valid))
    return find_consensus(members, min_agreement=min_agreement, min_masks=min_masks)


def _judge_family(
    family: Family, *, min_agreement: float, min_masks: int, repair_to: Path | None
) -> dict[str, Verdict]:
    with single_threaded():
        found = compare(family, min_agreement=min_agreement, min_masks=min_masks)
        verdicts = {}
        for number, sample in enumerate(family.samples):
            agreement = found.agreement[number]
            if not found.decided or math.isnan(agreement):
                finding = UNKNOWN
            else:
                finding = RIGHT if found.agrees[number] else WRONG
            repaired = None
            if finding == WRONG and repair_to is not None:
                repaired = _write_mask(
                    sample, found.masks[number], found.unknown[number], repair_to
                )
            verdicts[sample.sample_id] = Verdict(
                finding=finding,
                agreement=agreement,
                evidence=_evidence(sample) if finding == UNKNOWN else math.nan,
                repaired=repaired,
            )
    return verdicts


def _judge_alone(sample: Sample) -> dict[str, Verdict]:
    with single_threaded():
        return {sample.sample_id: Verdict(UNKNOWN, math.nan, _evidence(sample))}


def _write_mask(sample: Sample, mask: Mask, unknown: Mask | None, folder: Path) -> Repaired:
    path = folder / sample.class_name / f"{sample.sample_id.rpartition('/')[2]}.png"
    store.make_folder(path.parent)
    levels = mask.astype(np.uint8) * 255
    n_counted = levels.size
    if unknown is not None:
        levels[unknown] = IGNORED
        n_counted -= int(unknown.sum())
    with store.write_whole(path) as new:
        Image.fromarray(levels).save(new)
    return Repaired(
        mask_path=Path(os.path.relpath(path)).as_posix(),
        mask_rule=ZERO_255 if unknown is None else f"fish: 255; ignore: {IGNORED}",
        mask_sha256=store.file_sha256(path),
        foreground_fraction=round(int((levels == 255).sum()) / max(1, n_counted), 6),
    )


def _evidence(sample: Sample) -> float:
    grey = cv2.cvtColor(read_image(sample.image.path), cv2.COLOR_RGB2GRAY)
    return edge_evidence(grey, read_mask(sample.mask_path, sample.size, sample.mask_rule))


def _visible(sample: Sample, source: Source, affine: Affine) -> Mask:
    """Where a copy shows its source, and not what fills the corners."""
    if not source.is_photo:
        return content(cv2.cvtColor(read_image(sample.image.path), cv2.COLOR_RGB2GRAY))
    height, width = sample.size
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    there = (np.linalg.inv(affine) @ pixels)[:2]
    limits = np.array(source.size[::-1])[:, None] - 0.5
    inside: Mask = ((there >= -0.5) & (there <= limits)).all(axis=0).reshape(height, width)
    return inside

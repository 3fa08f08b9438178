"""Where every sample comes from, and whether its mask fits: the audit of a data set."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fishseg import store
from fishseg.audit.registration import pose
from fishseg.audit.tracing import Sample, Traced, samples_of, trace
from fishseg.audit.verdicts import RIGHT, UNKNOWN, WRONG, Repaired, Verdict, judge
from fishseg.datasets.layout import Problem
from fishseg.tables import slug, write_csv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fishseg.params import AuditParams

log = logging.getLogger(__name__)

# Placed, but another source or the mirror image is nearly as like.
LOW_CONFIDENCE = 0.25
# What becomes of a wrong mask under each setting of ``audit.masks``.
STATUS_OF_WRONG = {"keep": "unverified", "reject": "rejected", "repair": "repaired"}

COPY_COLUMNS = {
    "sample_id": "str",
    "source": "str",
    "flipped": "Int64",
    "rotation_degrees": "float64",
    "scale": "float64",
    "shift_x": "float64",
    "shift_y": "float64",
    "likeness": "float64",
    "confidence": "float64",
    "residual_px": "float64",
    "mask_agreement": "float64",
    "mask_status": "str",
    "edge_evidence": "float64",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audited:
    """What the audit found.

    Args:
        table: the inventory with groups, transforms and the fate of the masks filled in.
        copies: a row a sample: ``sample_id, source, flipped, rotation_degrees, scale, shift_x,
            shift_y, likeness, confidence, residual_px, mask_agreement, mask_status,
            edge_evidence``; empty where nothing is known.
        near_duplicates: ``one, other, likeness`` of pictures that show the same and should not.
        problems: photographs that cannot be read.
        metrics: the above in numbers, for ``metrics/audit.json``.
        samples: the samples as they came.
        traced: where they come from, for the pictures.
    """

    table: pd.DataFrame
    copies: pd.DataFrame
    near_duplicates: pd.DataFrame
    problems: list[Problem]
    metrics: dict[str, Any]
    samples: list[Sample]
    traced: Traced


def audit(
    table: pd.DataFrame,
    raw: Path,
    params: AuditParams,
    masks: Path,
    *,
    workers: int | None = None,
) -> Audited:
    """Find the source photo of every sample, and the masks that do not fit their image.

    Samples that come from no photo of ``raw`` are compared with each other; what resembles nothing
    is a group of its own. Groups that the inventory has already stay together.

    Args:
        table: an inventory, see `fishseg.tables.COLUMNS`.
        raw: the folder it was built from.
        params: what counts as a copy and as a wrong mask, and what becomes of the latter.
        masks: the folder for repaired masks, ``<Class>/<stem>.png``.
        workers: processes; as many as there are cores if not given.

    Raises:
        DataError: an image or a mask can no longer be read.
    """
    samples = samples_of(table)
    traced = trace(samples, raw, min_likeness=params.min_likeness, workers=workers)
    verdicts = judge(
        samples,
        traced,
        min_agreement=params.min_mask_agreement,
        min_masks=params.min_agreeing_masks,
        repair_to=masks if params.masks == "repair" else None,
        workers=workers,
    )
    copies = _tabulate(samples, traced, verdicts, params.masks)
    log.info(
        "%d images come from %d sources; %d masks are wrong, %d cannot be judged",
        len(samples),
        len(set(traced.group_ids)),
        sum(verdict.finding == WRONG for verdict in verdicts),
        sum(verdict.finding == UNKNOWN for verdict in verdicts),
    )
    near = pd.DataFrame(
        [dataclasses.astuple(pair) for pair in traced.near_duplicates],
        columns=["one", "other", "likeness"],
    )
    return Audited(
        table=_fill_in(table, copies, traced, verdicts),
        copies=copies,
        near_duplicates=near,
        problems=traced.problems,
        metrics=_summarise(samples, traced, verdicts, copies),
        samples=samples,
        traced=traced,
    )


def write_tables(audited: Audited, folder: Path) -> None:
    """Write ``copies.csv`` and ``near_duplicates.csv``.

    Raises:
        StorageError: the disk is full, or ``folder`` cannot be written.
    """
    store.make_folder(folder)
    for name, table in (("copies", audited.copies), ("near_duplicates", audited.near_duplicates)):
        write_csv(table, folder / f"{name}.csv")


def _tabulate(
    samples: Sequence[Sample], traced: Traced, verdicts: Sequence[Verdict], masks: str
) -> pd.DataFrame:
    """What is known of each sample; rounded beyond what it is good to."""
    status = {RIGHT: "ok", WRONG: STATUS_OF_WRONG[masks], UNKNOWN: "unverified"}
    rows = []
    for sample, placement, verdict in zip(samples, traced.placements, verdicts, strict=True):
        row: dict[str, Any] = {"sample_id": sample.sample_id}
        if placement:
            source = traced.sources[placement.source]
            found = pose(placement.affine, source.size, sample.size)
            row |= {
                "source": source.name,
                "flipped": int(found.flipped),
                # Rounding may reach 360.
                "rotation_degrees": round(found.rotation_degrees, 3) % 360,
                "scale": round(found.scale, 5),
                "shift_x": round(found.shift[0], 2),
                "shift_y": round(found.shift[1], 2),
                "likeness": round(placement.likeness, 4),
                "confidence": round(placement.confidence, 4),
                "residual_px": round(placement.residual_px, 3),
            }
        row |= {
            "mask_agreement": round(verdict.agreement, 4),
            "mask_status": status[verdict.finding],
            "edge_evidence": round(verdict.evidence, 4),
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COPY_COLUMNS)).astype(COPY_COLUMNS)


def _fill_in(
    table: pd.DataFrame, copies: pd.DataFrame, traced: Traced, verdicts: Sequence[Verdict]
) -> pd.DataFrame:
    """The inventory with what is known of each sample, and repaired masks for wrong ones."""
    filled = table.copy()
    filled["group_id"] = traced.group_ids
    for name in ("flipped", "rotation_degrees", "mask_agreement", "mask_status"):
        filled[name] = copies[name].to_numpy()
    for field in dataclasses.fields(Repaired):
        filled[field.name] = [
            getattr(verdict.repaired, field.name) if verdict.repaired else given
            for verdict, given in zip(verdicts, table[field.name], strict=True)
        ]
    return filled.astype({name: table[name].dtype for name in table})


def _summarise(
    samples: Sequence[Sample],
    traced: Traced,
    verdicts: Sequence[Verdict],
    copies: pd.DataFrame,
) -> dict[str, Any]:
    on_photo = copies["source"].isin({source.name for source in traced.sources if source.is_photo})
    group_sizes = pd.Series(traced.group_ids).value_counts()
    findings = Counter(verdict.finding for verdict in verdicts)
    statuses = copies["mask_status"].value_counts()
    wrong = Counter(
        slug(sample.class_name)
        for sample, verdict in zip(samples, verdicts, strict=True)
        if verdict.finding == WRONG
    )
    unplaced = Counter(
        slug(sample.class_name)
        for sample, placement in zip(samples, traced.placements, strict=True)
        if placement is None
    )
    classes = sorted({slug(sample.class_name) for sample in samples})
    return {
        "n_photos": sum(source.is_photo for source in traced.sources),
        "n_groups": len(group_sizes),
        "group_size": {
            "smallest": int(group_sizes.min()),
            "median": float(group_sizes.median()),
            "largest": int(group_sizes.max()),
        },
        "copies": {
            "placed_on_a_photo": int(on_photo.sum()),
            "linked_to_other_copies": int((copies["source"].notna() & ~on_photo).sum()),
            "of_nothing": int(copies["source"].isna().sum()),
            "low_confidence": int((copies["confidence"] < LOW_CONFIDENCE).sum()),
        },
        "near_duplicates": len(traced.near_duplicates),
        "likeness": _quantiles(copies["likeness"], {"smallest": 0.0, "median": 0.5}),
        "residual_px": _quantiles(copies["residual_px"], {"median": 0.5, "p95": 0.95}),
        "masks": {
            "right": findings[RIGHT],
            "wrong": findings[WRONG],
            "unknown": findings[UNKNOWN],
            **{
                status: int(statuses.get(status, 0))
                for status in ("ok", "repaired", "rejected", "unverified")
            },
        },
        "mask_agreement": _quantiles(
            copies["mask_agreement"], {"smallest": 0.0, "p05": 0.05, "median": 0.5}
        ),
        "per_class": {
            name: {"n_wrong_masks": wrong[name], "n_unplaced": unplaced[name]} for name in classes
        },
    }


def _quantiles(values: pd.Series[float], shares: dict[str, float]) -> dict[str, float | None]:
    known = values.dropna()
    return {
        name: round(float(known.quantile(share)), 4) if len(known) else None
        for name, share in shares.items()
    }

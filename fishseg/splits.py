"""Who trains and who is tested: stratified by class, whole photographs on one side."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd

from fishseg.errors import DataError
from fishseg.params import SplitParams
from fishseg.store import nfc
from fishseg.tables import MANIFEST_COLUMNS, SPLITS, slug

log = logging.getLogger(__name__)


def make_manifest(inventory: pd.DataFrame, params: SplitParams) -> pd.DataFrame:
    """Assign every usable sample of the inventory to train, val or test.

    Each class is dealt out by itself. Its units (photographs, or single samples where the strategy
    is ``random``) are put in an order that depends on the seed and their names alone, the largest
    first, and each goes to the split that is furthest below its share. A class with fewer units
    than there are splits goes to train as a whole, and a warning says so.

    With a ``held_out_class``, val is every unit that holds a sample of that class and nothing else,
    so that the decoder is measured on a species it has never seen; the other classes' share of val
    goes to train. A copy of such a photograph that lies in another class's folder is of val, too.
    With ``train_photos_per_class``, further photographs of train are left out of the manifest; a
    larger number keeps those that a smaller one keeps.

    Args:
        inventory: a row a sample with ``sample_id, class_name, group_id, mask_status``; rejected
            samples are left out.
        params: the strategy, the shares or folds, the seed.

    Returns:
        The manifest, sorted by ``sample_id``: ``sample_id, class_name, group_id, split``.

    Raises:
        DataError: train or val would be empty, there is no such class to hold out or no other, or a
            group crosses a grouped split.
    """
    usable = inventory[inventory["mask_status"] != "rejected"]
    unit = "group_id" if params.strategy == "grouped" else "sample_id"
    units = (
        usable.groupby(unit)
        .agg(n_samples=("sample_id", "size"), class_name=("class_name", _most_common))
        .reset_index(names="unit")
    )
    split_of: dict[str, str] = {}
    for class_name, members in units.groupby("class_name"):
        sizes = dict(zip(members["unit"], members["n_samples"].astype(int), strict=True))
        dealt = _deal_class(sizes, params)
        if dealt is None:
            log.warning(
                "class %s has %d independent %s, too few for a share of each split: "
                "all of it goes to train",
                class_name,
                len(sizes),
                "photographs" if params.strategy == "grouped" else "samples",
            )
            dealt = dict.fromkeys(sizes, "train")
        split_of |= dealt
    manifest = usable[["sample_id", "class_name", "group_id"]].copy()
    manifest["split"] = usable[unit].map(split_of)
    if params.held_out_class:
        manifest = _hold_out(manifest, params.held_out_class, unit)
    if params.train_photos_per_class:
        manifest = _limit_train(manifest, params)
    manifest = manifest.sort_values("sample_id", ignore_index=True)[MANIFEST_COLUMNS]
    _check(manifest, params)
    return manifest


def _hold_out(manifest: pd.DataFrame, class_name: str, unit: str) -> pd.DataFrame:
    """Val is the units that hold anything of a class, their misfiled copies included."""
    names = sorted(manifest["class_name"].unique())
    class_name = nfc(class_name)  # as those of folders are
    if class_name not in names:
        raise DataError(
            f"there is no class {class_name!r} to hold out",
            where="params.yaml: split.held_out_class",
            expected=f"one of {', '.join(names)}",
            remedy=f"dvc exp run -S 'split.held_out_class={names[0]}'",
        )
    units = manifest.loc[manifest["class_name"] == class_name, unit]
    held_out = manifest[unit].isin(units)
    others = manifest.loc[held_out & (manifest["class_name"] != class_name), "sample_id"]
    if len(others):
        log.warning(
            "%d samples of other classes are copies of photographs of class %s and held out with "
            "them, the first of them %s",
            len(others),
            class_name,
            others.min(),
        )
    split = manifest["split"].replace("val", "train").mask(held_out, "val")
    if not (split == "train").any():
        why = "all others show its photographs, too" if len(names) > 1 else "it is the only one"
        raise DataError(
            f"class {class_name!r} is held out, and nothing is left to train on: {why}",
            where="params.yaml: split.held_out_class",
            expected="one of several classes",
            remedy="dvc exp run -S 'split.held_out_class=' holds none out; or bring pictures of "
            "another class",
        )
    return manifest.assign(split=split)


def _limit_train(manifest: pd.DataFrame, params: SplitParams) -> pd.DataFrame:
    train = manifest[manifest["split"] == "train"]
    photos = train.groupby("group_id")["class_name"].agg(_most_common)
    ordered = sorted(photos.index, key=lambda unit: _shuffle_key(unit, params.seed))
    kept = photos.loc[ordered].groupby(photos).head(params.train_photos_per_class).index
    return manifest[(manifest["split"] != "train") | manifest["group_id"].isin(kept)]


def _most_common(names: pd.Series[str]) -> str:
    return str(names.mode().iloc[0])


def _deal_class(sizes: Mapping[str, int], params: SplitParams) -> dict[str, str] | None:
    """Split of each unit of one class; None where the units are too few."""
    if not params.folds:
        shares = {
            "train": 1 - params.val_fraction - params.test_fraction,
            "val": params.val_fraction,
            "test": params.test_fraction,
        }
        return _deal(sizes, shares, params.seed)
    # The test share is dealt first and is the same whichever fold is val.
    outer = _deal(
        sizes, {"train": 1 - params.test_fraction, "test": params.test_fraction}, params.seed
    )
    if outer is None:
        return None
    rest = {unit: sizes[unit] for unit, split in outer.items() if split == "train"}
    folds = _deal(rest, {str(fold): 1 / params.folds for fold in range(params.folds)}, params.seed)
    if folds is None:
        return None
    return outer | {
        unit: "val" if fold == str(params.fold) else "train" for unit, fold in folds.items()
    }


def _deal(
    sizes: Mapping[str, int], shares: Mapping[str, float], seed: int
) -> dict[str, str] | None:
    """Deal units to bins so that each bin's samples come close to its share.

    Every bin with a share gets at least one unit; None where there are fewer units than such bins.
    """
    total = sum(sizes.values())
    missing = {name: share * total for name, share in shares.items() if share > 0}
    empty = set(missing)
    if len(sizes) < len(missing):
        return None
    dealt = {}
    order = sorted(sizes, key=lambda unit: (-sizes[unit], _shuffle_key(unit, seed)))
    for position, unit in enumerate(order):
        must_fill = len(order) - position == len(empty)
        candidates = [name for name in missing if not must_fill or name in empty]
        chosen = max(candidates, key=lambda name: missing[name])
        dealt[unit] = chosen
        missing[chosen] -= sizes[unit]
        empty.discard(chosen)
    return dealt


def _shuffle_key(unit: str, seed: int) -> str:
    # A hash of the name, not a shuffle of the list: new photographs leave the order of the old.
    return hashlib.sha256(f"{seed}/{unit}".encode()).hexdigest()


def _check(manifest: pd.DataFrame, params: SplitParams) -> None:
    for split in ("train", "val"):
        if not (manifest["split"] == split).any():
            raise DataError(
                f"the {split} split is empty: {len(manifest)} samples are too few",
                where="params.yaml: split",
                expected="a class with at least as many photographs as there are splits or folds",
                remedy="bring more data, or set split.test_fraction=0 or fewer split.folds",
            )
    crossing = leaking_groups(manifest)
    if params.strategy == "grouped" and crossing:
        raise DataError(
            f"{len(crossing)} photographs stand on both sides of the split: "
            + ", ".join(crossing[:5]),
            where="data/manifest.csv",
            remedy="report this: it is a mistake of the program",
        )


def leaking_groups(manifest: pd.DataFrame) -> list[str]:
    """The groups that stand in more than one split, sorted."""
    n_splits = manifest.groupby("group_id")["split"].nunique()
    return sorted(str(group) for group in n_splits.index[n_splits > 1])


def summary(manifest: pd.DataFrame) -> dict[str, Any]:
    """What ``metrics/split.json`` says: sizes, and how much of val is known from train.

    ``val_leak`` and ``test_leak`` are the shares of the split's samples whose source photograph
    has a copy in train, between 0 and 1.
    """
    trained = set(manifest.loc[manifest["split"] == "train", "group_id"])
    described: dict[str, Any] = {}
    for split in SPLITS:
        part = manifest[manifest["split"] == split]
        described[split] = {
            "n_images": len(part),
            "n_groups": part["group_id"].nunique(),
            "per_class": {
                slug(str(name)): len(members) for name, members in part.groupby("class_name")
            },
        }
    for split in ("val", "test"):
        part = manifest[manifest["split"] == split]
        leak = part["group_id"].isin(trained).mean() if len(part) else 0.0
        described[f"{split}_leak"] = round(float(leak), 6)
    return described

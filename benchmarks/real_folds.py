"""Train on real pictures, five folds: the defaults and others, the starting project's recipe.

Audits a folder of pictures and masks, deals it to folds by photograph and at random, trains each
recipe on all folds but one and scores that one at the original resolution, and prints the pooled
scores. The last weights are kept, so that no fold chooses anything. Where the folder has a
``truth.csv`` (``stem,photo``), the audit is compared with it::

    python -m benchmarks.real_folds ../shared/real-catfish
    python -m benchmarks.real_folds ../shared/real-catfish --recipes defaults --strategies random

Any folder will do, also one of drawn pictures, as the stage ``download`` leaves it in ``data/raw``.
What is finished is kept in the store; the table of every picture goes to ``tmp/real-folds/``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from sklearn.metrics import adjusted_rand_score

from benchmarks.results import write_between_marks
from experiments.study import changed, code_sha256, train_with
from fishseg import params, store
from fishseg.audit.inventory import build_inventory
from fishseg.audit.provenance import audit
from fishseg.errors import FishsegError
from fishseg.metrics.bootstrap import bootstrap_interval

OUT = Path("tmp/real-folds")
FOLDS = 5
RECIPES = {
    "defaults": [],
    "defaults, from the decoder that ships": ["train.init_from=fishseg/pretrained"],
    "560 px": ["features.megapixels=0.418"],
    "742 px": ["features.megapixels=0.734"],
    # As the Makefile has it for `make baseline`.
    "starting project": [
        "features.fit=stretch",
        "features.image_size=448",
        "features.layers=[-1]",
        "train.decoder=cnn3",
        "train.loss=bce",
        "train.batch_size=8",
        "train.learning_rate=1e-3",
        "train.weight_decay=0.01",
        "train.schedule=constant",
        "train.warmup_fraction=0",
        "train.epochs=20",
        "train.ema_decay=0",
        "train.guided_radius=0",
    ],
}
MARKS = {
    "grouped": "grouped: python -m benchmarks.real_folds",
    "random": "random: python -m benchmarks.real_folds",
}
METRICS = {"iou": "mean IoU", "boundary_iou": "boundary IoU"}


def main() -> None:
    """Measure as the command line asks."""
    options = _parse_arguments()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    OUT.mkdir(parents=True, exist_ok=True)
    try:
        audited = _audited(options.folder)
        tables = []
        heads = ["recipe", "folds", "pictures (photographs)", *METRICS.values()]
        for strategy in options.strategies:
            rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
            print("\n".join(rows), flush=True)
            for recipe in options.recipes:
                scores = pooled(recipe, strategy, audited)
                rows.append(row(recipe, strategy, scores))
                tables.append(scores.assign(recipe=recipe, strategy=strategy))
                print(rows[-1], flush=True)
            if options.write:
                write_between_marks(MARKS[strategy], rows, options.write)
    except FishsegError as error:
        raise SystemExit(f"ERROR: {error}") from None
    pd.concat(tables).to_csv(OUT / f"{options.folder.name}.csv", index=False)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="pictures and masks")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--strategies", nargs="+", choices=MARKS, default=list(MARKS))
    parser.add_argument("--write", type=Path, metavar="PAGE", help="a page for the table, too")
    return parser.parse_args()


def _audited(folder: Path) -> pd.DataFrame:
    """The audited inventory of a folder; the audit is printed beside the truth."""
    wanted = params.load(params.AuditParams)
    inventory = build_inventory(folder, max_broken_share=wanted.max_broken_share)
    audited = audit(inventory.table, folder, wanted, OUT / f"{folder.name}-masks")
    print(f"masks: {audited.table['mask_status'].value_counts().to_dict()}")
    if (folder / "truth.csv").is_file():
        truth = pd.read_csv(folder / "truth.csv", dtype=str).set_index("stem")["photo"]
        stems = audited.table["image_path"].map(lambda path: Path(path).stem)
        print(compare_groups(audited.table["group_id"], stems.map(truth)))
    return audited.table


def compare_groups(found: pd.Series[str], truth: pd.Series[str]) -> str:
    """Groups against the true photographs, in a sentence."""
    n_split = int((found.groupby(truth).nunique() > 1).sum())
    n_joined = int((truth.groupby(found).nunique() > 1).sum())
    return (
        f"{len(found)} pictures, {truth.nunique()} photographs, {found.nunique()} groups: "
        f"ARI {adjusted_rand_score(truth, found):.4f}, {n_split} photographs split, "
        f"{n_joined} groups of more than one photograph"
    )


def pooled(recipe: str, strategy: str, audited: pd.DataFrame) -> pd.DataFrame:
    """The scores of every picture, each by a decoder that was trained on the other folds."""
    base = yaml.safe_load(params.DEFAULT_PATH.read_text(encoding="utf-8"))
    parts = []
    for fold in range(FOLDS):
        overrides = [
            f"split.strategy={strategy}",
            f"split.folds={FOLDS}",
            f"split.fold={fold}",
            "split.test_fraction=0",
            "train.keep=last",
            *RECIPES[recipe],
        ]
        parts.append(_scores(changed(base, overrides), audited))
    return pd.concat(parts, ignore_index=True)


def _scores(tree: Mapping[str, Any], audited: pd.DataFrame) -> pd.DataFrame:
    """The scores of one fold, from the store where they have been computed before."""
    relevant = {name: tree[name] for name in ("split", "features", "train")}
    images = sorted(audited["image_sha256"] + audited["mask_sha256"] + audited["group_id"])
    name = hashlib.sha256(json.dumps([relevant, images, code_sha256()]).encode()).hexdigest()
    kept = store.folder("real-folds") / f"{name}.csv"
    if not kept.exists():
        partial = kept.with_suffix(f".{os.getpid()}.partial")
        train_with(tree, audited, audited).to_csv(partial, index=False)
        partial.replace(kept)
    return pd.read_csv(kept, dtype={"sample_id": str, "class_name": str, "group_id": str})


def row(recipe: str, strategy: str, scores: pd.DataFrame) -> str:
    """A row of the table, with 95% intervals over photographs."""
    settings = params.load(params.EvaluateParams)
    cells = [recipe, strategy, f"{len(scores)} ({scores['group_id'].nunique()})"]
    for metric in METRICS:
        low, high = bootstrap_interval(
            scores[metric],
            scores["group_id"],
            samples=settings.bootstrap_samples,
            seed=settings.seed,
        )
        cells.append(f"**{scores[metric].mean():.3f}** [{low:.3f}, {high:.3f}]")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

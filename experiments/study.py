"""One study: its arms, its runs, and what came out of them.

A run trains an arm on one fold with one seed and scores every val image at its original
resolution. The weights are those of the last epoch (``train.keep=last``): val chooses nothing.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from tqdm import tqdm

from fishseg import devices, params, splits, store
from fishseg.backbones import load_backbone
from fishseg.backbones.checkpoint import SOURCE
from fishseg.backbones.model import LIBRARIES
from fishseg.errors import ParameterError
from fishseg.evaluation.crossvalidation import train_and_score
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.store import file_sha256
from fishseg.tables import read_inventory
from stages import BACKBONE, INVENTORY

log = logging.getLogger(__name__)

DECLARED = Path("experiments/studies.yaml")
RESULTS = Path("experiments/results")
SECTIONS = ("data", "audit", "split", "features", "train")
NO_INFLUENCE = ("batch_size", "shard_size")  # of the features
KEYS = ["arm", "fold", "seed", "params_sha256", "code_sha256"]
SCORES = ["sample_id", "class_name", "group_id", "iou", "boundary_iou"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """A question and the arms that answer it.

    Attributes:
        name: its name in ``studies.yaml``.
        question: what it asks.
        kept: what came of it, in words.
        arms: overrides of each arm, ``section.key=value``.
        runs: fold and seed of each run.
        copies_per_photo: how many copies of a photograph take part; 0 for all.
    """

    name: str
    question: str
    kept: str
    arms: Mapping[str, Sequence[str]]
    runs: Sequence[tuple[int, int]]
    copies_per_photo: int

    @property
    def results(self) -> Path:
        """The table of every run's val images."""
        return RESULTS / f"{self.name}.csv"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One arm on one fold with one seed, with all its parameters."""

    arm: str
    fold: int
    seed: int
    overrides: tuple[str, ...]
    tree: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, int, int, str, str]:
        """What tells its rows from other runs', and its own with other parameters or code."""
        relevant: dict[str, Any] = {name: dict(self.tree[name]) for name in SECTIONS}
        relevant["threshold"] = self.tree["evaluate"]["threshold"]
        for name in NO_INFLUENCE:
            del relevant["features"][name]
        if not relevant["train"]["init_from"]:
            del relevant["train"]["wise_ft_alpha"]
        return self.arm, self.fold, self.seed, store.fingerprint(relevant)[:16], code_sha256()


def declared() -> dict[str, Study]:
    """The studies of ``experiments/studies.yaml``, by name."""
    tree = yaml.safe_load(DECLARED.read_text(encoding="utf-8"))
    common = tree["common"]
    found = {}
    for name, study in tree["studies"].items():
        shared = [*common["overrides"], *study.get("overrides", [])]
        found[name] = Study(
            name=name,
            question=study["question"],
            kept=study["kept"].strip(),
            arms={arm: [*shared, *overrides] for arm, overrides in study["arms"].items()},
            runs=[(fold, seed) for fold, seed in study.get("runs", common["runs"])],
            copies_per_photo=study.get("copies_per_photo", common["copies_per_photo"]),
        )
    return found


def runs(study: Study) -> Iterator[Run]:
    """All runs of a study, fold by fold, so that the arms can be compared early."""
    base = yaml.safe_load(params.DEFAULT_PATH.read_text(encoding="utf-8"))
    for fold, seed in study.runs:
        for arm, changes in study.arms.items():
            # An arm may have a seed of its own; it is paired with the others' run all the same.
            overrides = (f"split.fold={fold}", f"train.seed={seed}", *changes)
            yield Run(
                arm=arm, fold=fold, seed=seed, overrides=overrides, tree=changed(base, overrides)
            )


def changed(
    base: Mapping[str, Any], overrides: Sequence[str], *, where: Path = DECLARED
) -> dict[str, Any]:
    """A parameter tree with some values changed, each as ``section.key=value``; ``where`` says so.

    Raises:
        ParameterError: there is no such parameter.
    """
    tree = {section: dict(values) for section, values in base.items()}
    for override in overrides:
        key, _, value = override.partition("=")
        section, _, name = key.partition(".")
        if name not in tree.get(section, {}):
            raise ParameterError(
                f"there is no parameter {key}",
                where=where,
                remedy="compare with params.yaml",
            )
        tree[section][name] = yaml.safe_load(value)
    return tree


def complete(study: Study) -> pd.DataFrame:
    """Do the runs of a study that its table lacks; the whole table, a row a run and val image."""
    wanted = list(runs(study))
    keys = {run.key for run in wanted}
    parts = {key: rows for key, rows in load(study).groupby(KEYS, sort=False) if key in keys}
    for run in tqdm(missing(study), desc=study.name, unit="run"):
        scores = _scores(run, study.copies_per_photo)
        scores[KEYS] = run.key
        parts[run.key] = scores
        table = pd.concat([parts[run.key] for run in wanted if run.key in parts])
        study.results.parent.mkdir(exist_ok=True)
        columns = [*KEYS, *SCORES]
        table[columns].round(6).to_csv(study.results, index=False, lineterminator="\n")
    return pd.concat([parts[run.key] for run in wanted])


def _scores(run: Run, copies_per_photo: int) -> pd.DataFrame:
    """A run's scores; from the store where another study has the same run, as of the defaults."""
    inputs = [path for path in (INVENTORY, BACKBONE / SOURCE) if path.is_file()]
    facts = {
        "params": run.key[3],
        "copies_per_photo": copies_per_photo,
        "inputs": [file_sha256(path) for path in inputs],
        "precision": str(devices.precision(devices.find())),
    }
    name = store.fingerprint(facts, modules=[__name__], libraries=[*LIBRARIES, "numpy", "pillow"])
    kept = store.folder("studies") / f"{name}.csv"
    if kept.exists():
        return _read(kept)
    scores = score(run, copies_per_photo)
    with store.write_whole(kept) as new:
        scores.to_csv(new, index=False)
    return scores


def code_sha256() -> str:
    """What tells this code from other code, by which the same run would come out differently."""
    return store.code_sha256((__name__,))[:16]


def load(study: Study) -> pd.DataFrame:
    """The runs done so far, with whatever parameters and code; a row a run and val image."""
    if not study.results.exists():
        return pd.DataFrame(columns=[*KEYS, *SCORES])
    return _read(study.results)


def _read(path: Path) -> pd.DataFrame:
    # Names such as "1" or "NA" are names.
    names = ["arm", "params_sha256", "code_sha256", "sample_id", "class_name", "group_id"]
    table = pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=False)
    if "code_sha256" not in table:  # older than the column; nobody knows
        table["code_sha256"] = ""
    return table


def missing(study: Study) -> list[Run]:
    """The runs that have not been done with the parameters and the code as they are now."""
    found = load(study)
    done = set(found[KEYS].drop_duplicates().itertuples(index=False, name=None))
    return [run for run in runs(study) if run.key not in done]


def with_raw_masks(audited: pd.DataFrame) -> pd.DataFrame:
    """An inventory with the raw masks, and their checksums: masks are cached by those."""
    paths = audited["raw_mask_path"]
    return audited.assign(
        mask_path=paths,
        mask_rule=audited["raw_mask_rule"],
        mask_sha256=[file_sha256(Path(path)) for path in paths],
    )


def score(run: Run, copies_per_photo: int) -> pd.DataFrame:
    """Train and score one run; a row a val image."""
    audited = read_inventory(INVENTORY)
    if copies_per_photo:
        audited = audited.groupby("group_id").head(copies_per_photo)
    inventory = audited
    if run.tree["audit"]["masks"] == "keep":
        inventory = with_raw_masks(audited)
    # Whatever masks it was trained on, it is measured against the audited ones.
    return train_with(run.tree, inventory, audited)[SCORES]


def train_with(
    tree: Mapping[str, Any], inventory: pd.DataFrame, audited: pd.DataFrame
) -> pd.DataFrame:
    """Train with a parameter tree on an inventory, and score val against the audited one."""
    device = devices.select()
    with tempfile.TemporaryDirectory(prefix="partial-", dir=store.folder("studies")) as folder:
        parameters = Path(folder) / "params.yaml"
        parameters.write_text(yaml.safe_dump(dict(tree)), encoding="utf-8")
        wanted = params.load(params.FeaturesParams, parameters)
        backbone = load_backbone(BACKBONE, wanted.layers, devices.precision(device), device)
        extract(inventory, backbone, wanted, Path(folder) / "features", device)
        cache = FeatureCache(Path(folder) / "features")
        manifest = splits.make_manifest(inventory, params.load(params.SplitParams, parameters))
        train_params = params.load(params.TrainParams, parameters)
        # Whatever masks it was trained on, it is measured against the audited ones.
        threshold = params.load(params.EvaluateParams, parameters).threshold
        return train_and_score(audited, manifest, cache, train_params, device, threshold=threshold)[
            SCORES
        ]

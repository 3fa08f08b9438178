"""``fishseg folds``: the folds of a queue of experiments, pooled."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

from fishseg.cli.arguments import Commands, add_command
from fishseg.cli.compare import of_split, read_scores, read_text, repository_root
from fishseg.errors import DataError, ParameterError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

EXAMPLES = """\
  fishseg folds                    all experiments of the last commit that are folds
  fishseg folds cushy-weft main    these revisions only
"""

PARAMS = "params.yaml"
HEADS = ("run", "folds", "images (photographs)", "mean IoU", "boundary IoU")
METRICS = ("iou", "boundary_iou")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fold:
    """One experiment that is a fold.

    Attributes:
        name: of the experiment.
        number: which fold is its val.
        n_folds: how many there are.
        settings: all other parameters, ``section.key`` to its value.
        scores: a row a val image, by its ``sample_id``.
    """

    name: str
    number: int
    n_folds: int
    settings: tuple[tuple[str, str], ...]
    scores: pd.DataFrame


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = add_command(
        commands,
        "folds",
        summary="the folds of a queue of experiments, pooled",
        description="Print a row for each set of experiments that differ in split.fold alone: the\n"
        "mean over the val images of all their folds, each scored by a decoder that never saw its\n"
        "photograph, with a 95% interval by bootstrap over photographs.",
        examples=EXAMPLES,
    )
    command.add_argument(
        "revisions",
        nargs="*",
        metavar="REV",
        help="experiments, commits, branches or tags (default: the experiments of the last commit)",
    )
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    root = repository_root()
    names = options.revisions or _experiments(root)
    folds = [fold for name in dict.fromkeys(names) if (fold := _fold(root, name)) is not None]
    if not folds:
        raise ParameterError(
            "there are no folds to pool",
            where="the experiments of the last commit" if not options.revisions else "these",
            expected="experiments with split.folds above 0 in which the stage evaluate has run",
            remedy="dvc exp run --queue -S split.folds=5 -S 'split.fold=range(0,5)' evaluate; "
            "then dvc queue start",
        )
    runs: dict[tuple[object, ...], list[Fold]] = {}
    for fold in folds:
        runs.setdefault((fold.n_folds, fold.settings), []).append(fold)
    labels = _labels([run[0].settings for run in runs.values()])
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    lines += [_row(label, run) for label, run in zip(labels, runs.values(), strict=True)]
    print("\n".join(lines))
    return 0


def _experiments(root: Path) -> list[str]:
    """The experiments of the last commit, by name."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        found = repo.experiments.ls()
    return sorted(name for experiments in found.values() for name, _ in experiments)


def _fold(root: Path, name: str) -> Fold | None:
    """An experiment as a fold; None where it is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        tree: dict[str, dict[str, Any]] = YAML(typ="safe").load(
            io.StringIO(read_text(root, PARAMS, name))
        )
        n_folds, number = tree["split"].pop("folds"), tree["split"].pop("fold")
        settings = sorted(
            (f"{section}.{key}", str(value))
            for section, values in tree.items()
            for key, value in values.items()
        )
    except (YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"the parameters cannot be read: {type(error).__name__} {error}",
            where=f"{PARAMS} of {name}",
            expected="sections of parameters, as in params.yaml here",
            remedy="name the revisions to pool: fishseg folds REV …",
        ) from None
    if not n_folds:
        return None
    scores = of_split(read_scores(root, name), "val")
    if scores is None:
        raise DataError(
            f"{name} is a fold without scores of its images",
            where=name,
            remedy="run it as far as the stage evaluate, or dvc exp remove it",
        )
    lacking = sorted(set(METRICS) - set(scores))
    if lacking:
        raise DataError(
            f"{name} is a fold of before there was {lacking[0]}",
            where=name,
            remedy="run it anew, or dvc exp remove it",
        )
    return Fold(name=name, number=number, n_folds=n_folds, settings=tuple(settings), scores=scores)


def _labels(all_settings: Sequence[tuple[tuple[str, str], ...]]) -> Iterator[str]:
    """What tells each run from the others; with a single one, nothing needs to."""
    common = set.intersection(*(set(settings) for settings in all_settings))
    for settings in all_settings:
        own = [f"{key}={value}" for key, value in settings if (key, value) not in common]
        yield ", ".join(own) or "all"


def _row(label: str, folds: Sequence[Fold]) -> str:
    """A run's folds, pooled.

    Raises:
        DataError: a fold is there twice, or two folds share an image.
    """
    import pandas as pd

    from fishseg.metrics.bootstrap import bootstrap_interval

    numbers = [fold.number for fold in folds]
    for number in numbers:
        names = [fold.name for fold in folds if fold.number == number]
        if len(names) > 1:
            raise DataError(
                f"fold {number} is there {len(names)} times",
                where=", ".join(names),
                expected="one experiment for each fold",
                remedy="name the revisions to pool: fishseg folds REV …",
            )
    pooled = pd.concat([fold.scores for fold in folds])
    if not pooled.index.is_unique:
        twice = sorted(pooled.index[pooled.index.duplicated()])
        raise DataError(
            f"{len(twice)} images are in the val split of two folds, {twice[0]} among them",
            where=", ".join(fold.name for fold in folds),
            expected="folds of the same data",
            remedy="run them all anew from one commit",
        )
    missing = sorted(set(range(folds[0].n_folds)) - set(numbers))
    told = f"{len(folds)} of {folds[0].n_folds}"
    told += f", without {', '.join(map(str, missing))}" if missing else ""
    cells = [label, told, f"{len(pooled)} ({pooled['group_id'].nunique()})"]
    for metric in METRICS:
        low, high = bootstrap_interval(pooled[metric], pooled["group_id"])
        cells.append(f"{pooled[metric].mean():.3f} [{low:.3f}, {high:.3f}]")
    return f"| {' | '.join(cells)} |"

"""``fishseg compare``: the numbers of two revisions side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fishseg.cli.arguments import Commands, add_command
from fishseg.errors import DataError, ParameterError

if TYPE_CHECKING:
    import argparse

EXAMPLES = """\
  fishseg compare HEAD                    the last commit, and what is here now
  fishseg compare HEAD baseline           the last commit, and the experiment `baseline`
  fishseg compare v1.0 main > change.md   two tags, branches or commits, as a Markdown file
"""

METRICS = "metrics/evaluate.json"
MANIFEST = "data/manifest.csv"
WORKSPACE = "workspace"
SPLITS = ("val", "test")
KEYS = (
    "mean_iou", "boundary_iou", "dataset_iou", "batch8_iou", "dice", "precision", "recall",
    "worst_iou",
)  # fmt: skip

Metrics: TypeAlias = dict[str, Any]


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    compare = add_command(
        commands,
        "compare",
        summary="the numbers of two revisions side by side",
        description="Print how the val and test numbers of two revisions differ, over all images\n"
        "and for each class, and whether the 95% intervals of the mean IoU overlap. A revision is\n"
        "a commit, branch, tag or the name of a DVC experiment.",
        examples=EXAMPLES,
    )
    compare.add_argument("ref", metavar="REF", help="the revision to compare with")
    compare.add_argument(
        "other",
        nargs="?",
        default=WORKSPACE,
        metavar="OTHER",
        help="the revision to look at (default: the files that are here)",
    )
    compare.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the tables."""
    names = (options.ref, options.other)
    before, after = (_metrics(name) for name in names)
    for split in SPLITS:
        if split in before and split in after:
            print(_table(split, names, before[split], after[split]))
            if _images(split, names[0]) != _images(split, names[1]):
                print("They were measured on other images: the difference may come from those.\n")
        elif split in before or split in after:
            print(f"{split}: only {names[split in after]} has it.\n")
    return 0


def _metrics(revision: str) -> Metrics:
    text = _read(METRICS, revision)
    try:
        # A split without images has no metrics.
        tree: Metrics = {
            name: split for name, split in json.loads(text).items() if split["n_images"]
        }
        # Any of these keys missing means that something else wrote the file.
        for split in tree.values():
            split["mean_iou"], split["n_groups"], split["per_class"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"the metrics cannot be read: {type(error).__name__} {error}",
            where=f"{METRICS} of {revision}",
            expected="what the stage evaluate writes",
            remedy="dvc repro evaluate",
        ) from None
    return tree


def _images(split: str, revision: str) -> set[str]:
    """The lines of the manifest that belong to a split."""
    lines = _read(MANIFEST, revision).splitlines()
    return {line for line in lines if line.endswith(f",{split}")}


def _read(path: str, revision: str) -> str:
    """A file that git keeps, as it is in a revision.

    Raises:
        DataError: the revision has no such file.
        ParameterError: there is no such revision, or no repository.
    """
    if revision == WORKSPACE:
        try:
            return Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise _missing(path, revision, str(error.strerror)) from None
    import dvc.api
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.scm import RevError, SCMError

    try:
        # DVC knows the names of experiments, which git itself does not.
        return str(dvc.api.read(path, rev=revision, encoding="utf-8"))
    except RevError:
        raise ParameterError(
            f"there is no revision {revision!r}",
            where="the arguments of fishseg compare",
            expected="a commit, branch, tag or the name of an experiment",
            remedy="git log --oneline and dvc exp list --all-commits show what there is",
        ) from None
    except (NotDvcRepoError, SCMError):
        raise ParameterError(
            "this folder is no repository of git and DVC",
            where=Path.cwd(),
            remedy="run from the root of the repository, where params.yaml lies",
        ) from None
    except (FileNotFoundError, DvcException) as error:
        raise _missing(path, revision, str(error)) from None


def _missing(path: str, revision: str, why: str) -> DataError:
    return DataError(
        f"{revision} has no numbers to compare: {why}",
        where=path,
        expected="a revision in which the stage evaluate has run",
        remedy="dvc repro, then git commit" if revision != WORKSPACE else "dvc repro",
    )


def _table(split: str, names: tuple[str, str], before: Metrics, after: Metrics) -> str:
    """A Markdown table and what to make of it."""
    sizes = [f"{found['n_images']} images ({found['n_groups']} photographs)"
             for found in (before, after)]  # fmt: skip
    lines = [
        f"**{split}**: {' and '.join(dict.fromkeys(sizes))}",
        "",
        f"| | {names[0]} | {names[1]} | difference |",
        "|---|---|---|---|",
    ]
    for key in KEYS:
        lines.append(_row(key, before, after))
    for name in dict.fromkeys([*before["per_class"], *after["per_class"]]):
        classes = (found["per_class"].get(name, {}) for found in (before, after))
        lines.append(_row("mean_iou", *classes, label=name))
    return "\n".join([*lines, "", _verdict(before, after), ""])


def _row(key: str, before: Metrics, after: Metrics, *, label: str = "") -> str:
    old, new = before.get(key), after.get(key)
    difference = "" if old is None or new is None else f"{new - old:+.3f}"
    shown = (_number(found, key) for found in (before, after))
    return f"| {label or key} | {' | '.join(shown)} | {difference} |"


def _number(found: Metrics, key: str) -> str:
    if found.get(key) is None:
        return "–"
    low, high = found.get("iou_ci_low"), found.get("iou_ci_high")
    interval = key == "mean_iou" and low is not None and high is not None
    return f"{found[key]:.3f}" + (f" [{low:.3f}, {high:.3f}]" if interval else "")


def _verdict(before: Metrics, after: Metrics) -> str:
    if before["mean_iou"] == after["mean_iou"]:
        return "mean_iou is the same."
    intervals = [(found.get("iou_ci_low"), found.get("iou_ci_high")) for found in (before, after)]
    (old_low, old_high), (low, high) = intervals
    if old_low is None or old_high is None or low is None or high is None:
        return "One of the two has no interval of its mean IoU, so the difference proves nothing."
    if max(old_low, low) <= min(old_high, high):
        return "The 95% intervals of mean_iou overlap: the difference may be chance."
    return "The 95% intervals of mean_iou do not overlap: the difference is more than chance."

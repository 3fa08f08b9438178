"""``fishseg compare``: the numbers of two revisions side by side."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fishseg.cli.arguments import Commands, add_command
from fishseg.errors import DataError, ParameterError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    import pandas as pd

    from fishseg.metrics.bootstrap import Difference

EXAMPLES = """\
  fishseg compare HEAD                    the last commit, and what is here now
  fishseg compare HEAD baseline           the last commit, and the experiment `baseline`
  fishseg compare v1.0 main > change.md   two tags, branches or commits, as a Markdown file
"""

METRICS = "metrics/evaluate.json"
IMAGES = "metrics/evaluate/images.csv"
NAMES = ("sample_id", "class_name", "group_id")
WORKSPACE = "workspace"
SPLITS = ("val", "test")
KEYS = (
    "mean_iou", "boundary_iou", "dataset_iou", "batch8_iou", "dice", "precision", "recall",
    "worst_iou",
)  # fmt: skip
# Those that are means over images, with the column of each image's score.
PAIRED = {
    "mean_iou": "iou", "boundary_iou": "boundary_iou", "dice": "dice",
    "precision": "precision", "recall": "recall",
}  # fmt: skip

Metrics: TypeAlias = dict[str, Any]


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    compare = add_command(
        commands,
        "compare",
        summary="the numbers of two revisions side by side",
        description="Print how the val and test numbers of two revisions differ, over all images\n"
        "and for each class. Where both were measured on the same images, each difference has a\n"
        "95% interval, paired, by bootstrap over photographs: it says what other photographs\n"
        "would change, not what other seeds would. A revision is a commit, branch, tag or the\n"
        "name of a DVC experiment.",
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
    root = repository_root()
    before, after = (read_metrics(root, name) for name in names)
    tables = [read_scores(root, name) for name in names]
    for split in SPLITS:
        if split in before and split in after:
            pair = Pair(*(of_split(table, split) for table in tables))
            print(_table(split, names, before[split], after[split], pair))
        elif split in before or split in after:
            print(f"{split}: only {names[split in after]} has it.\n")
    return 0


def repository_root() -> Path:
    """The folder that holds the repository this one belongs to: paths count from there."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir():
            return folder
    raise _no_repository()


def read_metrics(root: Path, revision: str) -> Metrics:
    """The numbers of each split that has images, as the stage ``evaluate`` writes them.

    Raises:
        DataError: the revision has none, or they are damaged.
        ParameterError: there is no such revision.
    """
    text = read_text(root, METRICS, revision)
    try:
        # A split without images has no metrics.
        tree: Metrics = {
            name: split
            for name, split in json.loads(text).items()
            if name != "decoder" and split["n_images"]
        }
        # Any of these keys missing means that something else wrote the file.
        for split in tree.values():
            split["mean_iou"], split["n_groups"], split["per_class"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(METRICS, revision, error) from None
    return tree


def read_scores(root: Path, revision: str) -> pd.DataFrame | None:
    """A row an image, by its ``sample_id``; None where the revision has no such table."""
    import pandas as pd

    from fishseg.tables import whole_of

    try:
        text = read_text(root, IMAGES, revision)
    except DataError:
        return None
    try:
        # Names such as "1" or "NA" are names.
        table = pd.read_csv(
            io.StringIO(text), dtype=dict.fromkeys(NAMES, str), keep_default_na=False
        )
        if revision == WORKSPACE:
            table = whole_of(table, root / IMAGES)
        else:
            table = whole_of(table, Path(IMAGES), functools.partial(_of_revision, revision))
        table = table[table["mask_status"] != "rejected"].set_index("sample_id")
        # A revision from before a metric lacks its column.
        known = [column for column in PAIRED.values() if column in table or column == "iou"]
        scores = table[known].astype(float)
        if not table.index.is_unique or scores.isna().to_numpy().any():
            raise ValueError("an image twice, or without a score")
        return table[["group_id", "split"]].join(scores)
    except (ValueError, KeyError) as error:
        raise _unreadable(IMAGES, revision, error) from None


def _of_revision(revision: str, path: Path) -> bytes:
    """A file that DVC keeps, as it is in a revision."""
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        content: bytes = dvc.api.read(path.as_posix(), rev=revision, mode="rb")
    except (DvcException, OSError) as error:
        raise DataError(
            f"{revision} keeps the scores of its images in DVC, and they are not here: {error}",
            where=path,
            remedy="dvc fetch --all-commits brings those of all commits",
        ) from None
    return content


def _unreadable(path: str, revision: str, error: Exception) -> DataError:
    return DataError(
        f"the metrics cannot be read: {type(error).__name__} {error}",
        where=f"{path} of {revision}",
        expected="what the stage evaluate writes",
        remedy="dvc repro evaluate",
    )


def of_split(table: pd.DataFrame | None, split: str) -> pd.DataFrame | None:
    """The images of one split."""
    return None if table is None else table[table["split"] == split]


@dataclasses.dataclass(frozen=True)
class Pair:
    """The images of one split in both revisions; None where a revision has no table of them.

    Attributes:
        before: a row an image, by its ``sample_id``: its photograph, split and scores.
        after: the same of the other revision.
    """

    before: pd.DataFrame | None
    after: pd.DataFrame | None

    def difference(self, column: str) -> Difference | None:
        """Over the images that both have; None where that is not known or there are none.

        Nor where one is of before the ``column``.
        """
        from fishseg.metrics.bootstrap import paired_difference

        if self.before is None or self.after is None:
            return None
        if column not in self.before or column not in self.after:
            return None
        return paired_difference(self.before[column], self.after[column], self._groups())

    def _groups(self) -> pd.Series[str]:
        """The photograph of each image that both have; what either puts together stays so."""
        import pandas as pd

        from fishseg.audit.grouping import merge

        assert self.before is not None and self.after is not None  # noqa: S101, PT018
        shared = self.before.index.intersection(self.after.index)
        groupings = [list(table.loc[shared, "group_id"]) for table in (self.before, self.after)]
        return pd.Series([str(number) for number in merge(groupings)], index=shared, dtype=str)

    @property
    def same_images(self) -> bool:
        """Whether both are known to have been measured on the same images."""
        if self.before is None or self.after is None:
            return False
        return set(self.before.index) == set(self.after.index)


def read_text(root: Path, path: str, revision: str) -> str:
    """A file that git keeps, as it is in a revision.

    Raises:
        DataError: the revision has no such file.
        ParameterError: there is no such revision, or no repository.
    """
    if revision == WORKSPACE:
        try:
            return (root / path).read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise _missing(path, revision, str(error)) from None
    import dvc.api
    import pygit2
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
        raise _no_repository() from None
    except pygit2.GitError as error:
        foreign = "owned" in str(error)
        raise ParameterError(
            f"git does not open this repository: {error}",
            where=root,
            expected="a repository that belongs to you" if foreign else "a sound repository",
            remedy=f"git config --global --add safe.directory '{root}', if you trust it"
            if foreign
            else "git fsck says what is wrong with it",
        ) from None
    except (FileNotFoundError, UnicodeError, DvcException) as error:
        raise _missing(path, revision, str(error)) from None


def _no_repository() -> ParameterError:
    return ParameterError(
        "this folder is no repository of git and DVC",
        where=Path.cwd(),
        remedy="run where params.yaml lies, or in a folder below it",
    )


def _missing(path: str, revision: str, why: str) -> DataError:
    return DataError(
        f"{revision} has no numbers to compare: {why}",
        where=path,
        expected="a revision in which the stage evaluate has run",
        remedy="dvc repro, then git commit" if revision != WORKSPACE else "dvc repro",
    )


def _table(split: str, names: tuple[str, str], before: Metrics, after: Metrics, pair: Pair) -> str:
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
        paired = pair.difference(PAIRED[key]) if key in PAIRED and pair.same_images else None
        lines.append(_row(key, before, after, paired=paired))
    for name in dict.fromkeys([*before["per_class"], *after["per_class"]]):
        classes = (found["per_class"].get(name, {}) for found in (before, after))
        lines.append(_row("mean_iou", *classes, label=name))
    return "\n".join([*lines, "", *_verdict(names, before, after, pair), ""])


def _row(
    key: str, before: Metrics, after: Metrics, *, label: str = "", paired: Difference | None = None
) -> str:
    old, new = before.get(key), after.get(key)
    difference = "" if old is None or new is None else f"{new - old:+z.3f}"
    if paired is not None:
        difference += f" {interval_of(paired)}"
    shown = (number_of(found, key) for found in (before, after))
    return f"| {label or key} | {' | '.join(shown)} | {difference} |"


def number_of(found: Metrics, key: str) -> str:
    """A metric as text, with its interval where it has one."""
    if found.get(key) is None:
        return "–"
    low, high = found.get("iou_ci_low"), found.get("iou_ci_high")
    interval = key == "mean_iou" and low is not None and high is not None
    return f"{found[key]:.3f}" + (f" [{low:.3f}, {high:.3f}]" if interval else "")


def interval_of(paired: Difference) -> str:
    """The 95% interval of a difference as text."""
    return f"[{paired.low:+z.3f}, {paired.high:+z.3f}]"


def _verdict(names: tuple[str, str], before: Metrics, after: Metrics, pair: Pair) -> Iterator[str]:
    """What to make of the difference: paired over the same images, or else the little there is."""
    paired = pair.difference(PAIRED["mean_iou"])
    if pair.before is None or pair.after is None:
        lacking = names[0] if pair.before is None else names[1]
        yield f"{lacking} has no {IMAGES}, so it is not known which images are the same."
    elif not pair.same_images:
        same = paired.n_images if paired else 0
        yield (
            f"They were measured on other images: {len(pair.before)} and {len(pair.after)}, "
            f"of which {same} are the same. The table's differences may come from those."
        )
    yield _unpaired(before, after) if paired is None else _judged(paired)


def _judged(paired: Difference) -> str:
    photographs = "1 photograph" if paired.n_groups == 1 else f"{paired.n_groups} photographs"
    found = (
        f"Over the same {paired.n_images} images ({photographs}), mean_iou changes by "
        f"{paired.mean:+z.3f}, 95% interval {interval_of(paired)}"
    )
    if paired.low == paired.mean == paired.high == 0:
        return f"mean_iou is the same on the same {paired.n_images} images."
    if paired.n_groups == 1:
        return f"{found}: one photograph proves nothing."
    if paired.low <= 0 <= paired.high:
        return f"{found}, which holds 0: the difference may be chance."
    return f"{found}, which leaves out 0: the difference is more than the choice of photographs."


def _unpaired(before: Metrics, after: Metrics) -> str:
    """By the intervals of the two means, which hardly ever tell a small difference from none."""
    intervals = [(found.get("iou_ci_low"), found.get("iou_ci_high")) for found in (before, after)]
    (old_low, old_high), (low, high) = intervals
    if old_low is None or old_high is None or low is None or high is None:
        return "One of the two has no interval of its mean IoU, so the difference proves nothing."
    if max(old_low, low) <= min(old_high, high):
        return "The 95% intervals of mean_iou overlap: the difference may be chance."
    return "The 95% intervals of mean_iou do not overlap: the difference is more than chance."

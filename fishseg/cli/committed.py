"""``fishseg committed``: whether a run gave the committed numbers, and what to do next."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from fishseg.cli.arguments import Commands, add_command
from fishseg.cli.compare import (
    PAIRED,
    SPLITS,
    WORKSPACE,
    Metrics,
    Pair,
    interval_of,
    number_of,
    of_split,
    read_metrics,
    read_scores,
    repository_root,
)
from fishseg.errors import DataError, ParameterError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

EXAMPLES = """\
  fishseg committed     after dvc repro; make repro ends with it
"""

KEYS = ("mean_iou", "boundary_iou")
SAME = "the same"
NOISE = "same within noise"
BEYOND = "beyond the choice of photographs"
UNKNOWN = "not comparable"


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = add_command(
        commands,
        "committed",
        summary="whether the numbers here are the committed ones",
        description="Print the numbers of the last commit beside those that are here, how they\n"
        "differ on the same images with a 95% interval, paired, by bootstrap over photographs,\n"
        "and what to do next. Another processor, another number of threads or another version of\n"
        "torch rounds differently, and a decoder then comes out a little differently.",
        examples=EXAMPLES,
    )
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:  # noqa: ARG001 - every command takes them
    """Print one table and what to do."""
    root = repository_root()
    here = read_metrics(root, WORKSPACE)
    try:
        committed = read_metrics(root, "HEAD")
    except (DataError, ParameterError):
        print("The last commit has no numbers yet: git commit keeps yours.")
        return 0
    tables = [read_scores(root, name) for name in ("HEAD", WORKSPACE)]
    lines = ["| | committed | yours | difference | |", "|---|---|---|---|---|"]
    verdicts = set()
    for split in SPLITS:
        if split in committed and split in here:
            pair = Pair(*(of_split(table, split) for table in tables))
            for key in (key for key in KEYS if key in committed[split]):
                difference, verdict = _judge(key, committed[split], here[split], pair)
                verdicts.add(verdict)
                numbers = (number_of(found[split], key) for found in (committed, here))
                cells = [f"{split} {key}", *numbers, difference, verdict]
                lines.append(f"| {' | '.join(cells)} |")
    print("\n".join([*lines, "", _what_to_do(verdicts, changed=_changed(root))]))
    return 0


def _judge(key: str, committed: Metrics, here: Metrics, pair: Pair) -> tuple[str, str]:
    """How a number differs, and what to make of it."""
    if not pair.same_images:
        return "", UNKNOWN
    paired = pair.difference(PAIRED[key])
    if paired is None:  # the commit is from before this metric
        return "", UNKNOWN
    if paired.low == paired.mean == paired.high == 0 and committed[key] == here[key]:
        return "0", SAME
    within = paired.low <= 0 <= paired.high
    return f"{paired.mean:+z.3f} {interval_of(paired)}", NOISE if within else BEYOND


def _changed(root: Path) -> list[str]:
    """The tracked files that are not as they are committed; none where git is not to be had."""
    try:
        command = ["git", "diff", "--name-only", "HEAD"]
        done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.splitlines()


def _what_to_do(verdicts: set[str], *, changed: list[str]) -> str:
    """What follows from the verdicts, and from whether there is anything to commit."""
    if UNKNOWN in verdicts:
        said = "The images are not those of the last commit, so these numbers cannot be paired."
    elif BEYOND in verdicts and "params.yaml" in changed:
        said = "params.yaml is not the committed one: other parameters, other numbers."
    elif BEYOND in verdicts:
        said = (
            "An interval leaves out 0: other photographs would not explain that. Another seed, or\n"
            "another processor, might: docs/results.md, Chance, says how far seeds lie apart."
        )
    elif NOISE in verdicts:
        said = "Your numbers are the committed ones within noise."
    else:
        said = "Your numbers are the committed ones."
    if not changed:
        return f"{said} Nothing to do."
    differ = (
        "1 tracked file differs" if len(changed) == 1 else f"{len(changed)} tracked files differ"
    )
    return (
        f"{said}\n{differ} from the last commit. Before you experiment, keep your run:\n\n"
        '    git commit --all --message "My run"\n\n'
        "Until then, git restore and dvc checkout would take away what is here."
    )

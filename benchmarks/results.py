"""Write the tables of docs/numbers.md from real runs: ``python -m benchmarks.results``.

The first rows are the run that is checked out (``metrics/``); then come the experiments ``cnn3``
(``make cnn3``) and ``baseline`` (``make baseline``), and the five folds of both decoders from
``experiments/results/``. With ``--real FOLDER`` the decoders are scored on real pictures, too, and
cross-validated on them. Nothing in the tables is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import dvc.api
from dvc.scm import RevError

from experiments import report
from experiments.study import declared, load

README = Path("README.md")
NUMBERS = Path("docs/numbers.md")
HEAD = [
    "| Run | Split | Images (photographs) | mean IoU [95% interval] "
    "| the same, raw masks | IoU in batches of 8 | boundary IoU | Command |",
    "|---|---|---|---|---|---|---|---|",
]
RESULTS = "results: python -m benchmarks.results"
RUNS = (
    ("Defaults", "grouped", None, "`make repro`"),
    ("`cnn3` instead of `detail`", "grouped", "cnn3", "`make cnn3`"),
    ("Baseline's recipe", "random (leaky)", "baseline", "`make baseline`"),
)
TTA = {1: "fishseg score", 8: "fishseg score --tta 8"}
THIN = ("Shrimp", "Black Sea Sprat")


def main() -> None:
    """Gather the numbers and write them between the page's marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="real pictures with masks")
    parser.add_argument(
        "--masks", type=Path, metavar="FOLDER", help="another model's masks of them"
    )
    parser.add_argument(
        "--defaults", action="store_true", help="the rows of the defaults alone; others stay"
    )
    options = parser.parse_args()
    rows = []
    for name, strategy, revision, command in RUNS[:1] if options.defaults else RUNS:
        try:
            metrics = dvc.api.metrics_show("metrics/evaluate.json", rev=revision)
        except RevError:
            sys.exit(f"ERROR: there is no experiment {revision} here: run {command} first")
        rows += [
            row(name, f"sample set, {strategy} {split}", metrics[split], command)
            for split in ("val", "test")
            if metrics[split]["n_images"]
        ]
        if options.real and strategy == "grouped":
            pictures = "real pictures, never trained on"
            for tta, scorer in TTA.items():
                scored = score(options.real, revision, tta)
                rows.append(row(name, pictures, scored, f"`{scorer}`"))
    if options.defaults:
        _, before, _ = _parted(RESULTS, NUMBERS)
        others = tuple(f"| {name} |" for name, *_ in RUNS[1:])
        rows += [line for line in before.splitlines() if line.startswith(others)]
    write_between_marks(RESULTS, [*HEAD, *rows], NUMBERS)
    if options.defaults:
        return
    write_between_marks("folds: python -m experiments decoders", folds(), NUMBERS)
    if options.real:
        arguments = ["crossvalidate", str(options.real), "--tta", str(max(TTA))]
        if options.masks:
            arguments += ["--masks", str(options.masks)]
        table = fishseg(*arguments).replace(str(options.masks), "the starting project's")
        write_between_marks("crossvalidate: fishseg crossvalidate", table.splitlines(), NUMBERS)


def score(folder: Path, revision: str | None, tta: int) -> dict[str, Any]:
    """What ``fishseg score`` says of a folder, with the decoder of a revision."""
    with tempfile.TemporaryDirectory() as scratch:
        decoder = Path("data/decoder")
        if revision:
            decoder = Path(scratch) / "decoder"
            get = ["dvc", "get", ".", "data/decoder", "--rev", revision, "--out", str(decoder)]
            subprocess.run(get, check=True)
        scored: dict[str, Any] = json.loads(
            fishseg("score", str(folder), "--decoder", str(decoder), "--tta", str(tta))
        )
    return scored


def fishseg(*arguments: str) -> str:
    """What a command of fishseg prints."""
    command = [sys.executable, "-m", "fishseg", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def folds() -> list[str]:
    """The table of both decoders over five folds, with the classes that are thin."""
    study = declared()["decoders"]
    images = load(study)
    heads = ["decoder", "mean IoU [95% interval]", "boundary IoU [95% interval]", *THIN]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for found in report.summarise(study).to_dict("records"):
        mine = images[images["arm"] == found["arm"]]
        cells = [f"`{found['arm']}`"]
        for metric in report.METRICS:
            interval = f"{found[f'{metric}_low']:.3f}, {found[f'{metric}_high']:.3f}"
            cells.append(f"**{found[metric]:.3f}** [{interval}]")
        cells += [f"{mine.loc[mine['class_name'] == name, 'iou'].mean():.3f}" for name in THIN]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def row(name: str, split: str, metrics: dict[str, Any], command: str) -> str:
    """A row of the table."""
    interval = f"{metrics['iou_ci_low']:.3f}, {metrics['iou_ci_high']:.3f}"
    cells = [
        name,
        split,
        f"{metrics['n_images']} ({metrics['n_groups']})",
        f"**{metrics['mean_iou']:.3f}** [{interval}]",
        f"{metrics.get('raw_mask_iou', metrics['mean_iou']):.3f}",
        f"{metrics['batch8_iou']:.3f}",
        f"{metrics['boundary_iou']:.3f}",
        command,
    ]
    return f"| {' | '.join(cells)} |"


def write_between_marks(name: str, lines: list[str], page: Path = README) -> None:
    """Replace what stands in a page between the marks ``name`` and its first word."""
    before, _, after = _parted(name, page)
    page.write_text(before + "\n".join(["", *lines, ""]) + after, encoding="utf-8")


def _parted(name: str, page: Path) -> tuple[str, str, str]:
    """A page: up to the mark ``name`` and with it, what stands between, and the rest."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name.partition(':')[0]} -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    between, after = rest.split(end)
    return before + begin, between, end + after


if __name__ == "__main__":
    main()

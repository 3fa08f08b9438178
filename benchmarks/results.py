"""Write the README's table of results from real runs: ``python -m benchmarks.results``.

The first row is the run that is checked out (``metrics/``); the second is the experiment
``baseline`` (``make baseline``); with ``--real FOLDER`` the checked-out decoder is scored on real
pictures, too. Nothing in the table is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dvc.api

README = Path("README.md")
HEAD = [
    "| Run | Split | Images (photographs) | mean IoU [95% interval] "
    "| the same, masks as they came | IoU in batches of 8 | boundary IoU | Command |",
    "|---|---|---|---|---|---|---|---|",
]


def main() -> None:
    """Gather the numbers and write them between the README's marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="real pictures with masks")
    real = parser.parse_args().real
    rows = []
    for name, strategy, revision, command in (
        ("Defaults", "grouped", None, "`make repro`"),
        ("Baseline's recipe", "random (leaky)", "baseline", "`make baseline`"),
    ):
        metrics = dvc.api.metrics_show("metrics/evaluate.json", rev=revision)
        rows += [
            row(name, f"sample set, {strategy} {split}", metrics[split], command)
            for split in ("val", "test")
            if metrics[split]["n_images"]
        ]
    if real:
        scored = score(real)
        rows.append(
            row("Defaults", "twelve real pictures, never trained on", scored, "`fishseg score`")
        )
    write_between_marks("results: python -m benchmarks.results", [*HEAD, *rows])


def score(folder: Path) -> dict[str, Any]:
    """What ``fishseg score`` says of a folder."""
    command = [sys.executable, "-m", "fishseg.cli", "score", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    scored: dict[str, Any] = json.loads(done.stdout)
    return scored


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


def write_between_marks(name: str, lines: list[str]) -> None:
    """Replace what stands in the README between the marks ``name`` and its first word."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name.partition(':')[0]} -->"
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    README.write_text(before + "\n".join([begin, *lines, end]) + after, encoding="utf-8")


if __name__ == "__main__":
    main()

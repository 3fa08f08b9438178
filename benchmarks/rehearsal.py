"""A rehearsal of the Kaggle set: ``make rehearsal``.

Draws as many photographs and copies as that set has, at its size and with 3% wrong masks, and runs
every stage at full size in a clean clone of this commit with a store of its own, one after the
other. Writes into docs/performance.md what each stage took (time, core-seconds, peak memory of its
processes together, disk afterwards), the numbers by split, how many wrong masks were found, and
which parameters were changed. A run of fewer pictures is printed and not written::

    python -m benchmarks.rehearsal --photographs 18 --copies 5 train.epochs=2

With ``--folder`` the clone stays, and a rehearsal that was stopped goes on with the stage that it
was at.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import resource
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml

from benchmarks.cost import bytes_on_disk
from benchmarks.results import write_between_marks
from benchmarks.timing import machine
from benchmarks.verify import environment_of, make_clone
from fishseg.tables import SPLITS, read_inventory

PAGE = Path("docs/performance.md")
PHOTOGRAPHS, COPIES, CLASSES = 450, 20, 9
WRONG_MASK_SHARE = 0.03
MEMORY_GB = 3  # of features, and no more, however much is free
_SAMPLED_EVERY_S = 0.2


@dataclasses.dataclass(frozen=True)
class Taken:
    """What a stage took, `dvc` included; ``disk`` is what lies there afterwards, in bytes."""

    stage: str
    seconds: float
    core_seconds: float
    peak_bytes: int
    disk_bytes: int


def main() -> None:
    """Run every stage, print, and write where the run was of full size."""
    options = _parse_arguments()
    changes = [
        f"data.photos_per_class={options.photographs // CLASSES}",
        f"data.copies_per_photo={options.copies}",
        f"data.wrong_mask_share={WRONG_MASK_SHARE}",
        *options.changes,
    ]
    with contextlib.ExitStack() as stack:
        folder = options.folder or stack.enter_context(tempfile.TemporaryDirectory())
        clone = Path(folder) / "run" / "clone"
        environment = environment_of(clone) if clone.exists() else make_clone(clone, changes)
        # As docs/scale.md advises for large sets: what the store holds is not copied.
        link = ["dvc", "config", "--local", "cache.type", "hardlink,reflink,copy"]
        subprocess.run(link, cwd=clone, env=environment, check=True)
        environment["FISHSEG_MEMORY_GB"] = f"{MEMORY_GB}"
        stages = yaml.safe_load((clone / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        log = clone.parent / "taken.json"
        taken = [Taken(**one) for one in json.loads(log.read_text("utf-8"))] if log.exists() else []
        for stage in list(stages)[len(taken) :]:  # each stands behind those that it needs
            taken.append(run_stage(stage, clone, environment))
            log.write_text(json.dumps([dataclasses.asdict(one) for one in taken]), encoding="utf-8")
            print(_row(taken[-1]), flush=True)
        lines = [*tabulate(taken), "", *_numbers(clone), "", *_found(clone, taken)]
        if options.changes:
            changed = ", ".join(f"`{change}`" for change in options.changes)
            lines += ["", f"Parameters changed: {changed}."]
    print("\n".join(lines))
    if (options.photographs, options.copies) == (PHOTOGRAPHS, COPIES):
        write_between_marks("rehearsal: python -m benchmarks.rehearsal", lines, PAGE)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--photographs", type=int, default=PHOTOGRAPHS, help="a multiple of 9")
    parser.add_argument("--copies", type=int, default=COPIES, help="of each photograph")
    parser.add_argument("--folder", type=Path, help="where the clone shall be, and stay")
    parser.add_argument("changes", nargs="*", metavar="section.key=value")
    options = parser.parse_args()
    if options.photographs < CLASSES or options.photographs % CLASSES:
        parser.error(f"--photographs must be a multiple of the {CLASSES} classes")
    return options


def run_stage(stage: str, clone: Path, environment: dict[str, str]) -> Taken:
    """Run one stage of a clone as `dvc repro` does, and watch it."""
    before = _core_seconds()
    started = time.perf_counter()
    command = ["dvc", "repro", "--force", "--single-item", stage]
    peak = watch(command, clone, environment)
    return Taken(
        stage=stage,
        seconds=time.perf_counter() - started,
        core_seconds=_core_seconds() - before,
        peak_bytes=peak,
        disk_bytes=bytes_on_disk([clone, clone.parent / "store"]),
    )


def watch(command: list[str], folder: Path, environment: dict[str, str]) -> int:
    """Run a command; the most that it and the processes under it held at once, in bytes.

    Pages that several of them share count for each: it is not less than what was needed.
    """
    peak = 0
    ended = threading.Event()
    with subprocess.Popen(command, cwd=folder, env=environment) as process:

        def sample() -> None:
            nonlocal peak
            root = psutil.Process(process.pid)
            while not ended.wait(_SAMPLED_EVERY_S):
                peak = max(peak, _resident(root))

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            status = process.wait()
        finally:
            ended.set()
            sampler.join()
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return peak


def _resident(root: psutil.Process) -> int:
    total = 0
    try:
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.Error:  # one has ended meanwhile
        return 0
    return total


def _core_seconds() -> float:
    """Of all processes that this one, and those under it, waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tabulate(taken: list[Taken]) -> list[str]:
    """A row a stage."""
    return [
        "| stage | minutes | core-seconds | peak memory, GB | disk afterwards, GB |",
        "|---|--:|--:|--:|--:|",
        *(_row(one) for one in taken),
    ]


def _row(taken: Taken) -> str:
    cells = [
        f"`{taken.stage}`",
        f"{taken.seconds / 60:.1f}",
        f"{taken.core_seconds:.0f}",
        f"{taken.peak_bytes / 1e9:.2f}",
        f"{taken.disk_bytes / 1e9:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _numbers(clone: Path) -> list[str]:
    scores: dict[str, Any] = json.loads((clone / "metrics/evaluate.json").read_text("utf-8"))
    rows = [
        f"| {split} | {found['n_images']} ({found['n_groups']}) | {found['mean_iou']:.3f} "
        f"| {found['boundary_iou']:.3f} |"
        for split in SPLITS
        if (found := scores[split])["n_images"]
    ]
    return [
        "| split | images (photographs) | mean IoU | boundary IoU |",
        "|---|--:|--:|--:|",
        *rows,
    ]


def _found(clone: Path, taken: list[Taken]) -> list[str]:
    """How well the audit did, against a truth that the pipeline never reads, and at what cost."""
    truth = pd.read_csv(clone / "data/raw/truth.csv", dtype={"sample_id": str})
    table = read_inventory(clone / "data/inventory.csv").set_index("sample_id")
    wrong = truth.loc[truth["mask_wrong"] == 1, "sample_id"]
    flagged = table.index[table["mask_status"].isin(["repaired", "rejected"])]
    right = flagged.isin(wrong)
    per_copy = {one.stage: one.core_seconds / len(table) for one in taken}
    where = machine()
    return [
        f"{len(table)} copies of {truth['photo'].nunique()} photographs. "
        f"{int(right.sum())} of {len(wrong)} wrong masks were found, and {int((~right).sum())} "
        f"right ones taken for wrong. Core-seconds a copy: audit {per_copy['audit']:.3f}, features "
        f"{per_copy['features']:.3f}. On {where['cores']} cores of {where['cpu']}, "
        f"Python {where['python']}.",
    ]


if __name__ == "__main__":
    main()

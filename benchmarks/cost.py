"""What a run takes and leaves: ``python -m benchmarks.cost``.

Runs the pipeline in a clean clone of this commit with a store of its own and writes into the README
how long that took, what lies on the disk afterwards, and on which machine. Parameters can be
changed for a shorter run, which is then printed and not written::

    python -m benchmarks.cost train.epochs=2 data.photos_per_class=3
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from benchmarks.results import README, write_between_marks
from benchmarks.timing import machine
from benchmarks.verify import run_in


def main() -> None:
    """Run, measure, print, and write the table into the README."""
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "run" / "clone"
        started = time.perf_counter()
        run_in(clone, sys.argv[1:])
        minutes = (time.perf_counter() - started) / 60
        run = bytes_on_disk([clone, clone.parent / "store"])
    environment = bytes_on_disk([Path(sys.prefix)])
    packages = {distribution.name for distribution in metadata.distributions()}
    where = machine()
    table = [
        "| | |",
        "|---|---|",
        f"| `make repro`, once installed | {minutes:.0f} minutes |",
        f"| disk: the environment | {environment / 1e9:.1f} GB, {len(packages)} packages |",
        f"| disk: data, cache and store of the default run | {run / 1e9:.1f} GB |",
        f"| measured on | {where['cores']} cores of {where['cpu']}, Python {where['python']} |",
    ]
    print("\n".join(table))
    if not sys.argv[1:]:
        write_between_marks("cost: python -m benchmarks.cost", table, README)


def bytes_on_disk(folders: Iterable[Path]) -> int:
    """What folders take, where a file that has several names counts once."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                stat = path.stat()
                found[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(found.values())


if __name__ == "__main__":
    main()

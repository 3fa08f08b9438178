"""Whether the pipeline gives the same bytes twice: ``make verify``.

Runs it in two clean clones of this commit with stores of their own, so that nothing is shared but
the downloads' sources, and compares ``dvc.lock``, ``metrics/`` and ``plots/`` byte for byte.
Parameters can be changed for a shorter run::

    python -m benchmarks.verify train.epochs=2 data.photos_per_class=3

It holds where both runs have the same device, number of threads and versions (`requirements.lock`):
on a CPU, and on a CUDA GPU, where torch is asked for deterministic algorithms.
"""

from __future__ import annotations

import filecmp
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[1]
COMPARED = ("dvc.lock", "metrics", "plots")

log = logging.getLogger("verify")


def main() -> None:
    """Run twice, compare, and exit 1 where a file differs."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as name:
        clones = [Path(name) / number / "clone" for number in ("one", "two")]
        for clone in clones:
            run_in(clone, sys.argv[1:])
        found = [files(clone) for clone in clones]
        differing = sorted(
            path
            for path in found[0] | found[1]
            if not all((clone / path).is_file() for clone in clones)
            or not filecmp.cmp(clones[0] / path, clones[1] / path, shallow=False)
        )
    if differing:
        sys.exit("\n".join(["these files differ between two runs:", *map(str, differing)]))
    log.info("%d files are the same bytes in both runs", len(found[0]))


def run_in(clone: Path, changes: list[str]) -> None:
    """Run the whole pipeline, forced, in a fresh clone."""
    environment = make_clone(clone, changes)
    subprocess.run(["dvc", "repro", "--force"], cwd=clone, env=environment, check=True)


def make_clone(clone: Path, changes: list[str]) -> dict[str, str]:
    """A fresh clone with parameters changed, and the environment to run in, its own store in it."""
    clone.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    path = clone / "params.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    for change in changes:
        key, value = change.split("=", 1)
        section, name = key.split(".")
        tree[section][name] = yaml.safe_load(value)
    if changes:
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return environment_of(clone)


def environment_of(clone: Path) -> dict[str, str]:
    """What a clone is run in: this Python's programs, a store beside it."""
    programs = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "FISHSEG_STORE": str(clone.parent / "store"),
    }


def files(clone: Path) -> set[Path]:
    """What is compared, as paths from the clone's root."""
    listed = (
        path
        for name in COMPARED
        for path in [clone / name, *(clone / name).rglob("*")]
        if path.is_file()
    )
    return {path.relative_to(clone) for path in listed}


if __name__ == "__main__":
    main()

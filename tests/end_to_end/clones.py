"""Clones of this repository to run `dvc` in, as a newcomer would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]

SMALL: dict[str, dict[str, Any]] = {
    "data": {"photos_per_class": 3, "copies_per_photo": 1},
    "features": {"megapixels": 0.0168, "layers": [-2, -1], "batch_size": 4, "shard_size": 5},
    "train": {"epochs": 3},
    "evaluate": {"bootstrap_samples": 50},
    "report": {"gallery_random": 2},
    "robustness": {"images": 1, "corruptions": 1},
}


def in_clone(clone: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in a clone, with this interpreter's programs first on the path."""
    done = subprocess.run(
        command, cwd=clone, env=environment(clone), capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def environment(clone: Path) -> dict[str, str]:
    programs = Path(sys.executable).parent
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "FISHSEG_STORE": str(clone.parent / f"{clone.name}-store"),
        "FISHSEG_DEVICE": "cpu",
        "PYTHONPATH": "",
    }


def clone_repository(clone: Path, changes: dict[str, dict[str, Any]]) -> Path:
    """A git clone of the working tree as it is, with parameters changed and committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = REPOSITORY / name
        if name and source.is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, clone / name)
    path = clone / "params.yaml"
    tree = yaml.safe_load(path.read_text())
    for section, values in changes.items():
        tree[section] |= values
    path.write_text(yaml.safe_dump(tree))
    (clone / "dvc.lock").unlink(missing_ok=True)
    in_clone(clone, "git", "init", "--quiet", "--initial-branch=main")
    in_clone(clone, "git", "config", "user.email", "test@example.org")
    in_clone(clone, "git", "config", "user.name", "test")
    commit(clone, "start")
    return clone


def commit(clone: Path, message: str) -> None:
    in_clone(clone, "git", "add", "--all")
    in_clone(clone, "git", "commit", "--quiet", "--allow-empty", "--message", message)


def stages_run(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The stages whose command was run, rather than skipped or taken from the run cache."""
    return set(re.findall(r"Running stage '(\w+)'", done.stdout))


BEHIND_TRAIN = {"train", "evaluate", "classify", "robustness", "report"}

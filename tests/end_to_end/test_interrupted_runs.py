"""A run that is killed loses next to nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from clones import environment, in_clone

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stage", ["features", "train"])
def test_a_killed_run_finishes_with_the_bits_of_an_undisturbed_one(
    finished: Path, tmp_path: Path, stage: str
) -> None:
    clone = tmp_path / "killed"
    in_clone(finished, "git", "clone", "--quiet", str(finished), str(clone))
    (clone / "dvc.lock").unlink()
    in_clone(clone, "dvc", "repro", {"features": "split", "train": "features"}[stage])
    if stage == "features":
        in_clone(clone, "dvc", "repro", "backbone")
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=clone,
        env=environment(clone),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    store = clone.parent / "killed-store"
    finished_files = {"features": "shards/*.safetensors", "train": "training/*/state.pt"}[stage]
    # All shards of masks and two of features; or one checkpoint.
    n_shards = len(json.loads((finished / "data/features/index.json").read_text())["shards"])
    wanted = {"features": n_shards + 2, "train": 1}[stage]
    while process.poll() is None and len(list(store.glob(finished_files))) < wanted:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    in_clone(clone, "dvc", "repro", "evaluate")
    # The lock lists stages in the order of their first run, which is another one here.
    killed, undisturbed = (
        yaml.safe_load((run / "dvc.lock").read_text())["stages"] for run in (clone, finished)
    )
    ran = {"download", "backbone", "audit", "split", "features", "train", "evaluate"}
    assert killed == {name: undisturbed[name] for name in ran}

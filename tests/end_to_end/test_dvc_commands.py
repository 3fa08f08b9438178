"""The pipeline as a newcomer runs it: real `dvc` commands in a fresh clone.

All in one file, so that one clone in which the pipeline has run does for all of them.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
import yaml
from clones import BEHIND_TRAIN, commit, environment, in_clone, stages_run
from transformers import DINOv3ConvNextConfig, DINOv3ConvNextModel

pytestmark = pytest.mark.slow


def test_a_run_leaves_numbers_pictures_and_a_clean_status(finished: Path) -> None:
    assert "up to date" in in_clone(finished, "dvc", "status").stdout
    assert in_clone(finished, "git", "status", "--short").stdout == ""
    evaluated = json.loads((finished / "metrics/evaluate.json").read_text())
    assert evaluated["train"]["n_images"] == evaluated["val"]["n_images"] == 9
    assert 0 < evaluated["val"]["mean_iou"] <= 1
    audited = json.loads((finished / "metrics/audit.json").read_text())
    assert audited["n_groups"] == audited["n_photos"] == 27
    pictures = {path.relative_to(finished).as_posix() for path in finished.glob("plots/**/*.png")}
    assert {
        "plots/evaluate/gallery_worst.png",
        "plots/train/1_train_loss_per_step.png",
        "plots/robustness/severity.png",
    } <= pictures
    assert "<html" in (finished / "data/report/index.html").read_text(encoding="utf-8")
    manifest = pd.read_csv(finished / "data/manifest.csv")
    assert manifest.groupby("class_name")["split"].nunique().eq(3).all()


def test_nothing_tracked_depends_on_the_machine(finished: Path) -> None:
    tracked = in_clone(finished, "git", "ls-files", "metrics", "plots", "data", "dvc.lock").stdout
    for name in tracked.splitlines():
        content = (finished / name).read_bytes()
        assert str(finished).encode() not in content
        assert b"cpu" not in content or name.endswith(".png")


def test_a_second_run_does_nothing(finished: Path) -> None:
    assert stages_run(in_clone(finished, "dvc", "repro")) == set()


def test_a_forced_run_gives_the_same_lock(finished: Path) -> None:
    before = (finished / "dvc.lock").read_bytes()
    shutil.rmtree(finished.parent / "finished-store" / "shards")
    done = in_clone(finished, "dvc", "repro", "--force")
    assert len(stages_run(done)) == 10
    assert (finished / "dvc.lock").read_bytes() == before
    assert in_clone(finished, "git", "status", "--short").stdout == ""


def test_an_experiment_runs_what_its_parameter_touches(finished: Path) -> None:
    done = in_clone(
        finished, "dvc", "exp", "run", "--name", "slow", "-S", "train.learning_rate=1e-5"
    )
    assert stages_run(done) == BEHIND_TRAIN
    difference = json.loads(in_clone(finished, "dvc", "metrics", "diff", "--json").stdout)
    assert "val.mean_iou" in difference["metrics/summary.json"]
    # Of one photograph a species nothing is learned: `classify` has no numbers here.
    assert "mean_iou_retained" in in_clone(finished, "dvc", "metrics", "show").stdout
    split = in_clone(finished, "dvc", "exp", "run", "--name", "other", "-S", "split.seed=7")
    assert stages_run(split) == {"split"} | BEHIND_TRAIN
    table = json.loads(in_clone(finished, "dvc", "exp", "show", "--json").stdout)
    assert {"slow", "other"} <= set(re.findall(r'"name": "(\w+)"', json.dumps(table)))
    plots = in_clone(finished, "dvc", "plots", "diff", "HEAD", "slow", "--out", "dvc_plots").stdout
    assert "index.html" in plots
    in_clone(finished, "git", "reset", "--quiet", "--hard")
    in_clone(finished, "dvc", "checkout", "--quiet")


def test_a_queue_of_four_runs_two_at_a_time(finished: Path) -> None:
    rates = "0.0001,0.0003,0.003,0.01"
    changed = ("-S", f"train.learning_rate={rates}")
    in_clone(finished, "dvc", "exp", "run", "--queue", *changed, "evaluate")
    with queue_workers(finished, 2):
        for _ in range(200):
            status = in_clone(finished, "dvc", "queue", "status").stdout
            if not re.search(r"Running|Queued", status):
                break
            # Another process works; there is nothing to wait on but its status, and asking costs
            # what it could work with.
            time.sleep(5)
    assert len(re.findall(r"Success", status)) == 4, status


@contextlib.contextmanager
def queue_workers(clone: Path, number: int) -> Iterator[None]:
    """DVC's workers, and none of them afterwards: now and then one stays when all is done."""
    # They would keep a pipe to this process open, too.
    subprocess.run(
        ["dvc", "queue", "start", "--jobs", str(number)],
        cwd=clone,
        env=environment(clone),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    try:
        yield
    finally:
        for worker in workers_of(clone):
            try:
                worker.wait(timeout=30)  # it sees an empty queue within ten seconds, and ends
            except psutil.TimeoutExpired:
                worker.kill()


def workers_of(clone: Path) -> Iterator[psutil.Process]:
    for path in (clone / ".dvc/tmp/exps/celery").glob("*.pid"):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(path.read_text()))
            if "queue-worker" in process.cmdline():
                yield process


def test_a_convnext_runs_through_all_stages(finished: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = DINOv3ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])
    DINOv3ConvNextModel(config).save_pretrained(tmp_path / "convnext")
    done = in_clone(
        finished,
        *("dvc", "exp", "run", "--temp", "--name", "convnext"),
        *("-S", f"backbone.name={tmp_path / 'convnext'}", "-S", "features.layers=[-2,-1]"),
    )
    assert stages_run(done) == {"backbone", "features"} | BEHIND_TRAIN


def test_a_user_s_mistake_is_one_message(finished: Path) -> None:
    done = in_clone(finished, "dvc", "exp", "run", "-S", "train.decoder=cnn4", check=False)
    assert done.returncode != 0
    assert "one of detail, cnn3, linear" in done.stderr
    assert "Traceback" not in done.stderr
    in_clone(finished, "git", "reset", "--quiet", "--hard")
    in_clone(finished, "dvc", "checkout", "--quiet")  # DVC had made room for what would have come


def test_results_travel_through_a_remote(finished: Path, tmp_path: Path) -> None:
    """What docs/dvc.md tells people to type, with a folder as the remote."""
    shared, clone = tmp_path / "shared", tmp_path / "clone"
    in_clone(finished, "git", "clone", "--quiet", str(finished), str(shared))
    in_clone(shared, "git", "config", "user.email", "test@example.org")
    in_clone(shared, "git", "config", "user.name", "test")
    in_clone(shared, "dvc", "cache", "dir", "--local", str(finished / ".dvc/cache"))
    in_clone(shared, "dvc", "remote", "add", "--default", "team", str(tmp_path / "remote"))
    commit(shared, "remote")
    assert "pushed" in in_clone(shared, "dvc", "push").stdout
    in_clone(shared, "gto", "register", "fish-decoder", "--version", "v1.0.0")

    in_clone(shared, "git", "clone", "--quiet", str(shared), str(clone))
    in_clone(clone, "dvc", "pull", "data/decoder")
    assert not (clone / "data/features").exists()
    in_clone(clone, "dvc", "pull")
    assert "up to date" in in_clone(clone, "dvc", "status").stdout
    assert stages_run(in_clone(clone, "dvc", "repro")) == set()

    got = ("dvc", "artifacts", "get", str(shared), "fish-decoder", "--rev", "v1.0.0")
    in_clone(tmp_path, *got, "--out", "decoder")
    for name in ("decoder.json", "decoder.safetensors"):
        expected = (finished / "data/decoder" / name).read_bytes()
        assert (tmp_path / "decoder" / name).read_bytes() == expected
        assert (clone / "data/decoder" / name).read_bytes() == expected


def test_a_saved_run_comes_back_whatever_the_committed_lock_names(
    finished: Path, tmp_path: Path
) -> None:
    """A clone whose bits differ: the committed lock names a decoder that no cache here has."""
    clone = tmp_path / "clone"
    in_clone(finished, "git", "clone", "--quiet", str(finished), str(clone))
    in_clone(clone, "git", "config", "user.email", "test@example.org")
    in_clone(clone, "git", "config", "user.name", "test")
    in_clone(clone, "dvc", "cache", "dir", "--local", str(finished / ".dvc/cache"))
    in_clone(clone, "dvc", "checkout", "--quiet")
    lock = (clone / "dvc.lock").read_text()
    ours = re.search(r"path: data/decoder\n\s+hash: md5\n\s+md5: (\w+)\.dir", lock)
    assert ours is not None
    (clone / "dvc.lock").write_text(lock.replace(ours[1], "a" * 32))
    commit(clone, "another machine")
    (clone / "dvc.lock").write_text(lock)
    decoder = (clone / "data/decoder/decoder.safetensors").read_bytes()

    in_clone(clone, "dvc", "exp", "save", "-n", "mine")
    in_clone(clone, "git", "restore", ".")
    assert in_clone(clone, "dvc", "checkout", check=False).returncode != 0
    assert not (clone / "data/decoder").exists()
    in_clone(clone, "dvc", "exp", "apply", "mine")
    assert (clone / "data/decoder/decoder.safetensors").read_bytes() == decoder
    assert "up to date" in in_clone(clone, "dvc", "status").stdout
    again = in_clone(clone, "dvc", "exp", "save", "-n", "mine", check=False)
    assert again.returncode != 0, "a name that is taken replaces nothing"


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

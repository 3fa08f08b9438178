"""The pipeline as a newcomer runs it: real `dvc` commands in a fresh clone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from transformers import DINOv3ConvNextConfig, DINOv3ConvNextModel, DINOv3ViTConfig, DINOv3ViTModel

REPOSITORY = Path(__file__).parents[1]
pytestmark = pytest.mark.slow

SMALL: dict[str, dict[str, Any]] = {
    "data": {"photos_per_class": 3, "copies_per_photo": 1},
    "features": {"image_size": 112, "layers": [-2, -1], "batch_size": 4, "shard_size": 5},
    "train": {"epochs": 3},
    "evaluate": {"bootstrap_samples": 50, "gallery_random": 2},
    "robustness": {"images": 1},
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


BEHIND_TRAIN = {"train", "evaluate", "robustness", "report"}


@pytest.fixture(scope="module")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv3 ViT with four registers and random weights, in the hub's format."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hub") / "vit"
    config = DINOv3ViTConfig(
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_register_tokens=4,
        image_size=64,
        patch_size=16,
    )
    DINOv3ViTModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_vit: Path) -> Path:
    """A clone in which the small pipeline has run and is committed."""
    clone = tmp_path_factory.mktemp("clones") / "finished"
    clone_repository(clone, {**SMALL, "backbone": {"name": str(tiny_vit)}})
    in_clone(clone, "dvc", "repro")
    commit(clone, "run")
    return clone


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
        "plots/evaluate/pictures/gallery_worst.png",
        "plots/train/curves/1_train_loss_per_step.png",
        "plots/robustness/pictures/severity.png",
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
    assert len(stages_run(done)) == 9
    assert (finished / "dvc.lock").read_bytes() == before
    assert in_clone(finished, "git", "status", "--short").stdout == ""


def test_an_experiment_runs_what_its_parameter_touches(finished: Path) -> None:
    done = in_clone(
        finished, "dvc", "exp", "run", "--name", "slow", "-S", "train.learning_rate=1e-5"
    )
    assert stages_run(done) == BEHIND_TRAIN
    difference = json.loads(in_clone(finished, "dvc", "metrics", "diff", "--json").stdout)
    assert "val.mean_iou" in difference["metrics/evaluate.json"]
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
    in_clone(finished, "dvc", "exp", "run", "--queue", "-S", f"train.learning_rate={rates}")
    in_clone(finished, "dvc", "queue", "start", "--jobs", "2")
    for _ in range(900):
        status = in_clone(finished, "dvc", "queue", "status").stdout
        if not re.search(r"Running|Queued", status):
            break
        time.sleep(1)  # another process works; there is nothing to wait on but its status
    assert len(re.findall(r"Success", status)) == 4, status


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
    store = clone.parent / "killed-store" / {"features": "shards", "train": "training"}[stage]
    # All shards of masks and two of features; or one checkpoint.
    n_shards = len(json.loads((finished / "data/features/index.json").read_text())["shards"])
    wanted = {"features": n_shards + 2, "train": 1}[stage]
    while process.poll() is None and (
        not store.is_dir() or sum(path.suffix != ".partial" for path in store.iterdir()) < wanted
    ):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    in_clone(clone, "dvc", "repro")
    # The lock lists stages in the order of their first run, which is another one here.
    killed, undisturbed = (
        yaml.safe_load((run / "dvc.lock").read_text()) for run in (clone, finished)
    )
    assert killed == undisturbed


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


def test_the_default_backbone_learns_fish(tmp_path: Path) -> None:
    """A quarter of the default set at full resolution: the real weights do what they are for."""
    clone = clone_repository(
        tmp_path / "default",
        {"data": {"photos_per_class": 3, "copies_per_photo": 2}, "train": {"epochs": 20}},
    )
    in_clone(clone, "dvc", "repro", "evaluate")
    evaluated = json.loads((clone / "metrics/evaluate.json").read_text())
    assert evaluated["val"]["mean_iou"] > 0.8
    assert evaluated["val"]["iou_ci_low"] <= evaluated["val"]["mean_iou"]

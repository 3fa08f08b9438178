from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from fishseg import cli

MANIFEST = "sample_id,class_name,group_id,split\nTrout/1,Trout,a,train\nTrout/2,Trout,b,val\n"


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def split(mean: float, low: float | None, high: float | None, **classes: float) -> dict[str, Any]:
    return {
        "mean_iou": mean,
        "iou_ci_low": low,
        "iou_ci_high": high,
        "dice": 0.5,
        "n_images": 9,
        "n_groups": 3,
        "per_class": {name: {"mean_iou": value} for name, value in classes.items()},
    }


def write(**splits: dict[str, Any]) -> None:
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/evaluate.json").write_text(json.dumps(splits))


def commit(**splits: dict[str, Any]) -> None:
    write(**splits)
    git("add", "--all")
    git("commit", "--quiet", "--message", "numbers")


@pytest.fixture
def repository(workspace: Path) -> Path:
    """A repository whose HEAD has a val of 0.9 [0.88, 0.92] and a test of 0.8 [0.7, 0.85]."""
    git("init", "--quiet")
    Repo.init().close()
    Path("data").mkdir()
    Path("data/manifest.csv").write_text(MANIFEST)
    commit(
        val=split(0.9, 0.88, 0.92, trout=0.95, shrimp=0.7), test=split(0.8, 0.7, 0.85, trout=0.8)
    )
    return workspace


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["compare", *arguments])
    if stopped.value.code:
        return str(stopped.value.code)
    return capsys.readouterr().out


def test_differences_of_all_images_and_of_each_class(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(val=split(0.95, 0.93, 0.96, trout=0.94, sea_bass=0.9), test=split(0.82, 0.7, 0.9))
    text = said(capsys, "HEAD")
    assert "| | HEAD | workspace | difference |" in text
    assert "| mean_iou | 0.900 [0.880, 0.920] | 0.950 [0.930, 0.960] | +0.050 |" in text
    assert "| trout | 0.950 | 0.940 | -0.010 |" in text
    assert "| shrimp | 0.700 | – |  |" in text
    assert "| sea_bass | – | 0.900 |  |" in text


def test_it_says_whether_intervals_overlap(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(val=split(0.95, 0.93, 0.96), test=split(0.82, 0.7, 0.9))
    val, test = said(capsys, "HEAD").split("**test**")
    assert "do not overlap" in val
    assert "overlap: the difference may be chance" in test
    write(val=split(0.95, None, None))
    text = said(capsys, "HEAD")
    assert "proves nothing" in text
    assert "test: only HEAD has it." in text


def test_equal_numbers_are_called_the_same(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "HEAD")
    assert text.count("mean_iou is the same.") == 2
    assert "other images" not in text


def test_other_images_are_pointed_out_where_they_are(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data/manifest.csv").write_text(MANIFEST.replace("train", "val"))
    val, test = said(capsys, "HEAD").split("**test**")
    assert "measured on other images" in val
    assert "measured on other images" not in test


def test_two_commits_and_an_experiment_by_its_name(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = git("rev-parse", "HEAD")
    commit(val=split(0.7, 0.6, 0.75))
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/narrow-loss", "HEAD")
    git("reset", "--quiet", "--hard", first)
    text = said(capsys, "HEAD", "narrow-loss")
    assert "| | HEAD | narrow-loss | difference |" in text
    assert "| 0.700 [0.600, 0.750] | -0.200 |" in text
    assert said(capsys, first[:10], "narrow-loss").count("-0.200") == 1


def test_an_unknown_revision(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no revision 'tomorrow'" in said(capsys, "tomorrow")
    assert "there is no revision 'tomorrow'" in said(capsys, "HEAD", "tomorrow")


def test_a_revision_without_numbers(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git("rm", "--quiet", "metrics/evaluate.json")
    git("commit", "--quiet", "--message", "none")
    assert "HEAD has no numbers to compare" in said(capsys, "HEAD", "HEAD~1")
    assert "workspace has no numbers to compare" in said(capsys, "HEAD~1")


@pytest.mark.parametrize("damaged", ["{", "[]", '{"val": 3}', '{"val": {"mean_iou": 1}}'])
def test_damaged_numbers(
    repository: Path, capsys: pytest.CaptureFixture[str], damaged: str
) -> None:
    Path("metrics/evaluate.json").write_text(damaged)
    assert "the metrics cannot be read" in said(capsys, "HEAD")


def test_a_folder_that_is_no_repository(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "this folder is no repository of git and DVC" in said(capsys, "HEAD")


def test_a_split_without_images_is_one_the_revision_does_not_have(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(val=split(0.95, 0.93, 0.96), test={"n_images": 0, "n_groups": 0})
    text = said(capsys, "HEAD")
    assert "**val**" in text
    assert "test: only HEAD has it." in text

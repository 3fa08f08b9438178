from __future__ import annotations

from pathlib import Path

import pytest
from dvc.repo import Repo
from numbers_repository import Scores, changed, commit, git, scored, split, write

from fishseg import cli

VAL: Scores = {"1": ("a", 0.90), "2": ("b", 0.92), "3": ("c", 0.88)}


def numbers(mean: float) -> dict[str, object]:
    return {**split(mean, mean - 0.02, mean + 0.02), "boundary_iou": mean}


@pytest.fixture
def repository(workspace: Path) -> Path:
    git("init", "--quiet")
    Repo.init().close()
    scored(val=VAL)
    commit(val=numbers(0.9))
    return workspace


def said(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["committed"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_the_same_numbers_ask_for_nothing(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys)
    assert "| val mean_iou | 0.900 [0.880, 0.920] | 0.900 [0.880, 0.920] | 0 | the same |" in text
    assert "Nothing to do." in text


def test_noise_is_called_noise_and_is_to_be_committed(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored(val=changed(VAL, 0.01, -0.01, 0))
    write(val=numbers(0.9))
    text = said(capsys)
    # The worst draws are one photograph three times.
    assert "| +0.000 [-0.010, +0.010] | same within noise |" in text
    assert "1 tracked file differs from the last commit" in text
    assert "git commit --all" in text


def test_what_photographs_do_not_explain(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored(val=changed(VAL, -0.1, -0.1, -0.1))
    write(val=numbers(0.8))
    text = said(capsys)
    assert "| -0.100 [-0.100, -0.100] | beyond the choice of photographs |" in text
    assert "An interval leaves out 0" in text
    assert "2 tracked files differ from the last commit" in text


def test_other_parameters_are_named_as_the_reason(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("params.yaml").write_text("train: {epochs: 1}\n")
    git("add", "--all")
    git("commit", "--quiet", "--message", "parameters")
    Path("params.yaml").write_text("train: {epochs: 2}\n")
    scored(val=changed(VAL, -0.1, -0.1, -0.1))
    write(val=numbers(0.8))
    assert "other parameters, other numbers" in said(capsys)


def test_other_images_are_not_paired(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored(val={"9": ("z", 0.9)})
    text = said(capsys)
    assert "|  | not comparable |" in text
    assert "cannot be paired" in text


def test_a_commit_without_numbers(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git("rm", "--quiet", "--cached", "metrics/evaluate.json")
    git("commit", "--quiet", "--message", "none")
    assert said(capsys) == "The last commit has no numbers yet: git commit keeps yours.\n"

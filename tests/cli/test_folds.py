from __future__ import annotations

from pathlib import Path

import pytest
from dvc.repo import Repo
from numbers_repository import Scores, as_experiment, commit, git, scored, split

from fishseg import cli
from fishseg.cli import compare

# Of three folds the val images: two copies of one photograph, one of another, …
FOLDS: list[Scores] = [
    {"1": ("a", 0.9), "2": ("a", 0.7)},
    {"3": ("b", 0.6)},
    {"4": ("c", 1.0)},
]


def parameters(fold: int, *, folds: int = 3, decoder: str = "detail") -> None:
    Path("params.yaml").write_text(
        f"split: {{folds: {folds}, fold: {fold}}}\ntrain: {{decoder: {decoder}}}\n"
    )


@pytest.fixture
def repository(workspace: Path) -> Path:
    """A repository whose last commit is no fold."""
    git("init", "--quiet")
    Repo.init().close()
    parameters(0, folds=0)
    scored(val={"1": ("a", 0.5)})
    commit(val=split(0.5, 0.4, 0.6))
    return workspace


def experiment(
    name: str, number: int, val: Scores | None = None, *, decoder: str = "detail"
) -> None:
    first = git("rev-parse", "HEAD")
    parameters(number, decoder=decoder)
    scored(val=val or FOLDS[number], train={"9": ("z", 0)})
    commit(val=split(0.9, 0.8, 1))
    as_experiment(name, first)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["folds", *arguments])
    if stopped.value.code:
        return str(stopped.value.code)
    return capsys.readouterr().out


def test_the_val_images_of_all_folds_count_once(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        experiment(f"fold-{number}", number)
    rows = said(capsys).splitlines()[2:]
    # (0.9 + 0.7 + 0.6 + 1.0) / 4; the lowest draw is photograph b alone, the highest c alone.
    assert rows == ["| all | 3 of 3 | 4 (3) | 0.800 [0.600, 1.000] | 0.800 [0.600, 1.000] |"]


def test_runs_are_told_apart_by_what_differs_and_lacking_folds_are_named(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        experiment(f"fold-{number}", number)
    experiment("thin", 1, {"3": ("b", 0.5)}, decoder="cnn3")
    rows = said(capsys).splitlines()[2:]
    assert rows[0].startswith("| train.decoder=detail | 3 of 3 |")
    assert rows[1] == (
        "| train.decoder=cnn3 | 1 of 3, without 0, 2 | 1 (1) "
        "| 0.500 [0.500, 0.500] | 0.500 [0.500, 0.500] |"
    )


def test_a_fold_that_is_there_twice_is_not_chosen_from(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment("once", 0)
    experiment("again", 0)
    text = said(capsys)
    assert "fold 0 is there 2 times" in text
    assert "again, once" in text
    assert "| all | 1 of 3, without 1, 2 | 2 (1) | 0.800" in said(capsys, "once")


def test_folds_that_share_an_image(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment("fold-0", 0)
    experiment("fold-1", 1, {**FOLDS[1], "2": ("a", 0.7)})
    assert "1 images are in the val split of two folds, 2 among them" in said(capsys)


def test_a_fold_from_before_a_metric(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment("fold-0", 0)
    monkeypatch.setattr(compare, "PAIRED", {"mean_iou": "iou"})
    assert "fold-0 is a fold of before there was boundary_iou" in said(capsys)


def test_no_folds(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there are no folds to pool" in said(capsys)
    assert "there is no revision 'nowhere'" in said(capsys, "nowhere")

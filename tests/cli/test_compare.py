from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from dvc.repo import Repo
from numbers_repository import as_experiment, changed, commit, git, scored, split, write

from fishseg import cli, tables

VAL = {"1": ("a", 0.90), "2": ("a", 0.92), "3": ("b", 0.88)}
TEST = {"4": ("c", 0.80), "5": ("d", 0.78), "6": ("e", 0.82)}


@pytest.fixture
def repository(workspace: Path) -> Path:
    """A repository whose HEAD has a val of 0.9 [0.88, 0.92] and a test of 0.8 [0.7, 0.85]."""
    git("init", "--quiet")
    Repo.init().close()
    scored(val=VAL, test=TEST)
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
    scored(val=changed(VAL, 0.04, 0.05, 0.06), test=TEST)
    text = said(capsys, "HEAD")
    assert "| | HEAD | workspace | difference |" in text
    assert (
        "| mean_iou | 0.900 [0.880, 0.920] | 0.950 [0.930, 0.960] | +0.050 [+0.045, +0.060] |"
        in text
    )
    assert "| trout | 0.950 | 0.940 | -0.010 |" in text
    assert "| shrimp | 0.700 | – |  |" in text
    assert "| sea_bass | – | 0.900 |  |" in text


def test_the_same_images_are_compared_in_pairs(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(val=split(0.9133, 0.89, 0.93), test=split(0.8, 0.7, 0.9))
    scored(val=changed(VAL, 0.01, 0.02, 0.01), test=changed(TEST, 0.02, -0.02, 0.0))
    val, test = said(capsys, "HEAD").split("**test**")
    # Photographs a (+0.015 on two images) and b (+0.01 on one): 0.04 / 3, drawn together or not.
    assert (
        "| mean_iou | 0.900 [0.880, 0.920] | 0.913 [0.890, 0.930] | +0.013 [+0.010, +0.015] |"
        in (val)
    )
    assert (
        "Over the same 3 images (2 photographs), mean_iou changes by +0.013, 95% interval "
        "[+0.010, +0.015], which leaves out 0" in val
    )
    assert "changes by +0.000, 95% interval [-0.0" in test
    assert "which holds 0: the difference may be chance" in test


def test_copies_that_one_revision_alone_knows_of_are_one_photograph(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(val=split(0.91, 0.89, 0.93))
    apart = changed(VAL, 0.01, 0.02, 0.01)
    scored(val={name: (name, iou) for name, (_, iou) in apart.items()})
    assert "3 images (2 photographs), mean_iou" in said(capsys, "HEAD")
    scored(val={name: ("z" if group == "b" else name, iou) for name, (group, iou) in apart.items()}
           | {"2": ("z", 0.94)})  # fmt: skip
    assert "3 images (1 photograph), mean_iou" in said(capsys, "HEAD")
    assert "one photograph proves nothing" in said(capsys, "HEAD")


def test_equal_numbers_are_called_the_same(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "HEAD")
    assert text.count("mean_iou is the same on the same 3 images.") == 2
    assert "other images" not in text


def test_other_images_are_pointed_out_and_the_shared_ones_compared(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(val=split(0.95, 0.93, 0.96), test=split(0.82, 0.7, 0.9))
    more = {**changed(VAL, 0.01, 0.01, 0.02), "7": ("f", 0.99)}
    scored(val=more, test={"8": ("g", 0.8), "9": ("h", 0.84)})
    val, test = said(capsys, "HEAD").split("**test**")
    assert "measured on other images: 3 and 4, of which 3 are the same" in val
    assert "| +0.050 |" in val  # of other images: no interval belongs to it
    assert "Over the same 3 images (2 photographs), mean_iou changes by +0.013" in val
    assert "measured on other images: 3 and 2, of which 0 are the same" in test
    assert "overlap: the difference may be chance" in test


def test_rejected_masks_are_no_part_of_the_numbers(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored(val={**VAL, "0": ("a", 0.1)}, test=TEST)
    table = Path("metrics/evaluate/images.csv")
    table.write_text(table.read_text().replace("0,Trout,a,ok", "0,Trout,a,rejected"))
    assert "mean_iou is the same on the same 3 images." in said(capsys, "HEAD")


def test_without_scores_of_each_image_intervals_are_all_there_is(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("metrics/evaluate/images.csv").unlink()
    write(val=split(0.95, 0.93, 0.96), test=split(0.82, 0.7, 0.9))
    val, test = said(capsys, "HEAD").split("**test**")
    assert "workspace has no metrics/evaluate/images.csv" in val
    assert "do not overlap" in val
    assert "overlap: the difference may be chance" in test
    write(val=split(0.95, None, None))
    text = said(capsys, "HEAD")
    assert "proves nothing" in text
    assert "test: only HEAD has it." in text


def test_scores_of_many_images_come_out_of_dvc(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above a number of rows git has a summary, and DVC the table."""
    path, whole = Path("metrics/evaluate/images.csv"), Path("data/predictions/images.parquet")
    scores = pd.read_csv(path, dtype={"sample_id": str})
    whole.parent.mkdir(parents=True)
    monkeypatch.setattr(tables, "MOST_CSV_ROWS", 2)
    for gain in (0.0, 0.01):
        table = scores.assign(iou=scores["iou"] + gain)
        tables.write_table(table, path, whole, by=["split"], means=["iou"])
        with Repo() as dvc:
            dvc.add("data/predictions")
        git("add", "--all")
        git("commit", "--quiet", "--message", "many")
    for revisions in (["HEAD~1"], ["HEAD~1", "HEAD"]):
        assert "[+0.010, +0.010]" in said(capsys, *revisions)
    whole.write_bytes(b"other")
    assert "not the one of its summary" in said(capsys, "HEAD~1")


def test_a_revision_from_before_a_metric(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Path("metrics/evaluate/images.csv")
    before = said(capsys, "HEAD")
    table.write_text(table.read_text().replace("dice", "other", 1))
    after = said(capsys, "HEAD")
    assert after != before
    assert [line for line in after.splitlines() if "dice" not in line] == [
        line for line in before.splitlines() if "dice" not in line
    ]


@pytest.mark.parametrize("damage", ["group_id", ",0.9,", "\n2,"])
def test_a_damaged_table_of_scores(
    repository: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    table = Path("metrics/evaluate/images.csv")
    replacement = {"group_id": "photo", ",0.9,": ",much,", "\n2,": "\n1,"}[damage]
    table.write_text(table.read_text().replace(damage, replacement, 1))
    text = said(capsys, "HEAD")
    assert "the metrics cannot be read" in text
    assert "images.csv of workspace" in text


def test_a_folder_below_the_root_will_do(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "docs/deeper").mkdir(parents=True)
    here = said(capsys, "HEAD")
    monkeypatch.chdir("docs/deeper")
    assert said(capsys, "HEAD") == here


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give")
def test_a_repository_of_another_owner(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 4321, 4321)
    text = said(capsys, "HEAD")
    assert f"git config --global --add safe.directory '{repository}'" in text


def test_a_broken_repository(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(".git/HEAD").write_text("nonsense")
    assert "Traceback" not in said(capsys, "HEAD")


def test_two_commits_and_an_experiment_by_its_name(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = git("rev-parse", "HEAD")
    scored(val=changed(VAL, -0.2, -0.2, -0.2))
    commit(val=split(0.7, 0.6, 0.75))
    as_experiment("narrow-loss", first)
    text = said(capsys, "HEAD", "narrow-loss")
    assert "| | HEAD | narrow-loss | difference |" in text
    assert "| 0.700 [0.600, 0.750] | -0.200 [-0.200, -0.200] |" in text
    assert said(capsys, first[:10], "narrow-loss").count("| -0.200") == 1


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

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from experiments import report, study
from fishseg import params, store
from fishseg.errors import ParameterError
from fishseg.store import file_sha256

REPOSITORY = Path(__file__).parents[1]
STUDIES = study.declared()


@pytest.mark.parametrize("name", STUDIES)
def test_every_declared_run_has_valid_parameters(name: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    keys = []
    for run in study.runs(STUDIES[name]):
        path.write_text(yaml.safe_dump(dict(run.tree)))
        params.load(params.SplitParams, path)
        params.load(params.FeaturesParams, path)
        params.load(params.TrainParams, path)
        assert run.tree["split"]["fold"] == run.fold
        seeds = [change for change in run.overrides if change.startswith("train.seed=")]
        assert seeds[0] == f"train.seed={run.seed}"
        # An arm's own seed comes last, and wins.
        assert seeds[-1] == f"train.seed={run.tree['train']['seed']}"
        keys.append(run.key)
    assert len(set(keys)) == len(keys)


def test_only_what_matters_tells_runs_apart() -> None:
    def key(*overrides: str) -> tuple[str, int, int, str, str]:
        arms = {"arm": list(overrides)}
        (run,) = study.runs(dataclasses.replace(STUDIES["losses"], arms=arms, runs=[(0, 0)]))
        return run.key

    assert key("features.batch_size=3") == key()
    assert key("train.wise_ft_alpha=0.5") == key()
    assert key("train.epochs=3") != key()
    going_on = "train.init_from=decoder"
    assert key(going_on, "train.wise_ft_alpha=0.5") != key(going_on)


def test_an_override_of_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = dataclasses.replace(STUDIES["losses"], arms={"a": ["train.colour=1"]})
    with pytest.raises(ParameterError, match=r"train\.colour"):
        list(study.runs(wrong))


def test_raw_masks_are_not_taken_for_audited_ones(tmp_path: Path) -> None:
    raw, repaired = tmp_path / "raw.png", tmp_path / "repaired.png"
    raw.write_bytes(b"raw")
    repaired.write_bytes(b"repaired")
    row = {"mask_path": str(repaired), "raw_mask_path": str(raw)}
    row |= {"mask_rule": ">127", "raw_mask_rule": "not 0"}
    audited = pd.DataFrame([{**row, "mask_sha256": file_sha256(repaired)}])
    (found,) = study.with_raw_masks(audited).to_dict("records")
    assert found["mask_path"] == str(raw)
    assert found["mask_rule"] == "not 0"
    assert found["mask_sha256"] == file_sha256(raw)  # the cache goes by it


def rows(arm: str, fold: int, ious: dict[str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "arm": arm,
            "fold": fold,
            "seed": fold,
            "params_sha256": "x",
            "sample_id": list(ious),
            "class_name": "Trout",
            "group_id": [name[0] for name in ious],
            "iou": list(ious.values()),
            "boundary_iou": [iou / 2 for iou in ious.values()],
        }
    )


def test_arms_are_compared_on_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    two = dataclasses.replace(STUDIES["losses"], arms={"old": [], "new": ["train.loss=bce"]})
    table = pd.concat(
        [
            rows("old", 0, {"a1": 0.5, "a2": 0.7}),
            rows("old", 1, {"b1": 0.9}),
            rows("new", 0, {"a1": 0.6, "a2": 0.8}),  # the fold of b is not done yet
        ]
    )
    table.to_csv(two.results, index=False)
    summary = report.summarise(two).set_index("arm")
    assert summary.loc["old", "iou"] == pytest.approx(0.7)
    assert summary.loc["new", "iou_gain"] == pytest.approx(0.1)
    assert summary.loc["new", "iou_gain_low"] == pytest.approx(0.1)
    assert summary.loc["new", "boundary_iou_gain"] == pytest.approx(0.05)
    assert summary.loc["old", "n_runs"] == 2
    assert summary.loc["old", "iou_run_std"] == pytest.approx(0.15 * 2**0.5)


def test_runs_with_other_parameters_are_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "store"))
    arms = {"a": [], "b": ["train.epochs=9"]}
    small = dataclasses.replace(STUDIES["losses"], runs=[(0, 0)], arms=arms)
    calls = []

    def fake(run: study.Run, copies_per_photo: int) -> pd.DataFrame:
        calls.append((run.arm, run.tree["train"]["loss"]))
        return rows(run.arm, run.fold, {"a1": 0.5})[study.SCORES]

    monkeypatch.setattr(study, "score", fake)
    table = study.complete(small)
    assert list(table["arm"]) == ["a", "b"]
    study.complete(small)
    changed = dataclasses.replace(small, arms={"a": [], "b": ["train.loss=bce"]})
    table = study.complete(changed)
    assert [arm for arm, _ in calls] == ["a", "b", "b"]
    assert calls[-1] == ("b", "bce")
    assert list(pd.read_csv(small.results)["arm"]) == ["a", "b"]


def test_a_run_of_two_studies_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "store"))
    calls = []

    def fake(run: study.Run, copies_per_photo: int) -> pd.DataFrame:
        calls.append((run.arm, copies_per_photo))
        return rows(run.arm, run.fold, {"a1": 0.5})[study.SCORES]

    monkeypatch.setattr(study, "score", fake)
    first = dataclasses.replace(STUDIES["losses"], runs=[(0, 0)], arms={"defaults": []})
    second = dataclasses.replace(first, name="layers", arms={"6 and 12": []})
    other = dataclasses.replace(first, name="labels", copies_per_photo=5)
    study.complete(first)
    assert list(study.complete(second)["arm"]) == ["6 and 12"]
    study.complete(other)
    first.results.unlink()
    study.complete(first)
    assert calls == [("defaults", first.copies_per_photo), ("defaults", 5)]


@pytest.mark.parametrize(
    ("file", "old", "new", "missing"),
    [
        ("fishseg/training/losses.py", "import annotations", "import annotations\n\nONE = 1", True),
        (
            "fishseg/evaluation/scoring.py",
            "import annotations",
            "import annotations\nONE = 1",
            True,
        ),
        ("experiments/study.py", "KEYS = [", "ONE = 1\nKEYS = [", True),
        ("fishseg/training/losses.py", '"""', '"""Said otherwise: ', False),
        ("fishseg/plots/style.py", "import annotations", "import annotations\n\nONE = 1", False),
    ],
)
def test_changed_code_makes_a_run_missing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    old: str,
    new: str,
    missing: bool,
) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "store"))
    for package in ("fishseg", "experiments"):
        shutil.copytree(store.SOURCES / package, tmp_path / "code" / package)
    monkeypatch.setattr(store, "SOURCES", tmp_path / "code")
    calls = []

    def fake(run: study.Run, copies_per_photo: int) -> pd.DataFrame:
        calls.append(run.arm)
        return rows(run.arm, run.fold, {"a1": 0.5})[study.SCORES]

    monkeypatch.setattr(study, "score", fake)
    small = dataclasses.replace(STUDIES["losses"], runs=[(0, 0)], arms={"a": []})
    study.complete(small)
    assert study.missing(small) == []
    text = (tmp_path / "code" / file).read_text()
    assert old in text
    (tmp_path / "code" / file).write_text(text.replace(old, new, 1))
    store._code_sha256.cache_clear()
    assert bool(study.missing(small)) == missing
    study.complete(small)
    assert len(calls) == 1 + missing
    assert list(pd.read_csv(small.results)["arm"]) == ["a"]


def test_runs_of_unknown_code_are_shown_and_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    small = dataclasses.replace(STUDIES["losses"], runs=[(0, 0)], arms={"a": []})
    (run,) = study.runs(small)
    old = rows("a", 0, {"a1": 0.5}).assign(params_sha256=run.key[3])
    old.to_csv(small.results, index=False)
    assert report.summarise(small)["n_runs"].tolist() == [1]
    assert study.missing(small) == [run]


def test_the_deviation_of_a_single_run_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    lone = dataclasses.replace(STUDIES["losses"], arms={"old": []})
    once = rows("old", 0, {"a1": 0.5, "b1": 0.7})
    for table, shown in ((once, False), (pd.concat([once, rows("old", 1, {"c1": 0.9})]), True)):
        table.to_csv(lone.results, index=False)
        section = report._section(lone, report.summarise(lone))
        assert "nan" not in section
        assert ("±" in section) == shown

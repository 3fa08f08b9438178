from __future__ import annotations

import itertools
import logging
from pathlib import Path

import pandas as pd
import pytest

from fishseg import splits, tables
from fishseg.errors import DataError
from fishseg.params import SplitParams


def inventory(groups: dict[str, int], copies: int = 5, classes: int = 3) -> pd.DataFrame:
    """``classes`` classes, each with the groups of the given names and so many copies each."""
    rows = [
        (f"c{number}/{group}-{copy}", f"c{number}", f"c{number}/{group}", "ok")
        for number in range(classes)
        for group in groups
        for copy in range(groups[group] * copies)
    ]
    return pd.DataFrame(rows, columns=["sample_id", "class_name", "group_id", "mask_status"])


def params(**changes: object) -> SplitParams:
    values: dict[str, object] = {
        "strategy": "grouped",
        "val_fraction": 0.2,
        "test_fraction": 0.2,
        "folds": 0,
        "fold": 0,
        "held_out_class": "",
        "train_photos_per_class": 0,
        "seed": 3,
    }
    return SplitParams(**{**values, **changes})  # type: ignore[arg-type]


TEN = dict.fromkeys("abcdefghij", 1)


def test_shares_are_kept_in_every_class_and_no_group_crosses() -> None:
    manifest = splits.make_manifest(inventory(TEN), params())
    shares = manifest.groupby(["class_name", "split"]).size().unstack()
    assert (shares["train"] == 30).all()
    assert (shares["val"] == 10).all()
    assert (shares["test"] == 10).all()
    assert splits.leaking_groups(manifest) == []
    assert list(manifest.columns) == tables.MANIFEST_COLUMNS
    assert manifest["sample_id"].is_monotonic_increasing


def test_groups_of_unequal_size_come_close_to_the_shares() -> None:
    manifest = splits.make_manifest(
        inventory({"a": 9, "b": 3, "c": 2, "d": 2, "e": 2, "f": 2}), params()
    )
    shares = manifest["split"].value_counts(normalize=True)
    assert abs(shares["train"] - 0.6) <= 0.06
    assert abs(shares["val"] - 0.2) <= 0.06


def test_random_splits_samples_and_leaks() -> None:
    manifest = splits.make_manifest(inventory(TEN), params(strategy="random"))
    assert manifest["split"].value_counts().to_dict() == {"train": 90, "val": 30, "test": 30}
    assert splits.leaking_groups(manifest)
    assert splits.summary(manifest)["val_leak"] > 0.8
    assert splits.summary(splits.make_manifest(inventory(TEN), params()))["val_leak"] == 0


def test_the_seed_decides_and_nothing_else() -> None:
    table = inventory(TEN)
    shuffled = table.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        splits.make_manifest(table, params()), splits.make_manifest(shuffled, params())
    )
    other = splits.make_manifest(table, params(seed=4))
    assert not other.equals(splits.make_manifest(table, params()))


def test_every_group_is_val_in_one_fold_and_test_stays() -> None:
    folds = [splits.make_manifest(inventory(TEN), params(folds=4, fold=fold)) for fold in range(4)]
    vals = [set(fold.loc[fold["split"] == "val", "group_id"]) for fold in folds]
    tests = [set(fold.loc[fold["split"] == "test", "group_id"]) for fold in folds]
    assert all(not one & other for one, other in itertools.combinations(vals, 2))
    assert all(held_out == tests[0] for held_out in tests)
    assert set.union(*vals) | tests[0] == set(inventory(TEN)["group_id"])
    assert all(len(val) == 6 for val in vals)


def test_folds_without_test_use_everything() -> None:
    fold = splits.make_manifest(inventory(TEN), params(folds=5, fold=2, test_fraction=0))
    assert fold["split"].value_counts().to_dict() == {"train": 120, "val": 30}


def test_a_class_too_small_to_be_split_goes_to_train_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    small = inventory({"only": 1}, classes=1).assign(class_name="rare")
    small["group_id"] = small["sample_id"] = "rare/" + small["sample_id"]
    table = pd.concat([inventory(TEN), small])
    table.loc[table["class_name"] == "rare", "group_id"] = "rare/1"
    with caplog.at_level(logging.WARNING):
        manifest = splits.make_manifest(table, params())
    assert (manifest.loc[manifest["class_name"] == "rare", "split"] == "train").all()
    assert "rare" in caplog.text
    assert "too few" in caplog.text


def test_the_smallest_class_that_can_be_split_is() -> None:
    manifest = splits.make_manifest(inventory({"a": 1, "b": 1, "c": 1}), params())
    assert manifest.groupby("class_name")["split"].nunique().tolist() == [3, 3, 3]


def test_nothing_to_validate_on_is_an_error() -> None:
    with pytest.raises(DataError, match="val split is empty"):
        splits.make_manifest(inventory({"a": 1}), params())


def test_a_group_that_spans_classes_stays_together() -> None:
    table = inventory(TEN)
    table.loc[table["group_id"] == "c1/a", "group_id"] = "c0/a"
    manifest = splits.make_manifest(table, params())
    assert manifest.loc[manifest["group_id"] == "c0/a", "split"].nunique() == 1


def test_rejected_samples_are_left_out() -> None:
    table = inventory(TEN)
    table.loc[0, "mask_status"] = "rejected"
    assert table.loc[0, "sample_id"] not in set(splits.make_manifest(table, params())["sample_id"])


def test_the_manifest_survives_the_file(tmp_path: Path) -> None:
    table = inventory(TEN)
    table["class_name"] = table["class_name"].replace("c0", "NA")
    manifest = splits.make_manifest(table, params())
    tables.write_manifest(manifest, tmp_path / "manifest.csv")
    pd.testing.assert_frame_equal(tables.read_manifest(tmp_path / "manifest.csv"), manifest)


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", "sample_id,class_name,group_id,split\na,b,c,d\n"]
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "manifest.csv"
    with pytest.raises(DataError, match="dvc repro split"):
        tables.read_manifest(path)
    path.write_text(content)
    with pytest.raises(DataError, match="manifest"):
        tables.read_manifest(path)


def test_a_held_out_class_is_val_and_the_others_are_not() -> None:
    plain = splits.make_manifest(inventory(TEN), params())
    manifest = splits.make_manifest(inventory(TEN), params(held_out_class="c1"))
    assert set(manifest.loc[manifest["split"] == "val", "class_name"]) == {"c1"}
    assert set(manifest.loc[manifest["class_name"] == "c1", "split"]) == {"val"}
    tested = manifest[manifest["split"] == "test"]
    assert set(tested["sample_id"]) == set(
        plain.loc[(plain["split"] == "test") & (plain["class_name"] != "c1"), "sample_id"]
    )


@pytest.mark.parametrize(("misfiled", "into"), [("c1", "c0"), ("c0", "c1")])
def test_a_misfiled_copy_is_held_out_with_its_photograph(
    misfiled: str, into: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = inventory(TEN)
    one = table.index[table["class_name"] == misfiled][0]
    table.loc[one, "class_name"] = into
    group = table.loc[one, "group_id"]
    manifest = splits.make_manifest(table, params(held_out_class="c1"))
    assert splits.leaking_groups(manifest) == []
    assert set(manifest.loc[manifest["class_name"] == "c1", "split"]) == {"val"}
    assert set(manifest.loc[manifest["group_id"] == group, "split"]) == {"val"}
    val = manifest[manifest["split"] == "val"]
    n_others = (val["class_name"] != "c1").sum()
    assert n_others == (1 if misfiled == "c1" else 4)
    assert f"{n_others} samples of other classes" in caplog.text


def test_the_only_class_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match=r"'c0' is held out.*it is the only one") as caught:
        splits.make_manifest(inventory(TEN, classes=1), params(held_out_class="c0"))
    assert "split.held_out_class=" in str(caught.value.remedy)


def test_a_class_cannot_be_held_out_where_all_others_are_copies_of_it() -> None:
    table = inventory(TEN, classes=2)
    table["group_id"] = table["group_id"].str.replace("c1", "c0")
    with pytest.raises(DataError, match="all others show its photographs"):
        splits.make_manifest(table, params(held_out_class="c1"))


def test_a_held_out_class_is_found_however_its_accents_are_written() -> None:
    table = inventory(TEN)
    table["class_name"] = table["class_name"].replace("c1", "Br\u00e8me")
    manifest = splits.make_manifest(table, params(held_out_class="Bre\u0300me"))
    assert set(manifest.loc[manifest["split"] == "val", "class_name"]) == {"Br\u00e8me"}


def test_a_held_out_class_must_exist() -> None:
    with pytest.raises(DataError, match="no class 'Eel'"):
        splits.make_manifest(inventory(TEN), params(held_out_class="Eel"))


def test_fewer_training_photographs_are_a_part_of_more() -> None:
    whole = splits.make_manifest(inventory(TEN), params())
    kept: list[set[str]] = []
    for n_photos in (1, 2, 5):
        manifest = splits.make_manifest(inventory(TEN), params(train_photos_per_class=n_photos))
        train = manifest[manifest["split"] == "train"]
        assert (train.groupby("class_name")["group_id"].nunique() == n_photos).all()
        assert (train.groupby("group_id").size() == 5).all()
        kept.append(set(train["sample_id"]))
        rest = whole[whole["split"] != "train"].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            manifest[manifest["split"] != "train"].reset_index(drop=True), rest
        )
    assert kept[0] < kept[1] < kept[2]

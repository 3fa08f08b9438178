"""The inventory: what is usable, what is left out and why, and its way through a file."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fishseg.audit.inventory import KINDS, Inventory, build_inventory, summary
from fishseg.datasets.layout import Problem, read_problems, write_problems
from fishseg.errors import DataError
from fishseg.tables import COLUMNS, read_inventory, write_inventory

LENIENT = 1.0
STRICT = 0.0
RAW = Path("data/raw")
LEVEL = RAW / "Fish_Dataset" / "Fish_Dataset"


@pytest.fixture(autouse=True)
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight tiny fish of two classes, the mask of number n being n rows of 20."""
    monkeypatch.chdir(tmp_path)
    for class_name in ("Sea Bass", "Trout"):
        for n in range(1, 5):
            add(class_name, f"{n:05d}", rows=n)


def add(class_name: str, stem: str, *, rows: int) -> None:
    image_path, mask_path = paths(class_name, stem)
    image_path.parent.mkdir(parents=True, exist_ok=True)
    mask_path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256(f"{class_name}/{stem}".encode()).digest()[:4])
    noise = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(image_path)
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[:rows] = 255
    Image.fromarray(mask).save(mask_path)


def paths(class_name: str, stem: str) -> tuple[Path, Path]:
    folder = LEVEL / class_name
    return folder / class_name / f"{stem}.png", folder / f"{class_name} GT" / f"{stem}.png"


def kinds(inventory: Inventory) -> list[tuple[str, str]]:
    return [
        (problem.kind, problem.path.removeprefix("Fish_Dataset/Fish_Dataset/"))
        for problem in inventory.problems
    ]


def test_every_column() -> None:
    table = build_inventory(RAW, max_broken_share=STRICT).table
    assert list(table.columns) == list(COLUMNS)
    assert list(table["sample_id"]) == [
        *(f"Sea Bass/0000{n}" for n in range(1, 5)),
        *(f"Trout/0000{n}" for n in range(1, 5)),
    ]
    row = table.iloc[6]
    image_path, mask_path = paths("Trout", "00003")
    assert row["class_name"] == "Trout"
    assert row["image_path"] == "data/raw/Fish_Dataset/Fish_Dataset/Trout/Trout/00003.png"
    assert row["mask_path"] == "data/raw/Fish_Dataset/Fish_Dataset/Trout/Trout GT/00003.png"
    assert (row["width"], row["height"]) == (30, 20)
    assert row["image_sha256"] == hashlib.sha256(image_path.read_bytes()).hexdigest()
    assert row["mask_sha256"] == hashlib.sha256(mask_path.read_bytes()).hexdigest()
    assert row["foreground_fraction"] == 0.15
    assert row["group_id"] == "Trout/00003"
    assert row[["flipped", "rotation_degrees", "mask_agreement"]].isna().all()
    assert row["mask_status"] == "unverified"


def test_paths_are_the_same_from_an_absolute_folder() -> None:
    absolute = build_inventory(RAW.absolute(), max_broken_share=STRICT)
    pd.testing.assert_frame_equal(
        absolute.table, build_inventory(RAW, max_broken_share=STRICT).table
    )


def test_foreground_fraction_is_rounded() -> None:
    add("Trout", "00005", rows=20)
    mask_path = paths("Trout", "00005")[1]
    Image.fromarray(np.arange(600).reshape(20, 30) < 100).save(mask_path)
    assert (
        build_inventory(RAW, max_broken_share=STRICT).table["foreground_fraction"].iloc[-1]
        == 0.166667
    )


def test_how_many_are_used_and_why_others_are_not() -> None:
    add("Trout", "00005", rows=0)
    paths("Trout", "00001")[0].write_bytes(b"")
    shutil.copy(paths("Sea Bass", "00001")[0], paths("Trout", "00002")[0])
    inventory = build_inventory(RAW, max_broken_share=LENIENT)
    used, unused, others = inventory.use()
    assert used == 7
    level = "Fish_Dataset/Fish_Dataset/Trout"
    assert unused == [f"{level}/Trout/00001.png: the file is empty"]
    assert [line.partition(":")[0] for line in others] == [
        f"{level}/Trout/00002.png",
        f"{level}/Trout GT/00005.png",
    ]
    inventory.require_fish()


def test_masks_that_are_all_empty_are_refused() -> None:
    for name in ("Sea Bass", "Trout"):
        for number in range(1, 5):
            Image.new("L", (30, 20)).save(paths(name, f"{number:05d}")[1])
    inventory = build_inventory(RAW, max_broken_share=STRICT)
    with pytest.raises(DataError, match="all 8 masks are empty"):
        inventory.require_fish()


def test_what_is_broken_is_left_out_and_said() -> None:
    add("Trout", "00005", rows=5)
    paths("Trout", "00001")[0].write_bytes(b"")
    paths("Trout", "00002")[1].write_bytes(paths("Trout", "00002")[1].read_bytes()[:-30])
    Image.new("L", (30, 30), 255).save(paths("Trout", "00003")[1])
    paths("Trout", "00004")[1].unlink()
    inventory = build_inventory(RAW, max_broken_share=LENIENT)
    assert list(inventory.table["sample_id"][4:]) == ["Trout/00005"]
    assert kinds(inventory) == [
        ("broken_image", "Trout/Trout/00001.png"),
        ("broken_mask", "Trout/Trout GT/00002.png"),
        ("broken_mask", "Trout/Trout GT/00003.png"),
        ("image_without_mask", "Trout/Trout/00004.png"),
    ]
    messages = [problem.message for problem in inventory.problems]
    assert "empty" in messages[0]
    assert "cut off" in messages[1]
    assert "does not fit" in messages[2]
    assert not any(str(Path.cwd()) in message for message in messages)


def test_exact_copies_of_an_image_count_once() -> None:
    shutil.copy(paths("Sea Bass", "00002")[0], paths("Trout", "00001")[0])
    shutil.copy(paths("Sea Bass", "00002")[0], paths("Sea Bass", "00004")[0])
    inventory = build_inventory(RAW, max_broken_share=STRICT)
    assert len(inventory.table) == 6
    assert "Sea Bass/00002" in set(inventory.table["sample_id"])
    assert kinds(inventory) == [
        ("duplicate", "Sea Bass/Sea Bass/00004.png"),
        ("duplicate", "Trout/Trout/00001.png"),
    ]
    assert "Sea Bass/00002" in inventory.problems[1].message


def test_pictures_without_fish_stay_in() -> None:
    add("Trout", "00005", rows=0)
    add("Trout", "00006", rows=20)
    inventory = build_inventory(RAW, max_broken_share=STRICT)
    assert list(inventory.table["foreground_fraction"][-2:]) == [0, 1]
    assert kinds(inventory) == [
        ("empty_mask", "Trout/Trout GT/00005.png"),
        ("full_mask", "Trout/Trout GT/00006.png"),
    ]


def test_the_mask_of_a_smaller_copy_is_used() -> None:
    small = np.zeros((10, 15), dtype=np.uint8)
    small[:5] = 255
    Image.fromarray(small).save(paths("Trout", "00001")[1])
    table = build_inventory(RAW, max_broken_share=STRICT).table
    assert table["foreground_fraction"].iloc[4] == 0.5
    assert table["width"].iloc[4] == 30


def test_problems_of_the_download_count() -> None:
    met = Problem("mask_without_image", "masks/x.png", "lonely")
    write_problems([met], RAW / "unpaired.csv")
    assert build_inventory(RAW, max_broken_share=LENIENT).problems == [met]
    with pytest.raises(DataError, match="1 of 9 images cannot be used"):
        build_inventory(RAW, max_broken_share=0.1)
    assert len(build_inventory(RAW, max_broken_share=0.12).table) == 8


def test_too_many_broken_images_end_the_run() -> None:
    for n in range(5, 17):
        add("Trout", f"{n:05d}", rows=n)
        paths("Trout", f"{n:05d}")[0].write_bytes(b"not a picture")
    paths("Trout", "00001")[1].unlink()
    with pytest.raises(DataError) as caught:
        build_inventory(RAW, max_broken_share=0.5)
    message = str(caught.value)
    assert "13 of 20 images cannot be used (65.0%)" in message
    assert "broken_image: 12, image_without_mask: 1" in message
    assert "audit.max_broken_share" in message
    assert "00014.png" in message
    assert "00015.png" not in message, "ten are enough"
    assert len(build_inventory(RAW, max_broken_share=0.65).table) == 7


def test_nothing_usable_ends_the_run() -> None:
    for path in LEVEL.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no image with a mask that can be used"):
        build_inventory(RAW, max_broken_share=LENIENT)
    with pytest.raises(DataError, match="8 of 8"):
        build_inventory(RAW, max_broken_share=STRICT)


def test_folders_without_files_end_the_run() -> None:
    for path in LEVEL.rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="empty_class: 2"):
        build_inventory(RAW, max_broken_share=STRICT)


def test_the_truth_is_never_read() -> None:
    (RAW / "truth.csv").write_bytes(b"\xff not even text")
    assert len(build_inventory(RAW, max_broken_share=STRICT).table) == 8


# Groups


def write_groups(groups: dict[str, str], *, encoding: str = "utf-8") -> None:
    lines = ["sample_id,group_id", *(f"{key},{value}" for key, value in groups.items())]
    (RAW / "groups.csv").write_text("\n".join(lines) + "\n", encoding=encoding)


def all_groups() -> dict[str, str]:
    return {
        f"{name}/0000{n}": f"photo {n % 2}"
        for n in range(4, 0, -1)
        for name in ("Trout", "Sea Bass")
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_groups_are_honoured(encoding: str) -> None:
    write_groups(all_groups(), encoding=encoding)
    inventory = build_inventory(RAW, max_broken_share=STRICT)
    assert list(inventory.table["group_id"]) == ["photo 1", "photo 0"] * 4
    assert summary(inventory)["n_groups"] == 2


def test_spaces_and_how_accents_are_composed_make_no_other_group() -> None:
    add("Trout", "00009 ", rows=2)
    groups = dict.fromkeys([*all_groups(), "Trout/00009 "], "Brème")
    groups |= {
        "Trout/00001": " Brème",
        "Trout/00002": "Bre\u0300me",
        "Trout/00003": "Bre\u0300me\t",
    }
    lines = [f"{key},{value}" for key, value in groups.items()]
    lines = ["sample_id, group_id", " " + lines[0], *lines[1:]]
    (RAW / "groups.csv").write_text("\n".join(lines), encoding="utf-8")
    inventory = build_inventory(RAW, max_broken_share=STRICT)
    assert set(inventory.table["group_id"]) == {"Brème"}


def test_a_sample_is_listed_once_whatever_spaces_are_around_it() -> None:
    write_groups({**all_groups(), " Trout/00001": "photo 0"})
    with pytest.raises(DataError, match="'Trout/00001' is in it twice"):
        build_inventory(RAW, max_broken_share=STRICT)


def test_an_image_in_two_groups_makes_them_one() -> None:
    # Trout/00001 has the image of Sea Bass/00002, and Trout/00003 that of Sea Bass/00004: a chain.
    shutil.copy(paths("Sea Bass", "00002")[0], paths("Trout", "00001")[0])
    shutil.copy(paths("Sea Bass", "00004")[0], paths("Trout", "00003")[0])
    paths("Trout", "00003")[1].write_bytes(b"")  # its mask is broken, its image is not
    write_groups({
        "Sea Bass/00001": "a", "Sea Bass/00002": "b", "Sea Bass/00003": "c", "Sea Bass/00004": "d",
        "Trout/00001": "c", "Trout/00002": "c", "Trout/00003": "b", "Trout/00004": "e",
    })  # fmt: skip
    table = build_inventory(RAW, max_broken_share=LENIENT).table
    assert dict(zip(table["sample_id"], table["group_id"], strict=True)) == {
        "Sea Bass/00001": "a",
        "Sea Bass/00002": "b",
        "Sea Bass/00003": "b",
        "Sea Bass/00004": "b",
        "Trout/00002": "b",
        "Trout/00004": "e",
    }


def test_groups_may_name_what_was_left_out() -> None:
    write_groups({**all_groups(), "Trout/00007": "photo 1"})
    with pytest.raises(DataError, match="there is no sample Trout/00007"):
        build_inventory(RAW, max_broken_share=LENIENT)
    add("Trout", "00007", rows=2)
    paths("Trout", "00007")[1].unlink()
    paths("Trout", "00001")[0].write_bytes(b"")
    assert len(build_inventory(RAW, max_broken_share=LENIENT).table) == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "first line is ''"),
        ("sample_id;group_id\nTrout/00001;a\n", "first line is 'sample_id;group_id'"),
        ("Trout/00001,a\n", "first line is 'Trout/00001,a'"),
        ("sample_id,group_id\nTrout/00001,\n", "'Trout/00001,'"),
        ("sample_id,group_id\n,a\n", "',a'"),
        ("sample_id,group_id\nTrout/00001,a,b\n", "'Trout/00001,a,b'"),
        ("sample_id,group_id\nTrout/00001,a\nTrout/00001,b\n", "'Trout/00001' is in it twice"),
        ("sample_id,group_id\nTrout/00001,a\n", "no group for Sea Bass/00001, .* and 2 more"),
    ],
)
def test_groups_that_do_not_fit(content: str, message: str) -> None:
    (RAW / "groups.csv").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        build_inventory(RAW, max_broken_share=STRICT)
    assert caught.value.where == str(RAW / "groups.csv")


def test_groups_that_are_no_text() -> None:
    (RAW / "groups.csv").write_bytes(b"sample_id,group_id\n\xff,a\n")
    with pytest.raises(DataError, match="cannot be read"):
        build_inventory(RAW, max_broken_share=STRICT)


# Files


def test_the_table_survives_a_file() -> None:
    for class_name in ("NA", "null", "007"):
        add(class_name, "00001", rows=1)
        add(class_name, 'a, "b" é', rows=2)
    table = build_inventory(RAW, max_broken_share=STRICT).table
    table.loc[0, "flipped"] = 1
    table.loc[1, ["rotation_degrees", "mask_agreement"]] = [12.345678901234, 0.1]
    write_inventory(table, Path("data/inventory.csv"))
    again = read_inventory(Path("data/inventory.csv"))
    pd.testing.assert_frame_equal(again, table)
    assert "NA/00001" in set(again["sample_id"])
    assert {"NA", "null", "007"} < set(again["class_name"])
    write_inventory(again, Path("data/again.csv"))
    assert Path("data/again.csv").read_bytes() == Path("data/inventory.csv").read_bytes()


def test_the_same_files_give_the_same_bytes() -> None:
    for name in ("a", "b"):
        write_inventory(
            build_inventory(RAW, max_broken_share=STRICT).table, Path(f"data/{name}.csv")
        )
    content = Path("data/a.csv").read_bytes()
    assert content == Path("data/b.csv").read_bytes()
    assert b"\r" not in content
    assert str(Path.cwd()).encode() not in content


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sample_id,", "sample,", "has the columns sample,"),
        ("Trout/00002,Trout", "Trout/00001,Trout", "has the sample Trout/00001 twice"),
        (",30,20,", ",30.5,20,", "30.5"),
        (",30,20,", ",,20,", "lacks a value of width"),
        (",30,20,", ",wide,20,", "wide"),
        (",unverified", ",perhaps", "mask_status 'perhaps'"),
        (",unverified", ",", "lacks a value of mask_status"),
        (",unverified", ",unverified,surplus", "."),
    ],
)
def test_a_damaged_inventory_is_refused(old: str, new: str, message: str) -> None:
    path = Path("data/inventory.csv")
    write_inventory(build_inventory(RAW, max_broken_share=STRICT).table, path)
    damaged = path.read_text(encoding="utf-8").replace(old, new, 1)
    path.write_text(damaged, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_inventory(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b'a\n"b'])
def test_what_is_no_inventory_is_refused(content: bytes | None) -> None:
    path = Path("data/inventory.csv")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="the inventory"):
        read_inventory(path)


# Metrics


def test_summary() -> None:
    paths("Trout", "00004")[0].write_bytes(b"")
    add("Trout", "00005", rows=0)
    inventory = build_inventory(RAW, max_broken_share=LENIENT)
    numbers = summary(inventory)
    assert numbers == {
        "n_images": 8,
        "n_groups": 8,
        "n_problems": 2,
        "mean_foreground_fraction": 0.1,  # (1 + 2 + 3 + 4 + 1 + 2 + 3 + 0) / 8 of 20 rows
        "problems": {**dict.fromkeys(KINDS, 0), "broken_image": 1, "empty_mask": 1},
        "per_class": {
            "sea_bass": {"n_images": 4, "n_groups": 4},
            "trout": {"n_images": 4, "n_groups": 4},
        },
    }
    assert json.loads(json.dumps(numbers)) == numbers
    write_problems(inventory.problems, Path("data/unpaired.csv"))
    assert read_problems(Path("data/unpaired.csv")) == inventory.problems

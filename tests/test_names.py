"""Names of files, classes and samples that nobody thought of, through whatever carries names."""

from __future__ import annotations

import contextlib
import csv
import html
import io
import json
import os
import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fishseg.cli import _print_any_name, compare
from fishseg.datasets.layout import find_pairs, read_problems, write_problems
from fishseg.errors import DataError
from fishseg.params import SplitParams
from fishseg.report.document import render
from fishseg.splits import make_manifest
from fishseg.store import nfc
from fishseg.tables import (
    COLUMNS,
    read_inventory,
    read_manifest,
    slug,
    write_csv,
    write_inventory,
    write_manifest,
)

QUICK = settings(max_examples=50, deadline=None, derandomize=True, database=None)

# What a file may be called: no slash, no zero byte, no half of a pair, and it fits.
LETTERS = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
AWKWARD = st.sampled_from(
    ["-rf", "--out", "a,b", 'a"b', "it's", "(old)", "a=b", "NA", "nan", "null", "1", "007", "1e5",
     "True", "a\nb", "a\rb", "a\tb", " a ", "ß", "ﬁsh", "İ", "café", "cafe\u0301", "魚", "🐟",
     "\u202eabc", "\u200b", "a.b", "<script>", "<!--", "&amp;", "$x$", "%s", "{}", "a\\b",
     "=1+1", "#", "~", "x" * 200]
)  # fmt: skip
NAMES = st.one_of(AWKWARD, st.text(LETTERS, min_size=1, max_size=40)).filter(
    lambda name: name[0] != "." and "/" not in name and len(name.encode()) <= 200
)


@QUICK
@given(name=NAMES)
def test_a_slug_is_a_key_that_case_and_composition_do_not_change(name: str) -> None:
    found = slug(name)
    assert re.fullmatch(r"\w+", found)
    assert slug(found) == found
    assert slug(unicodedata.normalize("NFD", name)) == found


@contextlib.contextmanager
def folder_with(images: list[str], masks: list[str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        for kind, names in (("images", images), ("masks", masks)):
            (Path(place) / kind).mkdir()
            for name in names:
                Image.new("1", (1, 1)).save(Path(place) / kind / f"{name}.png")
        yield Path(place)


@QUICK
@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
@example(names=["A", "a"])
@example(names=["café", "cafe\u0301"])
def test_every_file_is_in_a_pair_or_a_problem(names: list[str]) -> None:
    with folder_with(names, names) as place:
        pairs, problems = find_pairs(place)
        used = {path.name for pair in pairs for path in (pair.image_path, pair.mask_path)}
        for name in names:
            said = any(f"{name}.png" in problem.path + problem.message for problem in problems)
            assert (f"{name}.png" in used) != said
        assert len({pair.sample_id for pair in pairs}) == len(pairs)
        for pair in pairs:
            assert pair.sample_id == f"fish/{nfc(pair.image_path.stem)}"
        write_problems(problems, place / "problems.csv")
        assert read_problems(place / "problems.csv") == problems


@QUICK
@given(names=st.lists(NAMES, min_size=1, max_size=3, unique=True))
def test_classes_keep_their_names_or_are_refused(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        for kind in ("images", "masks"):
            for name in names:
                (Path(place) / kind / name).mkdir(parents=True)
                Image.new("1", (1, 1)).save(Path(place) / kind / name / "1.png")
        if len({slug(name) for name in names}) < len(names):
            with pytest.raises(DataError, match="tell the classes"):
                find_pairs(Path(place))
        else:
            pairs, problems = find_pairs(Path(place))
            assert [pair.class_name for pair in pairs] == sorted(map(nfc, names))
            assert problems == []


def inventory_of(names: list[str], class_name: str) -> pd.DataFrame:
    rows = [
        {
            **dict.fromkeys(COLUMNS, "x"),
            "sample_id": f"{class_name}/{name}",
            "class_name": class_name,
            "group_id": f"photo {name}",
            "image_path": f"data/{name}.png",
            **dict.fromkeys(("width", "height"), 1),
            "foreground_fraction": 0.5,
            **dict.fromkeys(("flipped", "rotation_degrees", "mask_agreement"), None),
            "mask_status": "ok",
        }
        for name in sorted(names)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


SPLIT = SplitParams(
    strategy="grouped", val_fraction=0.3, test_fraction=0.3, folds=0, fold=0, held_out_class="",
    train_photos_per_class=0, seed=1,
)  # fmt: skip


@QUICK
@given(names=st.lists(NAMES, min_size=3, max_size=6, unique=True), class_name=NAMES)
def test_inventory_and_manifest_come_back_as_they_were(names: list[str], class_name: str) -> None:
    table = inventory_of(names, class_name)
    manifest = make_manifest(table, SPLIT)
    assert sorted(manifest["sample_id"]) == sorted(table["sample_id"])
    with tempfile.TemporaryDirectory() as place:
        for written, write, read in (
            (table, write_inventory, read_inventory),
            (manifest, write_manifest, read_manifest),
        ):
            path = Path(place) / "table.csv"
            write(written, path)
            pd.testing.assert_frame_equal(read(path), written, check_dtype=False)
            with path.open(encoding="utf-8", newline="") as file:  # another reader agrees
                assert [row["sample_id"] for row in csv.DictReader(file)] == list(
                    written["sample_id"]
                )


@QUICK
@given(name=NAMES)
def test_a_report_says_names_as_text_and_never_as_markup(name: str) -> None:
    page = render({"name": name})
    (content,) = re.findall(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page, re.S)
    assert json.loads(content) == {"name": name}
    assert html.unescape(content) == content


@QUICK
@given(names=st.lists(NAMES, min_size=1, max_size=5, unique=True), class_name=NAMES)
def test_revisions_are_compared_whatever_their_samples_are_called(
    names: list[str], class_name: str
) -> None:
    table = inventory_of(names, class_name)[["sample_id", "class_name", "group_id", "mask_status"]]
    scores = dict.fromkeys(compare.PAIRED.values(), 0.5)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / compare.IMAGES
        path.parent.mkdir(parents=True)
        write_csv(table.assign(split="val", **scores), path)
        before = compare.read_scores(Path(place), compare.WORKSPACE)
        write_csv(table.assign(split="val", **(scores | {"iou": 0.75})).iloc[::-1], path)
        after = compare.read_scores(Path(place), compare.WORKSPACE)
    pair = compare.Pair(before, after)
    assert pair.same_images
    found = pair.difference("iou")
    assert found is not None
    assert (found.n_images, found.n_groups) == (len(names), len(names))
    assert found.mean == found.low == found.high == 0.25


@QUICK
@given(name=st.one_of(NAMES, st.text(min_size=1), st.just("fish\udcff")))
def test_any_name_can_be_printed_into_a_file(name: str) -> None:
    assume("\r" not in name)  # text files translate it
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii", newline="\n")
    before, sys.stdout = sys.stdout, stream
    try:
        _print_any_name()
        print(name, end="")  # noqa: T201
        stream.flush()
    finally:
        sys.stdout = before
    expected = name.encode("utf-8", "backslashreplace")
    assert written.getvalue() == expected


def test_a_name_that_is_no_utf8_is_refused_by_name(tmp_path: Path) -> None:
    with folder_with(["a"], ["a"]) as place:
        odd = os.fsencode(place / "images") + b"/\xff.png"
        try:
            Path(os.fsdecode(odd)).write_bytes((place / "images/a.png").read_bytes())
        except OSError:
            pytest.skip("this file system takes UTF-8 alone")
        with pytest.raises(DataError, match="UTF-8"):
            find_pairs(place)

"""Finding pairs: the layouts that are accepted, and what is left unpaired."""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING

import pytest

from fishseg.datasets.layout import (
    Problem,
    find_pairs,
    find_photos,
    read_problems,
    unwrap,
    write_problems,
)
from fishseg.errors import DataError
from fishseg.tables import slug

if TYPE_CHECKING:
    from pathlib import Path


def lay_out(folder: Path, *names: str) -> Path:
    """Empty files of these names; pairing looks at names only."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def problems_of(folder: Path) -> list[tuple[str, str]]:
    return [(problem.kind, problem.path) for problem in find_pairs(folder)[1]]


KAGGLE = (
    "Trout/Trout/00002.png",
    "Trout/Trout/00001.png",
    "Trout/Trout GT/00001.png",
    "Trout/Trout GT/00002.png",
    "Sea Bass/Sea Bass/00001.png",
    "Sea Bass/Sea Bass GT/00001.png",
)


@pytest.mark.parametrize("levels", ["Fish_Dataset/Fish_Dataset/", "Fish_Dataset/", ""])
def test_the_kaggle_layout_with_two_one_or_no_levels(levels: str, tmp_path: Path) -> None:
    lay_out(tmp_path, *(levels + name for name in KAGGLE))
    pairs, problems = find_pairs(tmp_path)
    assert [pair.sample_id for pair in pairs] == ["Sea Bass/00001", "Trout/00001", "Trout/00002"]
    assert [pair.class_name for pair in pairs] == ["Sea Bass", "Trout", "Trout"]
    assert pairs[0].image_path == tmp_path / levels / "Sea Bass/Sea Bass/00001.png"
    assert pairs[0].mask_path == tmp_path / levels / "Sea Bass/Sea Bass GT/00001.png"
    assert problems == []


def test_the_outer_of_two_levels_may_be_named(tmp_path: Path) -> None:
    lay_out(tmp_path, *("Fish_Dataset/Fish_Dataset/" + name for name in KAGGLE))
    assert find_pairs(tmp_path / "Fish_Dataset") == find_pairs(tmp_path)


def test_a_class_called_fish_and_a_folder_beside_it(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        "Fish_Dataset/Fish/Fish/1.png",
        "Fish_Dataset/Fish/Fish GT/1.png",
        "baseline-masks/1.png",
    )
    pairs, problems = find_pairs(tmp_path)
    assert [pair.sample_id for pair in pairs] == ["Fish/1"]
    assert problems == []


def test_stray_files_are_passed_over(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        *("Fish_Dataset/Fish_Dataset/" + name for name in KAGGLE),
        "Fish_Dataset/Fish_Dataset/license.txt",
        "Fish_Dataset/Fish_Dataset/README.txt",
        "Fish_Dataset/Fish_Dataset/Segmentation_example_script.m",
        "Fish_Dataset/Fish_Dataset/.ipynb_checkpoints/a.png",
        "Fish_Dataset/Fish_Dataset/Trout/Thumbs.db",
        "Fish_Dataset/Fish_Dataset/Trout/Trout/.DS_Store",
        "Fish_Dataset/Fish_Dataset/Trout/Trout/._00001.png",
        "Fish_Dataset/Fish_Dataset/Trout/Trout GT/Thumbs.db",
        "Fish_Dataset/Fish_Dataset/__MACOSX/Trout/Trout/00009.png",
        "NA_Fish_Dataset/Trout/00001.png",
    )
    pairs, problems = find_pairs(tmp_path)
    assert len(pairs) == 3
    assert problems == []


def test_the_plain_layout(tmp_path: Path) -> None:
    lay_out(tmp_path, "images/b.JPG", "images/a b.tiff", "masks/b.png", "masks/a b.webp")
    pairs, problems = find_pairs(tmp_path)
    assert [pair.sample_id for pair in pairs] == ["fish/a b", "fish/b"]
    assert pairs[1].image_path == tmp_path / "images/b.JPG"
    assert pairs[1].mask_path == tmp_path / "masks/b.png"
    assert problems == []


def test_the_plain_layout_with_classes(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        "images/Trout/1.jpg",
        "masks/Trout/1.png",
        "images/NA/1.jpg",
        "masks/NA/1.png",
        "images/loose.jpg",
        "masks/loose.png",
        "images/Cod/1.jpg",
    )
    pairs, _ = find_pairs(tmp_path)
    assert [pair.sample_id for pair in pairs] == ["NA/1", "Trout/1", "fish/loose"]
    assert problems_of(tmp_path) == [("image_without_mask", "images/Cod/1.jpg")]


def test_images_out_of_reach_are_named(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        "images/Trout/a.jpg",
        "masks/Trout/a.png",
        "images/Trout/a.nef",
        "images/Trout/2024/b.png",
        "masks/Trout/2024/b.png",
        "images/Trout/2024/June/c.jp2",
        "images/Trout/d.cr2",
        "images/Trout/notes.txt",
        "images/Bass/2024/e.png",
        "masks/Bass/2024/e.png",
        "images/loose.jp2",
    )
    pairs, _ = find_pairs(tmp_path)
    assert [pair.sample_id for pair in pairs] == ["Trout/a"]
    assert problems_of(tmp_path) == [
        ("nested_image", "images/Bass/2024/e.png"),
        ("nested_image", "images/Trout/2024/b.png"),
        ("unread_format", "images/Trout/2024/June/c.jp2"),
        ("unread_format", "images/Trout/d.cr2"),
    ]
    lay_out(tmp_path, "images/f.jpg", "masks/f.png")
    assert ("unread_format", "images/loose.jp2") in problems_of(tmp_path)


def test_nested_images_of_the_kaggle_layout_and_behind_links(tmp_path: Path) -> None:
    lay_out(tmp_path, *KAGGLE, "Trout/Trout/more/3.png")
    lay_out(tmp_path.parent / "elsewhere", "4.png")
    (tmp_path / "Trout/Trout/linked").symlink_to(tmp_path.parent / "elsewhere")
    assert problems_of(tmp_path) == [
        ("nested_image", "Trout/Trout/linked/4.png"),
        ("nested_image", "Trout/Trout/more/3.png"),
    ]


def test_every_kind_of_problem(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        "images/good.jpg",
        "masks/good.png",
        "images/no_mask.jpg",
        "masks/no_image.png",
        "images/twice.jpg",
        "images/twice.png",
        "masks/twice.png",
        "images/two_masks.jpg",
        "masks/two_masks.png",
        "masks/two_masks.gif",
        "images/Case.jpg",
        "masks/case.png",
        "images/Empty/readme.txt",
    )
    pairs, _ = find_pairs(tmp_path)
    assert [pair.sample_id for pair in pairs] == ["fish/good"]
    assert problems_of(tmp_path) == [
        ("case_mismatch", "images/Case.jpg"),
        ("duplicate_stem", "images/twice.jpg"),
        ("duplicate_stem", "images/two_masks.jpg"),
        ("empty_class", "images/Empty"),
        ("image_without_mask", "images/no_mask.jpg"),
        ("mask_without_image", "masks/no_image.png"),
    ]
    messages = {problem.kind: problem.message for problem in find_pairs(tmp_path)[1]}
    assert "Case.jpg" in messages["case_mismatch"]
    assert "case.png" in messages["case_mismatch"]
    assert "Empty" in messages["empty_class"]


def test_a_class_without_masks_or_without_anything(tmp_path: Path) -> None:
    lay_out(tmp_path, *KAGGLE, "Cod/Cod/1.png")
    (tmp_path / "Eel").mkdir()
    assert len(find_pairs(tmp_path)[0]) == 3
    assert problems_of(tmp_path) == [
        ("empty_class", "Eel/Eel"),
        ("image_without_mask", "Cod/Cod/1.png"),
    ]


@pytest.mark.parametrize("files", [(), ("a.jpg", "a.png"), ("images/a.jpg",), ("Trout/1.png",)])
def test_an_unknown_layout_shows_the_known_ones(files: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_pairs(lay_out(tmp_path, *files))
    assert str(tmp_path) in str(caught.value)
    for part in ("Fish_Dataset/Fish_Dataset/", "Trout GT", "images/a.jpg", "masks/a.png"):
        assert part in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_pairs(tmp_path / "missing")
    with pytest.raises(DataError, match="a file, not a folder"):
        find_pairs(lay_out(tmp_path, "a.zip") / "a.zip")


@pytest.mark.parametrize("other", ["sea bass", "Sea_Bass", "Sea-Bass"])
def test_classes_that_metrics_cannot_tell_apart(other: str, tmp_path: Path) -> None:
    lay_out(tmp_path, *KAGGLE, f"{other}/{other}/1.png")
    with pytest.raises(DataError, match=other):
        find_pairs(tmp_path)


def test_loose_files_beside_a_class_called_fish(tmp_path: Path) -> None:
    lay_out(tmp_path, "images/1.png", "masks/1.png", "images/fish/1.png", "masks/fish/1.png")
    with pytest.raises(DataError, match="fish, fish"):
        find_pairs(tmp_path)


def test_accents_match_however_they_are_written(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Forélle ä") for form in ("NFC", "NFD"))
    assert composed != decomposed
    lay_out(tmp_path, f"images/{decomposed}.jpg", f"masks/{composed}.png", "images/鱒 1.jpg")
    pairs, problems = find_pairs(tmp_path)
    assert [pair.sample_id for pair in pairs] == [f"fish/{composed}"]
    assert pairs[0].image_path.exists()
    assert [problem.path for problem in problems] == ["images/鱒 1.jpg"]


@pytest.mark.parametrize(
    "layout",
    [("images/{nfc}/1.jpg", "masks/{nfd}/1.png"), ("{nfd}/{nfc}/1.jpg", "{nfd}/{nfc} GT/1.png")],
)
def test_accents_of_a_class_match_however_they_are_written(
    layout: tuple[str, str], tmp_path: Path
) -> None:
    nfc, nfd = (unicodedata.normalize(form, "Brème") for form in ("NFC", "NFD"))
    lay_out(tmp_path, *(name.format(nfc=nfc, nfd=nfd) for name in layout))
    pairs, problems = find_pairs(tmp_path)
    assert [pair.sample_id for pair in pairs] == [f"{nfc}/1"]
    assert problems == []


def test_a_class_that_is_there_in_both_ways_to_write_accents_is_refused(tmp_path: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "Brème") for form in ("NFC", "NFD"))
    lay_out(tmp_path, *(f"images/{name}/1.jpg" for name in (nfc, nfd)), f"masks/{nfc}/1.png")
    if len(list((tmp_path / "images").iterdir())) == 1:
        pytest.skip("the file system takes both for one name")
    with pytest.raises(DataError, match="accents may be composed"):
        find_pairs(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, "images/a.jpg", "masks/a.png")
    try:
        (tmp_path / "images" / os.fsdecode(b"\xe9.jpg")).touch()
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    with pytest.raises(DataError, match="not UTF-8") as caught:
        find_pairs(tmp_path)
    str(caught.value).encode("utf-8")


def test_photos_by_the_class_names_of_the_copies(tmp_path: Path) -> None:
    classes = ("Gilt-Head Bream", "Hourse Mackerel", "Trout", "Shrimp")
    lay_out(
        tmp_path,
        *(f"Fish_Dataset/Fish_Dataset/{name}/{name}/1.png" for name in classes),
        "NA_Fish_Dataset/Gilt Head Bream/00002.JPG",
        "NA_Fish_Dataset/Gilt Head Bream/00001.png",
        "NA_Fish_Dataset/Gilt Head Bream/Thumbs.db",
        "NA_Fish_Dataset/Horse Mackerel/WhatsApp Image 2019-04-25 at 15.33.13.jpeg",
        "NA_Fish_Dataset/Trout/1.png",
        "NA_Fish_Dataset/Other/1.png",
        "NA_Fish_Dataset/Shrimp/notes.txt",
    )
    photos = tmp_path / "NA_Fish_Dataset"
    assert find_photos(tmp_path) == {
        "Gilt-Head Bream": [
            photos / "Gilt Head Bream/00001.png",
            photos / "Gilt Head Bream/00002.JPG",
        ],
        "Hourse Mackerel": [
            photos / "Horse Mackerel/WhatsApp Image 2019-04-25 at 15.33.13.jpeg",
        ],
        "Trout": [photos / "Trout/1.png"],
    }


def test_no_photos(tmp_path: Path) -> None:
    assert find_photos(lay_out(tmp_path, *KAGGLE)) == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Gilt-Head Bream", "gilt_head_bream"),
        ("Black Sea Sprat", "black_sea_sprat"),
        (" Forelle (groß)_2 ", "forelle_gross_2"),
        ("鱒", "鱒"),
        ("???", "_"),
    ],
)
def test_slug(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_unwrap_goes_down_to_the_layout(tmp_path: Path) -> None:
    lay_out(tmp_path, "outer/inner/images/a.jpg", "outer/inner/masks/a.png", "__MACOSX/x.txt")
    assert unwrap(tmp_path) == tmp_path / "outer/inner"
    assert unwrap(tmp_path / "outer/inner") == tmp_path / "outer/inner"


def test_unwrap_stops_at_what_is_known(tmp_path: Path) -> None:
    lay_out(tmp_path, "outer/inner/images/a.jpg", "outer/notes.json")
    assert unwrap(tmp_path) == tmp_path
    found = unwrap(tmp_path, is_known=lambda place: (place / "notes.json").exists())
    assert found == tmp_path / "outer"
    lay_out(tmp_path, "outer/inner/masks/a.png")
    assert unwrap(tmp_path, is_known=lambda place: (place / "notes.json").exists()) == (
        tmp_path / "outer/inner"
    )


def test_unwrap_stays_where_there_is_a_choice_or_no_layout(tmp_path: Path) -> None:
    lay_out(tmp_path / "choice", "a/images/1.jpg", "a/masks/1.png", "b/readme.txt")
    assert unwrap(tmp_path / "choice") == tmp_path / "choice"
    lay_out(tmp_path / "nothing", "a/b/c.txt")
    assert unwrap(tmp_path / "nothing") == tmp_path / "nothing"


def test_problems_survive_a_file(tmp_path: Path) -> None:
    problems = [Problem("b", "x y,z.png", 'a "quoted", line'), Problem("a", "鱒.png", "")]
    write_problems(problems, tmp_path / "unpaired.csv")
    assert read_problems(tmp_path / "unpaired.csv") == sorted(problems)
    write_problems([], tmp_path / "unpaired.csv")
    assert (tmp_path / "unpaired.csv").read_bytes() == b"kind,path,message\n"
    assert read_problems(tmp_path / "unpaired.csv") == []


@pytest.mark.parametrize("content", [b"", b"kind,path\n", b"kind,path,message\na,b\n", b"\xff\xfe"])
def test_a_damaged_list_of_problems_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "unpaired.csv").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_problems(tmp_path / "unpaired.csv")

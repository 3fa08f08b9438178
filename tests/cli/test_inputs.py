from __future__ import annotations

import os
from pathlib import Path

import pytest

from fishseg.cli.inputs import find_pictures


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def names(*arguments: str, left_out: tuple[Path, ...] = ()) -> list[str]:
    return [picture.name for picture in find_pictures(arguments, left_out=left_out)[0]]


def test_a_folder_is_searched_through_in_a_fixed_order(workspace: Path) -> None:
    touch("in/b.PNG", "in/a.jpg", "in/z/c.tiff", "in/notes.txt", "in/.hidden.png")
    touch("in/.cache/d.png", "in/__MACOSX/e.png")
    assert names("in") == ["a", "b", "z/c"]


def test_names_count_from_what_the_arguments_have_in_common(workspace: Path) -> None:
    touch("in/a/1.png", "in/b/1.png", "in/b/2.png")
    assert names("in/a/1.png") == ["1"]
    assert names("in/b") == ["1", "2"]
    assert names("in/a", "in/b/1.png") == ["a/1", "b/1"]
    assert names("in/b/../a") == ["1"]
    assert names("in/a/1.png", "in/a", "./in/a/../a/1.png") == ["1"]


def test_pictures_that_differ_in_suffix_or_case_alone_keep_the_suffix(workspace: Path) -> None:
    touch("in/1.jpg", "in/1.png", "in/2.png")
    assert names("in") == ["1.jpg", "1.png", "2"]


def test_patterns(workspace: Path) -> None:
    touch("in/a/1.png", "in/b/c/2.png", "in/b/3.jpg")
    assert names("in/**/*.png") == ["a/1", "b/c/2"]
    assert names("in/?") == ["a/1", "b/3", "b/c/2"]
    # A file of this very name goes before the pattern.
    touch("in/fish[1].png", "in/fish1.png")
    assert names("in/fish[1].png") == ["fish[1]"]


def test_earlier_results_are_passed_over(workspace: Path) -> None:
    touch("in/1.png", "in/masks/1.png")
    assert names("in", left_out=(Path("in/masks"),)) == ["1"]
    assert names("in/**/*.png", left_out=(Path("in/masks"),)) == ["1"]
    # Named itself, it is meant.
    assert names("in/masks/1.png", left_out=(Path("in/masks"),)) == ["1"]


def test_what_gives_nothing_is_said(workspace: Path) -> None:
    Path("barren").mkdir()
    pictures, problems = find_pictures(["barren", "*.gif"], left_out=())
    assert pictures == []
    assert [problem.where for problem in problems] == ["barren", "*.gif"]


def test_a_name_that_is_no_utf8(workspace: Path) -> None:
    try:
        Path(os.fsdecode(b"in\xff.png")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    touch("good.png")
    pictures, problems = find_pictures(["."], left_out=())
    assert [picture.name for picture in pictures] == ["good"]
    assert "UTF-8" in problems[0].what


def test_links_are_not_followed_in_circles(workspace: Path) -> None:
    touch("in/1.png")
    Path("in/loop").symlink_to(Path("in").absolute(), target_is_directory=True)
    assert names("in") == ["1"]

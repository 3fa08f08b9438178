from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fishseg.cli.inputs import find_pictures
from fishseg.images.folders import mark_results, result_names


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def names(*arguments: str) -> list[str]:
    return [picture.name for picture in find_pictures(arguments).pictures]


def lines(*arguments: str) -> list[str]:
    """What is said of everything that is not used."""
    found = find_pictures(arguments)
    return [f"{problem.where}: {problem.what}" for problem in found.problems] + found.remarks


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


def test_patterns_find_what_a_shell_would(workspace: Path) -> None:
    touch("in/a/1.png", "in/a/b/2.png", "in/3.png", "in/x/1.jpg")
    for pattern in ("in/*/*.png", "in/**/2.png", "in/[ax]/1.*", "*/3.png", "in/*/b", "in/**"):
        expected: set[Path] = set()
        for hit in Path().glob(pattern):
            inside = hit.rglob("*") if hit.is_dir() else [hit]
            expected |= {path for path in inside if path.is_file()}
        found = {picture.path for picture in find_pictures([pattern]).pictures}
        assert found == {path.absolute() for path in expected}, pattern
    assert names("nowhere/*.png") == []


@pytest.mark.parametrize("folder", ["masks", "overlays", "probabilities"])
def test_earlier_results_are_passed_over_and_named(workspace: Path, folder: str) -> None:
    touch("in/1.png", f"in/old/{folder}/1.png", "in/old/2.png", f"in/{folder}/3.png")
    Path("in/old/.fishseg").mkdir()
    assert names("in") == sorted(["1", f"{folder}/3", "old/2"])
    assert names("in/**/*.png") == sorted(["1", f"{folder}/3", "old/2"])
    said = f"in/old/{folder}: results of fishseg"
    assert lines("in") == [said]
    assert lines("in/**/*.png") == [said]
    # A folder or a pattern within them gives nothing; a file that is named itself is meant.
    for argument in (f"in/old/{folder}", f"in/old/{folder}/*.png"):
        assert names(argument) == []
        assert said in lines(argument)
    assert names(f"in/old/{folder}/1.png") == ["1"]


def test_marked_files_are_results_and_their_neighbours_are_not(workspace: Path) -> None:
    touch("in/1.png", "in/gallery_best.png")
    mark_results(Path("in"), ["gallery_best.png"])
    touch("in/masks/2.png")
    assert names("in") == ["1", "masks/2"]
    mark_results(Path("in"), ["masks"])
    assert names("in") == ["1"]
    assert result_names(Path("in")) == {"gallery_best.png", "masks"}
    assert result_names(Path("in/masks")) == set()


def test_what_gives_nothing_is_said(workspace: Path) -> None:
    Path("barren").mkdir()
    found = find_pictures(["barren", "*.gif"])
    assert found.pictures == []
    assert [problem.where for problem in found.problems] == ["barren", "*.gif"]


def test_pictures_of_other_kinds_are_missed_and_other_files_are_named(workspace: Path) -> None:
    touch("in/a.jpg", "in/b.NEF", "in/sub/c.jp2", "in/notes.txt", "in/film.mov", "in/._a.jpg")
    found = find_pictures(["in"])
    assert [picture.name for picture in found.pictures] == ["a"]
    assert [(problem.where, problem.what, problem.remedy) for problem in found.problems] == [
        ("in/b.NEF", "a camera's raw file is not read", "export it as JPEG or TIFF"),
        ("in/sub/c.jp2", "pictures of the kind .jp2 are not read", "save it as PNG or JPEG"),
    ]
    assert found.remarks == [
        "in/._a.jpg: hidden",
        "in/film.mov, in/notes.txt: no picture by its name",
    ]


def test_a_raw_file_beside_its_developed_picture_is_not_missed(workspace: Path) -> None:
    touch("in/a.jpg", "in/a.nef", "in/sub/a.nef")
    found = find_pictures(["in"])
    assert [problem.where for problem in found.problems] == ["in/sub/a.nef"]
    assert found.remarks == ["in/a.nef: a picture of the same name is used"]


def test_a_folder_of_pictures_of_other_kinds_alone(workspace: Path) -> None:
    touch("in/b.nef")
    assert lines("in") == ["in/b.nef: a camera's raw file is not read"]


def test_many_files_of_one_reason_make_one_line(workspace: Path) -> None:
    touch("in/a.jpg", *(f"in/{number}.xmp" for number in range(9)))
    assert lines("in") == [
        "in/0.xmp, in/1.xmp, in/2.xmp, in/3.xmp, in/4.xmp and 4 more: no picture by its name"
    ]


def test_a_pipe_is_never_waited_for(workspace: Path) -> None:
    touch("in/a.png")
    os.mkfifo("in/b.png")
    assert names("in") == ["a"]
    assert lines("in") == lines("in/b.png") == ["in/b.png: no regular file"]


def test_a_folder_that_cannot_be_read_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch("in/a.png", "in/closed/b.png")
    listed = Path.iterdir

    def iterdir(folder: Path) -> Iterator[Path]:
        if folder.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert names("in") == ["a"]
    assert lines("in") == ["in/closed: the folder cannot be read (Permission denied)"]


def test_a_name_that_is_no_utf8(workspace: Path) -> None:
    try:
        Path(os.fsdecode(b"in\xff.png")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    touch("good.png")
    found = find_pictures(["."])
    assert [picture.name for picture in found.pictures] == ["good"]
    assert "UTF-8" in found.problems[0].what


def test_linked_folders_are_followed_and_none_is_searched_twice(workspace: Path) -> None:
    touch("in/1.png", "elsewhere/2.png", "in/sub/3.png")
    Path("in/loop").symlink_to(Path("in").absolute(), target_is_directory=True)
    Path("in/a-link").symlink_to(Path("in/sub").absolute(), target_is_directory=True)
    Path("in/other").symlink_to(Path("elsewhere").absolute(), target_is_directory=True)
    for arguments in (["in"], ["in/**"], ["in/**/*.png"]):
        assert names(*arguments) == ["1", "other/2", "sub/3"]
        assert lines(*arguments) == [
            "in/a-link, in/loop: a link to a folder that is searched already"
        ]
    assert names("in/sub", "in/a-link") == ["sub/3"]

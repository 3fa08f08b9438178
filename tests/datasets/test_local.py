"""The local data source: a user's folder or zip becomes the Kaggle layout."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fishseg import store
from fishseg.datasets import coco, local
from fishseg.datasets.layout import find_pairs, find_photos, read_problems
from fishseg.errors import DataError
from fishseg.params import DataParams

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FISHSEG_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lay_out(folder: Path, *names: str) -> Path:
    """Files of these names, each with its name as content: the source never decodes."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def pack(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder))
    return archive


def download(path: str) -> Path:
    raw = Path("data/raw")
    local.download(
        DataParams(
            source="local",
            path=path,
            seed=0,
            photos_per_class=1,
            copies_per_photo=1,
            scene="market",
            wrong_mask_share=0,
            mask_values="auto",
        ),
        raw,
    )
    return raw


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


PLAIN = ("images/a b.jpg", "masks/a b.png", "images/鱒é.JPG", "masks/鱒é.png", "readme.txt")


def test_a_plain_folder_becomes_the_kaggle_layout() -> None:
    source = lay_out(Path("my pictures"), *PLAIN)
    before = contents(source)
    raw = download("my pictures")
    level = "Fish_Dataset/Fish_Dataset/fish"
    assert contents(raw) == {
        f"{level}/fish/a b.jpg": b"images/a b.jpg",
        f"{level}/fish GT/a b.png": b"masks/a b.png",
        f"{level}/fish/鱒é.JPG": "images/鱒é.JPG".encode(),
        f"{level}/fish GT/鱒é.png": "masks/鱒é.png".encode(),
        "unpaired.csv": b"kind,path,message\n",
    }
    assert contents(source) == before
    copied = next(raw.rglob("a b.jpg"))
    assert not copied.samefile(source / "images/a b.jpg")


def test_the_samples_are_those_of_the_source() -> None:
    source = lay_out(Path("source"), *PLAIN, "images/Trout/1.png", "masks/Trout/1.png")
    raw = download("source")
    there, here = find_pairs(source)[0], find_pairs(raw)[0]
    assert [pair.sample_id for pair in there] == [pair.sample_id for pair in here]


def test_photos_and_groups_come_along() -> None:
    lay_out(
        Path("source"),
        "Fish_Dataset/Gilt-Head Bream/Gilt-Head Bream/1.png",
        "Fish_Dataset/Gilt-Head Bream/Gilt-Head Bream GT/1.png",
        "NA_Fish_Dataset/Gilt Head Bream/1.JPG",
        "NA_Fish_Dataset/Gilt Head Bream/Thumbs.db",
        "groups.csv",
        "truth.csv",
    )
    raw = download("source")
    assert find_photos(raw) == {"Gilt-Head Bream": [raw / "NA_Fish_Dataset/Gilt Head Bream/1.JPG"]}
    assert (raw / "groups.csv").read_bytes() == b"groups.csv"
    assert not (raw / "truth.csv").exists()


def test_what_cannot_be_paired_is_listed_and_left() -> None:
    lay_out(Path("source"), *PLAIN, "images/b.png", "masks/c.png", "images/a b.png")
    raw = download("source")
    found = read_problems(raw / "unpaired.csv")
    assert [(problem.kind, problem.path) for problem in found] == [
        ("duplicate_stem", "images/a b.jpg"),
        ("image_without_mask", "images/b.png"),
        ("mask_without_image", "masks/c.png"),
    ]
    pairs, problems = find_pairs(raw)
    assert [pair.sample_id for pair in pairs] == ["fish/鱒é"]
    assert problems == []


@pytest.mark.parametrize("outer", ["", "my pictures/"])
def test_a_zip_gives_what_its_folder_gives(outer: str) -> None:
    lay_out(Path("source"), *(outer + name for name in (*PLAIN, "groups.csv")))
    pack(Path("source"), Path("pictures.zip"))
    from_folder = contents(download(f"source/{outer}"))
    shutil.rmtree("data/raw")
    assert contents(download("pictures.zip")) == from_folder
    assert "groups.csv" in from_folder
    kept = [name for name in contents(Path("data/.store")) if not name.startswith(".users/")]
    assert not kept, "the unpacked zip was left behind"


KAGGLE = ("Fish_Dataset/Trout/Trout/1.png", "Fish_Dataset/Trout/Trout GT/1.png")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("files", "place"),
    [
        (PLAIN, "images/groups.csv"),
        (PLAIN, "masks/Groups.CSV"),
        (PLAIN, "notes/groups.csv"),
        (PLAIN, "Groups.csv"),
        (KAGGLE, "Fish_Dataset/groups.csv"),
        (KAGGLE, "Fish_Dataset/Trout/Trout/groups.csv"),
    ],
)
def test_groups_that_nobody_would_read_are_refused(
    files: tuple[str, ...], place: str, zipped: bool
) -> None:
    source = lay_out(Path("source"), *files, place)
    path = str(pack(source, Path("source.zip")) if zipped else source)
    with pytest.raises(DataError, match=r"looked for in groups\.csv, and would not be") as caught:
        download(path)
    assert f"not be found in {place}" in caught.value.what
    assert str(caught.value.where).endswith(str(Path(place)))
    with pytest.raises(DataError, match="the groups are looked for"), local.opened(Path(path)):
        pass  # `fishseg score` and `fishseg crossvalidate` read groups, too


def test_groups_outside_of_the_one_folder_of_a_zip_are_refused() -> None:
    lay_out(Path("source"), "groups.csv", *(f"mine/{name}" for name in PLAIN))
    pack(Path("source"), Path("mine.zip"))
    with pytest.raises(DataError, match=r"in mine/groups\.csv, .* found in groups\.csv"):
        download("mine.zip")


def test_groups_behind_a_link_are_refused_and_circles_end() -> None:
    lay_out(Path("elsewhere"), "a.jpg", "groups.csv")
    source = lay_out(Path("source"), "masks/a.png", "groups.csv")
    try:
        (source / "round").symlink_to(source.absolute(), target_is_directory=True)
    except OSError:
        pytest.skip("links are not allowed here")
    (source / "images").symlink_to(Path("elsewhere").absolute(), target_is_directory=True)
    with pytest.raises(DataError, match=r"not be found in images/groups\.csv"):
        download("source")
    Path("elsewhere/groups.csv").unlink()
    assert (download("source") / "groups.csv").is_file()


def test_what_macos_and_hidden_folders_hold_are_no_groups() -> None:
    hidden = ("__MACOSX/groups.csv", "images/._groups.csv", ".git/groups.csv")
    lay_out(Path("source"), *PLAIN, *hidden)
    assert not (download("source") / "groups.csv").exists()


def test_opened_removes_what_it_unpacked() -> None:
    archive = pack(lay_out(Path("source"), *PLAIN), Path("pictures.zip"))
    with local.opened(archive) as folder:
        assert len(find_pairs(folder)[0]) == 2
    assert not folder.exists()
    with local.opened(Path("source")) as folder:
        assert folder == Path("source")
    assert folder.exists()


@pytest.mark.parametrize("coco_file", [False, True])
def test_what_a_killed_download_left_in_the_store_goes(
    coco_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = lay_out(Path("mine"), *PLAIN)
    if coco_file:
        shutil.rmtree(source / "masks")
        (source / "result.json").write_text('{"images": [], "annotations": [], "categories": []}')
    pack(source, Path("mine.zip"))
    Path("data/.store").mkdir(parents=True)
    left = Path("data/.store/unpacked")

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        shutil.copytree(left, "as it was")
        raise Killed

    monkeypatch.setattr(*((coco, "read") if coco_file else (local, "_copy")), kill)
    with pytest.raises(Killed):
        download("mine.zip")
    shutil.rmtree(left)
    shutil.move("as it was", left)
    assert len(list(left.iterdir())) == 2
    for path in left.rglob("*"):
        os.utime(path, (0, 0))
    store._sweep.cache_clear()
    store.folder("unpacked")
    assert list(left.iterdir()) == []


@pytest.mark.parametrize("name", ["Fish_Dataset", "NA_Fish_Dataset"])
def test_a_class_that_would_be_passed_over_is_refused(name: str) -> None:
    lay_out(Path("mine"), f"images/{name}/a.jpg", f"masks/{name}/a.png", *PLAIN)
    with pytest.raises(DataError, match=f"a class cannot be called '{name}'"):
        download("mine")
    assert not Path("data/raw").exists()


def test_the_same_source_gives_the_same_bytes() -> None:
    lay_out(Path("source"), *PLAIN, "images/b.png")
    first = contents(download("source"))
    shutil.rmtree("data/raw")
    assert contents(download("source")) == first


def not_a_zip() -> str:
    Path("source.zip").write_bytes(b"Rar!")
    return "source.zip"


def damaged_zip() -> str:
    archive = pack(lay_out(Path("source"), *PLAIN), Path("source.zip"))
    damaged = bytearray(archive.read_bytes())
    damaged[damaged.index(b"images/a b.jpg", 40)] ^= 0xFF
    archive.write_bytes(damaged)
    return "source.zip"


def empty_folder() -> str:
    Path("source").mkdir()
    return "source"


def only_unpaired() -> str:
    lay_out(Path("source"), "images/b.png", "masks/c.png")
    return "source"


def inside_raw() -> str:
    lay_out(Path("data/raw/source"), *PLAIN)
    return "data/raw/source"


def raw_itself() -> str:
    lay_out(Path("data/raw"), *PLAIN)
    return str(Path("data/raw").absolute())


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda: "missing", "there is no such path"),
        (not_a_zip, "neither a folder nor a zip"),
        (damaged_zip, "damaged"),
        (empty_folder, "layout"),
        (only_unpaired, "no image has a mask"),
        (inside_raw, "lies in the folder that this stage fills"),
        (raw_itself, "lies in the folder that this stage fills"),
    ],
)
def test_unusable_sources(prepare: Callable[[], str], message: str) -> None:
    path = prepare()
    with pytest.raises(DataError, match=message) as caught:
        download(path)
    assert caught.value.remedy
    assert path in str(caught.value.where)


def test_the_unpaired_are_named_where_nothing_is_paired() -> None:
    with pytest.raises(DataError) as caught:
        download(only_unpaired())
    assert "images/b.png" in str(caught.value)
    assert "masks/c.png" in str(caught.value)


def test_a_filled_target_is_refused() -> None:
    lay_out(Path("source"), *PLAIN)
    lay_out(Path("data/raw"), "leftover.png")
    with pytest.raises(DataError, match="something already"):
        download("source")
    assert contents(Path("data/raw")) == {"leftover.png": b"leftover.png"}


def test_a_full_disk_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(Path("source"), *PLAIN)

    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(DataError, match="No space left on device") as caught:
        download("source")
    assert "free some space" in str(caught.value.remedy)

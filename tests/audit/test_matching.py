from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_photos import draw_photo, moved, transform, write

from fishseg import store
from fishseg.audit import matching
from fishseg.audit.grey_image import load_grey_image
from fishseg.audit.matching import (
    Match,
    Query,
    Sources,
    as_a_whole,
    by_features,
    match,
    prepare_sources,
)
from fishseg.audit.registration import register
from fishseg.errors import DataError, StorageError

PHOTOS = [draw_photo(seed)[0] for seed in range(3)]


@pytest.fixture
def sources(workspace: Path) -> Path:
    files = [write(workspace / f"photo{n}.png", photo) for n, photo in enumerate(PHOTOS)]
    return prepare_sources(files)


def copies(folder: Path, n: int) -> list[Query]:
    return [
        Query(
            write(
                folder / f"copy{number}.png",
                moved(PHOTOS[number % 3], transform(number % 2 == 1, 37.0 * number)),
            ),
            preferred=(0, 1, 2),
        )
        for number in range(n)
    ]


def as_plain(found: list[list[Match]]) -> list[list[tuple[object, ...]]]:
    return [
        [(m.source, m.affine.tobytes(), m.likeness, str(m.residual_px)) for m in matches]
        for matches in found
    ]


def stored(workspace: Path) -> list[Path]:
    return sorted((workspace / "data/.store/audit").iterdir())


def test_the_store_gives_back_pictures_as_they_were(workspace: Path, sources: Path) -> None:
    opened = Sources(sources)
    for number in range(3):
        live = load_grey_image(workspace / f"photo{number}.png")
        assert opened[number].size == live.size
        np.testing.assert_array_equal(opened[number].pixels, live.pixels)
    before = stored(workspace)
    files = [write(workspace / f"photo{n}.png", photo) for n, photo in enumerate(PHOTOS)]
    assert prepare_sources(files) == sources
    assert stored(workspace) == before
    assert prepare_sources(files[:2]) != sources


def test_copies_lie_on_their_photos(workspace: Path, sources: Path) -> None:
    found = match(copies(workspace, 6), sources, as_a_whole, description="", workers=1)
    for number, matches in enumerate(found):
        assert matches[0].source == number % 3
        exact = transform(number % 2 == 1, 37.0 * number)
        points = np.array([[50, 150, 100], [50, 50, 100], [1, 1, 1]])
        assert np.abs((matches[0].affine - exact) @ points).max() < 0.3
        assert all(other.likeness < 0.4 for other in matches[1:])


def test_features_find_what_was_cut_out(workspace: Path, sources: Path) -> None:
    # The right half of a mirrored copy; no longer about the middle.
    half = moved(PHOTOS[1], transform(True, 64))[:, 80:]
    query = Query(write(workspace / "half.png", half), preferred=(0, 1, 2))
    (matches,) = match([query], sources, by_features, description="", workers=1)
    assert matches[0].source == 1
    assert matches[0].likeness > 0.6
    cut = np.array([[1, 0, -80], [0, 1, 0], [0, 0, 1]], np.float64)
    points = np.array([[110, 150, 120], [50, 50, 100], [1, 1, 1]])
    exact = cut @ transform(True, 64)
    there = np.linalg.inv(exact) @ points
    assert np.abs((matches[0].affine - exact) @ there).max() < 0.5
    # Sources of other classes are not tried.
    elsewhere = Query(query.file, preferred=(0, 2))
    assert match([elsewhere], sources, by_features, description="", workers=1) == [[]]


def test_a_picture_is_not_compared_with_itself(workspace: Path, sources: Path) -> None:
    files = [write(workspace / f"photo{n}.png", photo) for n, photo in enumerate(PHOTOS)]
    queries = [Query(file, itself=n, preferred=(0, 1, 2)) for n, file in enumerate(files)]
    for search in (as_a_whole, by_features):
        found = match(queries, sources, search, description="", workers=1)
        assert all(
            other.source != number for number, matches in enumerate(found) for other in matches
        )


def test_an_interrupted_run_goes_on_where_it_was(
    workspace: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = copies(workspace, 5)
    monkeypatch.setattr(matching, "_CHUNK", 2)
    computed: list[Path] = []
    load = load_grey_image

    def interrupted(path: Path) -> object:
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append(path)
        return load(path)

    monkeypatch.setattr(matching, "load_grey_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        match(queries, sources, as_a_whole, description="", workers=1)

    again: list[Path] = []

    def counted(path: Path) -> object:
        again.append(path)
        return load(path)

    monkeypatch.setattr(matching, "load_grey_image", counted)
    resumed = match(queries, sources, as_a_whole, description="", workers=1)
    assert [path.name for path in again] == ["copy2.png", "copy3.png", "copy4.png"]

    monkeypatch.setattr(matching, "register", None)
    cached = match(queries, sources, as_a_whole, description="", workers=1)
    assert as_plain(cached) == as_plain(resumed)

    monkeypatch.setattr(matching, "register", register)
    monkeypatch.setattr(matching, "load_grey_image", load)
    for place in stored(workspace):
        if place.name.startswith("matches-"):
            place.unlink()
    live = match(queries, sources, as_a_whole, description="", workers=1)
    assert as_plain(live) == as_plain(cached)


@pytest.mark.parametrize("damage", ["", "[[{", "[[1]]", "{}"])
def test_a_damaged_entry_of_the_store_is_computed_again(
    workspace: Path, sources: Path, damage: str
) -> None:
    queries = copies(workspace, 2)
    before = match(queries, sources, as_a_whole, description="", workers=1)
    (entry,) = [place for place in stored(workspace) if place.suffix == ".json"]
    good = entry.read_bytes()
    entry.write_text(damage)
    after = match(queries, sources, as_a_whole, description="", workers=1)
    assert as_plain(after) == as_plain(before)
    assert entry.read_bytes() == good


@pytest.mark.parametrize(
    ("file", "old", "new", "anew"),
    [
        ("audit/registration.py", "import annotations", "import annotations\n\nONE = 1", True),
        ("audit/registration.py", '"""', '"""Said otherwise: ', False),
        ("images/decoding.py", "import annotations", "import annotations\n\nONE = 1", True),
        ("audit/verdicts.py", "import annotations", "import annotations\n\nONE = 1", False),
    ],
)
def test_changed_code_registers_anew(
    workspace: Path,
    sources: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    old: str,
    new: str,
    anew: bool,
) -> None:
    queries = copies(workspace, 1)
    before = match(queries, sources, as_a_whole, description="", workers=1)
    entries = len(stored(workspace))
    code = workspace / "code"
    shutil.copytree(store.SOURCES / "fishseg", code / "fishseg")
    text = (code / "fishseg" / file).read_text()
    assert old in text
    (code / "fishseg" / file).write_text(text.replace(old, new, 1))
    monkeypatch.setattr(store, "SOURCES", code)
    photos = [write(workspace / f"photo{n}.png", photo) for n, photo in enumerate(PHOTOS)]
    again = prepare_sources(photos)
    assert (again != sources) == anew
    after = match(queries, again, as_a_whole, description="", workers=1)
    assert as_plain(after) == as_plain(before)  # what runs is as it was
    assert len(stored(workspace)) == entries * (1 + anew)


def test_a_store_that_cannot_be_used_is_one_message(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = copies(workspace, 4)
    (workspace / "file").touch()
    monkeypatch.setenv("FISHSEG_STORE", str(workspace / "file"))
    with pytest.raises(StorageError, match=r"(?s)Not a directory.*audit.*FISHSEG_STORE") as caught:
        prepare_sources([query.file for query in queries])
    assert caught.value.remedy is not None


@pytest.mark.parametrize("workers", [1, 2])
def test_a_place_that_takes_no_matches_is_one_message(
    workspace: Path, sources: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(matching, "_CHUNK", 1)
    queries = copies(workspace, 4)
    before = match(queries, sources, as_a_whole, description="", workers=1)
    assert len(before) == 4
    for kept in sources.parent.glob("matches-*"):
        kept.unlink()
        (kept / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError):
        match(queries, sources, as_a_whole, description="", workers=workers)


def test_a_full_disk_leaves_nothing_half_written(
    workspace: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = copies(workspace, 1)
    before = stored(workspace)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        match(queries, sources, as_a_whole, description="", workers=1)
    with pytest.raises(StorageError, match="No space left"):
        prepare_sources([query.file for query in queries])
    assert stored(workspace) == before


def test_processes_give_the_same_bits(
    workspace: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "_CHUNK", 1)
    queries = copies(workspace, 4)
    alone = match(queries, sources, as_a_whole, description="", workers=1)
    for place in stored(workspace):
        if place.suffix == ".json":
            place.unlink()
    together = match(queries, sources, as_a_whole, description="", workers=2)
    assert as_plain(together) == as_plain(alone)


def test_a_copy_that_cannot_be_read_is_an_error(workspace: Path, sources: Path) -> None:
    (query,) = copies(workspace, 1)
    query.file.path.write_bytes(b"no image")
    with pytest.raises(DataError, match="no image"):
        match([query], sources, as_a_whole, description="", workers=1)

"""The store: names that know the code, files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fishseg import store
from fishseg.errors import StorageError

MODULES = ["fishseg.one", "fishseg.rooms.two"]
SOURCES = {
    "__init__.py": '"""A package."""\n',
    "one.py": '"""Says what it is."""\nfrom fishseg.rooms import two\n\nSTEP = 2\n',
    "rooms/__init__.py": "from fishseg.rooms.idle import nothing\n",
    "rooms/two.py": (
        "from typing import TYPE_CHECKING\n"
        "from fishseg.errors import Oops\n"
        "if TYPE_CHECKING:\n    from fishseg.rooms.idle import nothing\n\n"
        "def double(x):\n    '''Twice x.'''\n    from fishseg import deep\n    return 2 * x\n"
    ),
    "rooms/idle.py": "nothing = 0\n",
    "deep.py": "import fishseg.deeper\n",
    "deeper.py": "DEPTH = 3\n",
    "errors.py": "class Oops(Exception): ...\n",
}


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package named fishseg whose code may be changed."""
    for name, text in SOURCES.items():
        file = tmp_path / "fishseg" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(store, "SOURCES", tmp_path)
    return tmp_path / "fishseg"


def name_after(sources: Path, file: str, old: str, new: str) -> str:
    """The name of one state of the code, in which a file reads otherwise."""
    store._code_sha256.cache_clear()
    path = sources / file
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    try:
        return store.fingerprint({}, modules=["fishseg.one"])
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("one.py", "STEP = 2", "STEP = 3"),
        ("one.py", "STEP", "PACE"),
        ("rooms/two.py", "2 * x", "x * 2"),
        ("deep.py", "import", "DEEP = 1\nimport"),
        ("deeper.py", "3", "4"),  # imported within a function, by a module that is imported
    ],
)
def test_other_code_gives_another_name(sources: Path, file: str, old: str, new: str) -> None:
    assert name_after(sources, file, old, new) != name_after(sources, file, old, old)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("one.py", "Says what it is.", "Says it otherwise."),
        ("one.py", "STEP = 2", "STEP = 2  # a stride"),
        ("one.py", "STEP = 2", "\n\n\nSTEP  =  2"),
        ("rooms/two.py", "Twice x.", "The double of x."),
        ("rooms/two.py", "    '''Twice x.'''\n", ""),
        ("rooms/idle.py", "0", "1"),  # imported for types alone, and by a package
        ("errors.py", "...", "pass"),
        ("__init__.py", "A package.", "Another."),
    ],
)
def test_what_changes_no_number_keeps_the_name(
    sources: Path, file: str, old: str, new: str
) -> None:
    assert name_after(sources, file, old, new) == name_after(sources, file, old, old)


def test_a_package_that_is_named_counts(sources: Path) -> None:
    before = store.code_sha256(("fishseg.rooms",))
    (sources / "rooms/idle.py").write_text("nothing = 1\n")
    store._code_sha256.cache_clear()
    assert store.code_sha256(("fishseg.rooms",)) != before


@pytest.mark.usefixtures("sources")
def test_a_module_that_is_not_there_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match=r"no module fishseg\.three"):
        store.fingerprint({}, modules=["fishseg.three"])


def test_every_fact_counts_and_their_order_does_not() -> None:
    facts: dict[str, Any] = {"a": 1, "b": [1, 2], "c": "bf16"}
    name = store.fingerprint(facts)
    assert name == store.fingerprint(dict(reversed(facts.items())))
    others = [{**facts, "a": 2}, {**facts, "b": [2, 1]}, {**facts, "c": "fp32"}, {"a": 1}]
    assert len({name, *(store.fingerprint(other) for other in others)}) == 5


def test_the_version_of_a_library_counts_and_so_does_its_absence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {"torch": "2.13.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    names = set()
    for openvino, torch_version in ((None, "2.13.0"), ("2026.4", "2.13.0"), ("2026.4", "2.14.0")):
        store._version.cache_clear()
        versions["torch"] = torch_version
        if openvino:
            versions["openvino"] = openvino
        names.add(store.fingerprint({}, libraries=["torch", "openvino"]))
    store._version.cache_clear()
    assert len(names) == 3


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_files_are_for_whom_the_umask_lets_read_them(tmp_path: Path) -> None:
    store.save_tensors({"x": torch.zeros(2)}, tmp_path / "a.safetensors")
    assert mode(tmp_path / "a.safetensors") == 0o640
    with store.write_whole(tmp_path / "folder") as new:
        new.mkdir()
        (new / "private").touch(mode=0o600)
    assert mode(tmp_path / "folder/private") == 0o640


def test_tensors_come_back_wherever_they_lay(tmp_path: Path) -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    store.save_tensors({"x": tensor.T}, tmp_path / "a", {"digest": "d"})
    assert torch.equal(load_file(tmp_path / "a")["x"], tensor.T)


@pytest.mark.parametrize("before", [None, b"old"])
def test_where_writing_breaks_off_the_old_file_stays_and_nothing_else(
    tmp_path: Path, before: bytes | None
) -> None:
    path = tmp_path / "file"
    if before:
        path.write_bytes(before)
    with pytest.raises(KeyboardInterrupt), store.write_whole(path) as new:  # noqa: PT012
        assert new.name == "file"
        new.write_bytes(b"half")
        raise KeyboardInterrupt
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == (
        {"file": before} if before else {}
    )
    with store.write_whole(path) as new:
        new.write_bytes(b"whole")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"file": b"whole"}


@pytest.fixture
def small_files() -> Iterator[None]:
    """A limit to the size of files, which the system reports as it does a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_disk_that_fills_up_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    reason = os.strerror(errno.EFBIG)
    with pytest.raises(StorageError, match=rf"(?s)cannot be written.*{reason}.*tensors"):
        store.save_tensors({"x": torch.zeros(9000)}, tmp_path / "tensors")
    with (
        pytest.raises(StorageError, match=rf"(?s)cannot be written.*{reason}.*bytes"),
        store.write_whole(tmp_path / "bytes") as new,
    ):
        new.write_bytes(b"x" * 20_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "free some disk space"), (errno.EROFS, "make that folder writable")],
)
def test_the_remedy_fits_the_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "store"))
    places = {store.folder("shards"): True, tmp_path: False}
    for place, in_store in places.items():
        with (
            pytest.raises(StorageError, match=os.strerror(code)) as caught,
            store.write_whole(place / "file"),
        ):
            raise OSError(code, os.strerror(code))
        assert caught.value.remedy is not None
        assert caught.value.remedy.startswith(remedy)
        assert ("FISHSEG_STORE" in caught.value.remedy) == in_store


def test_a_folder_that_is_gone_is_one_message(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"(?s)No such file.*where.*gone"),
        store.write_whole(tmp_path / "gone" / "file"),
    ):
        pass


def test_a_folder_that_another_run_was_faster_with_stays(tmp_path: Path) -> None:
    with store.write_whole(tmp_path / "folder") as new:
        new.mkdir()
        (new / "file").write_text("late")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/file").write_text("first")
    assert (tmp_path / "folder/file").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_store_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FISHSEG_STORE", "~/fish")
    assert store.folder("shards") == tmp_path / "home/fish/shards"
    assert not Path("~").exists()
    monkeypatch.setenv("FISHSEG_STORE", "~nobody-of-this-name/fish")
    with pytest.raises(StorageError, match=r"(?s)home directory.*FISHSEG_STORE"):
        store.folder("shards")


def test_a_store_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"(?s)Not a directory.*file/shards.*FISHSEG_STORE"):
        store.folder("shards")


def test_what_a_killed_run_left_goes_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path))
    writing = store.write_whole(store.folder("shards") / "shard")
    new = writing.__enter__()  # and killed
    new.write_bytes(b"half")
    store._sweep.cache_clear()
    assert len(list(store.folder("shards").iterdir())) == 1
    os.utime(new.parent, (0, 0))
    store._sweep.cache_clear()
    assert len(list(store.folder("shards").iterdir())) == 1  # a file in it is younger
    os.utime(new, (0, 0))
    store._sweep.cache_clear()
    assert list(store.folder("shards").iterdir()) == []


def test_what_was_left_deeper_and_by_downloads_goes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path))
    place = store.folder("training")
    whole = place / "run/state.pt"
    left = [place / "partial-x1/wheel", place / "run/.0f.partial/state.pt"]
    for file in (whole, *left):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"half")
        os.utime(file, (0, 0))
        os.utime(file.parent, (0, 0))
    store._sweep.cache_clear()
    store.folder("training")
    assert [path for path in place.rglob("*") if path.is_file()] == [whole]


def test_who_uses_a_store_is_known_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path))
    store.folder("shards")
    assert store.users(tmp_path) == 0  # itself does not count
    program = (
        "from fishseg import store; store.folder('shards'); print('in use', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "in use\n"
    assert store.users(tmp_path) == 1
    other.kill()
    other.wait()
    assert store.users(tmp_path) == 0
    assert len(list((tmp_path / ".users").iterdir())) == 1


def test_a_link_shares_its_bytes_or_else_copies_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"content")
    target.write_bytes(b"old")
    store.link(source, target)
    assert source.samefile(target)

    def impossible(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "hardlink_to", impossible)
    store.link(source, target)
    assert target.read_bytes() == b"content"
    assert not source.samefile(target)
    shutil.rmtree(tmp_path)
    with pytest.raises(StorageError, match=r"(?s)cannot be written.*target"):
        store.link(source, target)


def test_the_real_code_has_a_name() -> None:
    # Every module that a stage runs through can be parsed and followed.
    stages = sorted(path.stem for path in (store.SOURCES / "stages").glob("[!_]*.py"))
    names = {stage: store.code_sha256((f"stages.{stage}",)) for stage in stages}
    assert len(set(names.values())) == len(stages)

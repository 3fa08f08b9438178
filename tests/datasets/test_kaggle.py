"""Kaggle's own client, against a stand-in for Kaggle."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path
from typing import TYPE_CHECKING

import kagglesdk.kaggle_env
import pytest
from kaggle_server import DOWNLOAD, GOOD_TOKEN, INTROSPECT, STORAGE, KaggleServer

from fishseg.datasets import kaggle
from fishseg.errors import DataError, DownloadError, FishsegError, StorageError
from fishseg.params import DataParams

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
DiskUsage = namedtuple("DiskUsage", "total used free")
PAIRS = 2
# The client reads and keeps whole chunks; of a cut transfer it loses the last, incomplete one.
CHUNK = 1 << 20


def make_archive(*, levels: int = 2, without: tuple[str, ...] = ()) -> bytes:
    """A zip in the layout of the real one, of incompressible files, about 4 MB."""
    rng = random.Random(0)
    outer = "Fish_Dataset/" * levels
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in kaggle.CLASSES:
            for folder in (name, f"{name} GT"):
                for number in range(1, PAIRS + 1):
                    path = f"{name}/{folder}/{number:05d}.png"
                    content = rng.randbytes(110_000)
                    if path not in without:
                        archive.writestr(outer + path, content)
        archive.writestr("Fish_Dataset/license.txt", "CC BY 4.0")
        archive.writestr("NA_Fish_Dataset/Trout/21.png", rng.randbytes(1000))
    return buffer.getvalue()


ARCHIVE = make_archive()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KaggleServer]:
    """A running server that the client in this process takes for Kaggle, and credentials."""
    for name in list(os.environ):
        if name.startswith("KAGGLE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_USERNAME", "tester")
    monkeypatch.setenv("KAGGLE_KEY", "key")
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(kaggle, "PAIRS_PER_CLASS", PAIRS)
    monkeypatch.setattr(kaggle, "BACKOFF_SECONDS", (0.0, 0.0))
    with KaggleServer().running() as running:
        running.archive = ARCHIVE
        endpoints = kagglesdk.kaggle_env._env_to_endpoint
        monkeypatch.setitem(endpoints, kagglesdk.kaggle_env.KaggleEnv.PROD, running.url)
        yield running


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def params() -> DataParams:
    return DataParams(
        source="kaggle",
        path="",
        seed=0,
        photos_per_class=1,
        copies_per_photo=1,
        scene="market",
        wrong_mask_share=0,
        mask_values="auto",
    )


def stored(tmp_path: Path) -> dict[str, bytes]:
    files = (tmp_path / "store" / "kaggle").iterdir()
    return {path.name: path.read_bytes() for path in files if path.name != "lock"}


def assert_complete(raw: Path, archive: bytes = ARCHIVE) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as expected:
        files = {path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file()}
        assert files == set(expected.namelist())
        for name in files:
            assert (raw / name).read_bytes() == expected.read(name)


def ranges(server: KaggleServer) -> list[str | None]:
    return [request.byte_range for request in server.asked(STORAGE)]


def run_download(
    raw: Path, *, before: str = "", url: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Download in a process of its own, which prints a FishsegError and exits 1 as a stage does."""
    program = f"""
import sys
from pathlib import Path
import kagglesdk.kaggle_env as environment
if {url!r}:
    environment._env_to_endpoint[environment.KaggleEnv.PROD] = {url!r}
from fishseg.datasets import kaggle
from fishseg.errors import FishsegError
kaggle.PAIRS_PER_CLASS = {PAIRS}
kaggle.BACKOFF_SECONDS = ()
{before}
try:
    kaggle.download(None, Path({str(raw)!r}))
except FishsegError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KAGGLE_") and not name.lower().endswith("_proxy")
    }
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**clean, **environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# A whole download


def test_a_download_fills_raw_in_the_layout_of_the_archive(
    server: KaggleServer,
    params: DataParams,
    raw: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kaggle.download(params, raw)
    assert_complete(raw)
    assert stored(tmp_path) == {"a-large-scale-fish-dataset.zip": ARCHIVE}
    [call] = server.asked(DOWNLOAD)
    assert call.body is not None
    assert call.body["ownerSlug"] == "crowww"
    assert call.body["datasetSlug"] == "a-large-scale-fish-dataset"
    assert call.authorization is not None
    assert call.authorization.startswith("Basic ")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("100%") == 2  # fetching and unpacking


def test_a_mirror_with_one_folder_level_is_kept_as_it_is(
    server: KaggleServer, params: DataParams, raw: Path
) -> None:
    server.archive = make_archive(levels=1)
    kaggle.download(params, raw)
    assert_complete(raw, server.archive)
    assert (raw / "Fish_Dataset" / "Trout" / "Trout GT" / "00001.png").is_file()


def test_an_archive_in_the_store_needs_no_network_and_no_credentials(
    server: KaggleServer, params: DataParams, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.download(params, raw)
    shutil.rmtree(raw)
    server.requests.clear()
    monkeypatch.delenv("KAGGLE_KEY")
    kaggle.download(params, raw)
    assert_complete(raw)
    assert server.requests == []


def test_an_api_token_is_sent_as_such(
    server: KaggleServer, params: DataParams, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", GOOD_TOKEN)
    kaggle.download(params, raw)
    assert_complete(raw)
    assert server.asked(DOWNLOAD)[0].authorization == f"Bearer {GOOD_TOKEN}"


# Broken transfers


def test_cut_connections_go_on_where_they_stopped(
    server: KaggleServer, params: DataParams, raw: Path
) -> None:
    # Each further attempt asks twice: once to learn what Kaggle has now, once for the rest.
    server.cuts = {0: CHUNK + 10, 2: CHUNK + 20}
    kaggle.download(params, raw)
    assert_complete(raw)
    assert ranges(server) == [None, None, f"bytes={CHUNK}-", None, f"bytes={2 * CHUNK}-"]
    assert {request.if_range for request in server.asked(STORAGE)} == {None, '"first"'}


def test_a_file_that_changed_meanwhile_starts_from_zero(
    server: KaggleServer,
    params: DataParams,
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.cuts = {0: 2 * CHUNK}
    with monkeypatch.context() as patch:
        patch.setattr(kaggle, "BACKOFF_SECONDS", ())
        with pytest.raises(DownloadError, match=r"failed \(2\.1 MB have arrived\)"):
            kaggle.download(params, raw)
    assert stored(tmp_path)["a-large-scale-fish-dataset.part"] == ARCHIVE[: 2 * CHUNK]

    server.archive, server.etag = make_archive(levels=1), '"second"'
    kaggle.download(params, raw)
    assert_complete(raw, server.archive)
    assert ranges(server) == [None, None]


def test_a_file_that_changes_between_two_questions_starts_from_zero(
    server: KaggleServer, params: DataParams, raw: Path
) -> None:
    changed = make_archive(levels=1)
    server.cuts = {0: 2 * CHUNK}
    server.changes = {2: (changed, '"second"')}
    kaggle.download(params, raw)
    assert_complete(raw, changed)
    assert server.asked(STORAGE)[2].byte_range == f"bytes={2 * CHUNK}-"
    assert server.asked(STORAGE)[2].if_range == '"first"'


def test_an_error_page_never_becomes_part_of_the_archive(
    server: KaggleServer, params: DataParams, raw: Path
) -> None:
    """The client takes a 503 to its ranged question for the file; see `kaggle._transfer`."""
    server.cuts = {0: 2 * CHUNK}
    server.failures[STORAGE] = [0, 0, 503, 503]
    kaggle.download(params, raw)
    assert_complete(raw)
    assert ranges(server) == [None, None, f"bytes={2 * CHUNK}-", None, None]


def test_a_killed_process_is_continued_by_the_next(
    server: KaggleServer, raw: Path, tmp_path: Path
) -> None:
    credentials = {"KAGGLE_USERNAME": "tester", "KAGGLE_KEY": "key"}
    kill_after_a_chunk = """
import importlib, os, signal
client = importlib.import_module("kaggle.api.kaggle_api_extended")
class Bomb(client.tqdm):
    def update(self, n=1):
        os.kill(os.getpid(), signal.SIGKILL)
client.tqdm = Bomb
"""
    killed = run_download(raw, before=kill_after_a_chunk, url=server.url, **credentials)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert stored(tmp_path)["a-large-scale-fish-dataset.part"] == ARCHIVE[:CHUNK]
    assert list(raw.iterdir()) == []

    second = run_download(raw, url=server.url, **credentials)
    assert second.returncode == 0, second.stderr
    assert_complete(raw)
    assert ranges(server) == [None, None, f"bytes={CHUNK}-"]
    assert second.stdout == ""


# Refusals


@pytest.mark.parametrize(
    ("path", "status", "what", "remedy"),
    [
        (DOWNLOAD, 401, "does not accept the credentials", "new token"),
        (DOWNLOAD, 403, "refuses the data set", "accept the terms"),
        (STORAGE, 403, "refuses the data set", "accept the terms"),
        (DOWNLOAD, 404, "no such data set", "data.source=local"),
        (DOWNLOAD, 418, "unexpected status 418", "download the data set there"),
    ],
)
def test_a_refusal_is_said_at_once(
    server: KaggleServer,
    params: DataParams,
    raw: Path,
    path: str,
    status: int,
    what: str,
    remedy: str,
) -> None:
    server.failures[path] = [status]
    with pytest.raises(DownloadError, match=what) as caught:
        kaggle.download(params, raw)
    assert caught.value.where == "https://www.kaggle.com/datasets/crowww/a-large-scale-fish-dataset"
    assert caught.value.remedy is not None
    assert remedy in caught.value.remedy
    assert len(server.asked(DOWNLOAD)) == 1


@pytest.mark.parametrize(
    ("status", "what"), [(429, "limits how often"), (500, "problem of its own"), (503, r"\(503\)")]
)
def test_a_passing_trouble_is_tried_again_and_not_for_ever(
    server: KaggleServer, params: DataParams, raw: Path, status: int, what: str
) -> None:
    server.failures[DOWNLOAD] = [status] * 3
    with pytest.raises(DownloadError, match=what):
        kaggle.download(params, raw)
    assert len(server.asked(DOWNLOAD)) == 3
    server.failures[DOWNLOAD] = [status] * 2
    kaggle.download(params, raw)
    assert_complete(raw)


def test_waits_grow_between_attempts(
    server: KaggleServer, params: DataParams, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(kaggle, "BACKOFF_SECONDS", (1.0, 2.0, 3.0))
    monkeypatch.setattr("time.sleep", waits.append)
    server.failures[DOWNLOAD] = [500, 500]
    kaggle.download(params, raw)
    assert waits == [1.0, 2.0]


def test_without_credentials_there_is_one_message(tmp_path: Path, raw: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    finished = run_download(
        raw, HOME=str(home), XDG_CONFIG_HOME=str(home), FISHSEG_STORE=str(tmp_path / "store")
    )
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 4
    assert finished.stderr.startswith("there are no credentials for Kaggle\n  where:")
    assert "KAGGLE_API_TOKEN" in finished.stderr


def test_an_unknown_token_is_told_from_none(
    server: KaggleServer, params: DataParams, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a-revoked-token")
    with pytest.raises(DownloadError, match="does not know the API token of KAGGLE_API_TOKEN"):
        kaggle.download(params, raw)
    server.failures[INTROSPECT] = [401]
    with pytest.raises(DownloadError, match="does not accept the credentials"):
        kaggle.download(params, raw)
    assert server.asked(DOWNLOAD) == []


# No way to Kaggle


def test_nobody_listens(server: KaggleServer, params: DataParams, raw: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    endpoints = kagglesdk.kaggle_env._env_to_endpoint
    endpoints[kagglesdk.kaggle_env.KaggleEnv.PROD] = f"http://127.0.0.1:{port}"
    with pytest.raises(DownloadError, match=r"failed .*Connection refused") as caught:
        kaggle.download(params, raw)
    assert caught.value.remedy is not None
    assert "check the network" in caught.value.remedy


def test_no_name_service(
    server: KaggleServer, params: DataParams, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DownloadError, match=r"failed .*Name or service not known"):
        kaggle.download(params, raw)


def test_no_answer(
    server: KaggleServer, params: DataParams, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.mute.set()
    monkeypatch.setattr(kaggle, "TIMEOUT_SECONDS", 0.1)
    with pytest.raises(DownloadError, match=r"did not answer within 0\.1 s"):
        kaggle.download(params, raw)
    assert len(server.asked(DOWNLOAD)) == 3


# Disks


def test_too_small_a_disk_is_noticed_before_the_transfer(
    server: KaggleServer,
    params: DataParams,
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: DiskUsage(10, 9, 1))
    with pytest.raises(DataError, match=r"0\.00 GB left"):
        kaggle.download(params, raw)
    assert stored(tmp_path) == {}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_disk_that_fills_up(
    server: KaggleServer, params: DataParams, raw: Path, tmp_path: Path
) -> None:
    place = tmp_path / "store" / "kaggle"
    place.mkdir(parents=True)
    (place / "a-large-scale-fish-dataset.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="No space left on device") as caught:
        kaggle.download(params, raw)
    assert caught.value.remedy is not None
    assert "FISHSEG_STORE" in caught.value.remedy
    assert len(server.asked(DOWNLOAD)) == 1


def test_a_store_that_cannot_be_made(
    server: KaggleServer,
    params: DataParams,
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"(?s)Not a directory.*FISHSEG_STORE") as caught:
        kaggle.download(params, raw)
    assert caught.value.where == str(tmp_path / "file" / "kaggle")


# What arrives


def test_a_damaged_archive_is_fetched_once_more(
    server: KaggleServer, params: DataParams, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = kaggle._fetch

    def damage_the_first(archive: Path) -> None:
        fetch(archive)
        if len(server.asked(DOWNLOAD)) == 1:
            archive.write_bytes(ARCHIVE[:-100])

    monkeypatch.setattr(kaggle, "_fetch", damage_the_first)
    kaggle.download(params, raw)
    assert_complete(raw)
    assert len(server.asked(DOWNLOAD)) == 2


def deflate64() -> bytes:
    """The archive as Windows packs what is larger than 2 GB; offset 10 names the compression."""
    archive = bytearray(ARCHIVE)
    archive[archive.rindex(b"PK\x01\x02") + 10] = 9
    return bytes(archive)


@pytest.mark.parametrize(
    ("content", "message", "remedy"),
    [
        (ARCHIVE[:-100], "damaged", "remove this file and run the same command again"),
        (deflate64(), "a way that Python does not know", "pack it anew"),
        (b"<html>Please log in</html>", "damaged", "download it from https://www.kaggle.com/"),
    ],
    ids=["cut off", "deflate64", "no zip"],
)
def test_an_archive_that_was_there_is_never_removed(
    content: bytes,
    message: str,
    remedy: str,
    server: KaggleServer,
    params: DataParams,
    raw: Path,
    tmp_path: Path,
) -> None:
    archive = tmp_path / "store/kaggle/a-large-scale-fish-dataset.zip"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        kaggle.download(params, raw)
    assert archive.read_bytes() == content
    assert server.asked(DOWNLOAD) == []
    assert caught.value.where == str(archive)
    assert remedy in str(caught.value.remedy)


def test_an_archive_that_stays_damaged_is_not_kept(
    server: KaggleServer, params: DataParams, raw: Path, tmp_path: Path
) -> None:
    middle = len(ARCHIVE) // 2
    server.archive = ARCHIVE[:middle] + b"damage" + ARCHIVE[middle + 6 :]
    with pytest.raises(DownloadError, match="archive that Kaggle sends is damaged") as caught:
        kaggle.download(params, raw)
    assert len(server.asked(DOWNLOAD)) == 2
    assert stored(tmp_path) == {}
    assert list(raw.iterdir()) == []
    assert caught.value.remedy is not None
    assert str(tmp_path / "store" / "kaggle") in caught.value.remedy


def test_missing_files_are_named(server: KaggleServer, params: DataParams, raw: Path) -> None:
    server.archive = make_archive(
        without=(
            "Trout/Trout/00001.png",
            "Trout/Trout/00002.png",
            "Shrimp/Shrimp GT/00002.png",
        )
    )
    with pytest.raises(DataError) as caught:
        kaggle.download(params, raw)
    assert caught.value.what == (
        "the data set is incomplete, these files are missing: "
        "Shrimp: masks 00002 (1 of 2); Trout: images 00001-00002 (2 of 2)"
    )
    assert not raw.exists()


def test_an_archive_of_something_else_lacks_everything(
    server: KaggleServer, params: DataParams, raw: Path
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cats.txt", "no fish")
    server.archive = buffer.getvalue()
    with pytest.raises(FishsegError) as caught:
        kaggle.download(params, raw)
    for name in kaggle.CLASSES:
        assert f"{name}: images 00001-00002 (2 of 2)" in str(caught.value)
        assert f"{name}: masks 00001-00002 (2 of 2)" in str(caught.value)


def test_stems_are_listed_as_ranges() -> None:
    assert kaggle._as_ranges([4, 10, 11, 12, 14]) == "00004, 00010-00012, 00014"
    assert kaggle._as_ranges([999, 1000]) == "00999-01000"
    assert kaggle._as_ranges([]) == ""

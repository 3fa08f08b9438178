"""The Kaggle data source: "A Large Scale Fish Dataset".

Ulucan, Karakaya and Turkan, "A Large-Scale Dataset for Fish Segmentation and Classification",
ASYU 2020: 9,000 images of nine species with masks, and the 430 photographs they were made from.

Kaggle's own client logs in and transfers; this module keeps the archive in the store, goes on
where a broken transfer stopped, checks that every pair is there, and says what to do when Kaggle
refuses.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import shutil
import time
from typing import TYPE_CHECKING, Any

import requests
from filelock import FileLock

from fishseg.datasets.archive import DamagedArchiveError, require_space, unpack
from fishseg.errors import DataError, DownloadError, FishsegError
from fishseg.store import folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fishseg.params import DataParams

OWNER = "crowww"
DATASET = "a-large-scale-fish-dataset"
PAGE = f"https://www.kaggle.com/datasets/{OWNER}/{DATASET}"

# As the folders of Fish_Dataset spell them, the typing error included.
CLASSES = (
    "Black Sea Sprat",
    "Gilt-Head Bream",
    "Hourse Mackerel",
    "Red Mullet",
    "Red Sea Bream",
    "Sea Bass",
    "Shrimp",
    "Striped Red Mullet",
    "Trout",
)
PAIRS_PER_CLASS = 1000  # named 00001 to 01000

MAX_UNPACKED_BYTES = 16 * 2**30
MAX_FILES = 100_000
TIMEOUT_SECONDS = 60.0  # without a single byte arriving
BACKOFF_SECONDS = (2.0, 5.0, 15.0, 30.0, 60.0)  # one more attempt after each

logger = logging.getLogger(__name__)


def download(params: DataParams, raw: Path) -> None:  # noqa: ARG001 - all sources are called alike
    """Fill the empty folder ``raw`` with the data set in the layout Kaggle gives it.

    The archive stays in the store, so that the next time nothing is fetched; an archive that was
    put there by hand is as good. One that was fetched now and turns out to be damaged is fetched
    once more; one that was there is never removed.

    Args:
        params: the section ``data``; nothing in it changes what this source gives.
        raw: the folder to fill; it may be missing, but not hold anything.

    Raises:
        DownloadError: there are no credentials, Kaggle refuses, or cannot be reached.
        DataError: the archive is unsafe or incomplete, or damaged and was there already; the disk
            is full.
    """
    try:
        archive = folder("kaggle") / f"{DATASET}.zip"
        with FileLock(archive.with_name("lock")):  # runs of `dvc queue` share the store
            _fetch_and_unpack(archive, raw)
    except OSError as error:
        raise _store_error(error) from None
    missing = _missing_files(raw)
    if missing:
        shutil.rmtree(raw)
        raise DataError(
            f"the data set is incomplete, these files are missing: {'; '.join(missing)}",
            where=archive,
            expected=f"{len(CLASSES)} classes of {PAIRS_PER_CLASS} images and their masks",
            remedy=f"remove this file and run the same command again; if the same files are "
            f"missing then, the data set has changed: see {PAGE}",
        )


def _fetch_and_unpack(archive: Path, raw: Path) -> None:
    was_there = archive.exists()
    for _ in range(2):
        if not archive.exists():
            _fetch(archive)
        try:
            return unpack(archive, raw, max_bytes=MAX_UNPACKED_BYTES, max_files=MAX_FILES)
        except DamagedArchiveError as error:
            if was_there:  # perhaps put there by hand, after hours
                raise DataError(
                    error.what,
                    where=archive.absolute(),
                    expected="a complete zip file",
                    remedy=f"remove this file and run the same command again, which fetches it; or "
                    f"download it from {PAGE} with a browser once more and save it there",
                ) from None
            logger.warning("%s; removing %s", error.what, archive)
            archive.unlink()
    raise DownloadError(
        "the archive that Kaggle sends is damaged",
        where=PAGE,
        expected="a complete zip file",
        remedy=f"run the same command again later, or download it from this page with a browser "
        f"and save it as {archive.absolute()}",
    )


def _missing_files(raw: Path) -> list[str]:
    """What lacks of each class, such as ``Trout: masks 00004, 00010-00011 (3 of 1000)``."""
    outer = raw / "Fish_Dataset"
    # The original archive has the folder twice, some mirrors have it once.
    inner = outer / "Fish_Dataset"
    dataset = inner if inner.is_dir() else outer
    missing = []
    for class_name in CLASSES:
        class_folder = dataset / class_name
        for kind, place in (
            ("images", class_folder / class_name),
            ("masks", class_folder / f"{class_name} GT"),
        ):
            found = {path.stem for path in place.glob("*") if path.is_file()}
            numbers = [n for n in range(1, PAIRS_PER_CLASS + 1) if f"{n:05d}" not in found]
            if numbers:
                share = f"{len(numbers)} of {PAIRS_PER_CLASS}"
                missing.append(f"{class_name}: {kind} {_as_ranges(numbers)} ({share})")
    return missing


def _as_ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as file stems: 4, 10, 11 become ``00004, 00010-00011``."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return ", ".join("-".join(f"{end:05d}" for end in ends) for ends in ranges)


class _TransientError(DownloadError):
    """A failure that may be gone on the next attempt."""


def _fetch(archive: Path) -> None:
    """Download the archive, going on where an earlier attempt stopped."""
    logger.info("downloading %s to %s", PAGE, archive)
    part = archive.with_suffix(".part")
    for wait_seconds in BACKOFF_SECONDS:
        try:
            _attempt(part)
            break
        except _TransientError as error:
            logger.warning("%s; trying again in %g s", error.what, wait_seconds)
            time.sleep(wait_seconds)
    else:
        _attempt(part)
    # Only a complete transfer gets the final name, which is what later runs look for.
    part.replace(archive)


def _attempt(part: Path) -> None:
    """Log in and transfer once, with every failure turned into an error of ours."""
    try:
        # The client talks on stdout; its progress bar is on stderr and stays.
        with _time_limit(TIMEOUT_SECONDS), contextlib.redirect_stdout(io.StringIO()):
            _transfer(_log_in(), part)
    except requests.RequestException as error:
        if error.response is not None:
            raise _refusal(error.response.status_code) from None
        raise _interruption(error, part) from None


def _transfer(api: Any, part: Path) -> None:
    """Let Kaggle's client fetch the archive, or the rest of it if ``part`` is its beginning.

    Beside ``part`` the client notes the ETag and size of what it is fetching, and asks for the
    rest under ``Range`` and ``If-Range`` if Kaggle still has that. Its own retries are turned
    off: they never look at the status, so that one error page (the address of the file is signed
    and expires) overwrites everything that had arrived. A new attempt here asks for a new
    address first, and the answer to that is checked.
    """
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest  # noqa: PLC0415

    request = ApiDownloadDatasetRequest()
    request.owner_slug = OWNER
    request.dataset_slug = DATASET
    with api.build_kaggle_client() as client:
        response = client.datasets.dataset_api_client.download_dataset(request)
        arrived_bytes = part.stat().st_size if part.exists() else 0
        archive_bytes = int(response.headers.get("Content-Length", 0))
        require_space(part.parent, archive_bytes - arrived_bytes)
        try:
            api.download_file(
                response,
                str(part),
                client.http_client(),
                quiet=False,
                resume=True,
                max_retries=0,
                timeout=TIMEOUT_SECONDS,
            )
        except ValueError as error:
            # More or fewer bytes than announced: what is there cannot be built on.
            part.unlink(missing_ok=True)
            raise _TransientError(
                f"Kaggle sent something else than announced: {error}",
                where=PAGE,
                remedy="run the same command again",
            ) from None


def _log_in() -> Any:
    """The client, logged in with the credentials it finds."""
    try:
        # Importing logs in too, without credentials exits in some versions, and takes a second:
        # only here, and only when something is to be fetched.
        from kaggle.api.kaggle_api_extended import KaggleApi  # noqa: PLC0415

        api = KaggleApi()
        api.authenticate()
    except SystemExit:
        raise _login_error() from None
    return api


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Give every request that sets no time limit one; Kaggle's client would wait forever."""
    adapter = requests.adapters.HTTPAdapter
    send = adapter.send

    def send_with_limit(*args: Any, **options: Any) -> Any:
        if options.get("timeout") is None:
            options["timeout"] = seconds
        return send(*args, **options)

    adapter.send = send_with_limit
    try:
        yield
    finally:
        adapter.send = send


def _login_error() -> DownloadError:
    from kagglesdk.kaggle_env import get_access_token_from_env  # noqa: PLC0415

    token, source = get_access_token_from_env()
    return DownloadError(
        f"Kaggle does not know the API token of {source}"
        if token
        else "there are no credentials for Kaggle",
        where=PAGE,
        expected="an API token from https://www.kaggle.com/settings/api",
        remedy="export KAGGLE_API_TOKEN=TOKEN, or save the token as ~/.kaggle/access_token; "
        "without an account: dvc exp run -S data.source=sample",
    )


def _refusal(status: int) -> FishsegError:
    """What an HTTP status of Kaggle means for the user."""
    if status == 401:
        return DownloadError(
            "Kaggle does not accept the credentials (401)",
            where=PAGE,
            expected="a valid API token, or a user name with its key",
            remedy="make a new token at https://www.kaggle.com/settings/api and "
            "export KAGGLE_API_TOKEN=TOKEN",
        )
    if status == 403:
        return DownloadError(
            "Kaggle refuses the data set to this account (403)",
            where=PAGE,
            expected="an account that has accepted the terms of the data set",
            remedy="log in with the same account, open this page, click Download and accept the "
            "terms; then run the same command again",
        )
    if status == 404:
        return DownloadError(
            "Kaggle has no such data set (404)",
            where=PAGE,
            remedy="open this page: if the data set has moved, download it there and use it with "
            "dvc exp run -S data.source=local -S data.path=FILE.zip",
        )
    if status == 429:
        return _TransientError(
            "Kaggle limits how often it may be asked, and the limit is reached (429)",
            where=PAGE,
            remedy="wait some minutes and run the same command again; what has arrived is kept",
        )
    if status >= 500:
        return _TransientError(
            f"Kaggle has a problem of its own ({status})",
            where=PAGE,
            remedy="run the same command again later; what has arrived is kept",
        )
    return DownloadError(
        f"Kaggle answers with the unexpected status {status}",
        where=PAGE,
        remedy="open this page, download the data set there and use it with "
        "dvc exp run -S data.source=local -S data.path=FILE.zip",
    )


def _interruption(error: requests.RequestException, part: Path) -> _TransientError:
    """What a failure below HTTP means for the user."""
    if isinstance(error, requests.Timeout):
        what = f"Kaggle did not answer within {TIMEOUT_SECONDS:g} s"
    else:
        what = "the connection to Kaggle failed"
    arrived_bytes = part.stat().st_size if part.exists() else 0
    return _TransientError(
        f"{what} ({arrived_bytes / 1e6:.1f} MB have arrived): {_cause(error)}",
        where=PAGE,
        remedy="check the network (and HTTPS_PROXY, if there is a proxy) and run the same command "
        "again: it goes on where it stopped",
    )


def _cause(error: BaseException) -> str:
    """The first failure in a chain of wrapped ones, such as ``Connection refused``."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error)


def _store_error(error: OSError) -> DownloadError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return DownloadError(
        f"the archive cannot be kept: {error.strerror or error}",
        where=error.filename or "the folder kaggle of the store",
        expected="a folder that can be written, on a disk with room for the archive",
        remedy="free some space, or set FISHSEG_STORE to a folder on a larger disk"
        if full
        else "make it writable, or set FISHSEG_STORE to another folder",
    )

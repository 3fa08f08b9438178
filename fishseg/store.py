"""Where what is expensive to get is kept between runs, how it is named, and how files are written.

The store is a cache: deleting it costs time and nothing else. Git and DVC ignore it. What lies in
it is named by a `fingerprint` of everything that determines it, so that nothing is ever taken for
what other parameters, inputs, code or libraries would give.

Files of the store and outputs alike appear whole or not at all (`write_whole`).
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
import time
import unicodedata
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from filelock import FileLock, Timeout

from fishseg.errors import StorageError

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_PLACE = Path("data/.store")
PROJECT_FILE = Path("dvc.yaml")
# The folder of the packages whose code fingerprints tell apart.
SOURCES = Path(__file__).parents[1]
# Modules that decide how something fails, waits, is asked for or kept, never what it is.
# Parameters count by value.
WITHOUT_INFLUENCE = {
    "fishseg",
    "fishseg.cluster",
    "fishseg.errors",
    "fishseg.lazy",
    "fishseg.parallel",
    "fishseg.params",
    "fishseg.store",
}
# How the name of a temporary folder in the store begins: what a killed run left of it is swept.
PARTIAL = "partial-"
_PARTIAL = ".partial"
_USERS = ".users"
# What runs leave half-written, in a folder of the store and in those of its entries.
_HALF_WRITTEN = (f".*{_PARTIAL}", f"*/.*{_PARTIAL}", f"{PARTIAL}*")
_ABANDONED_AFTER_S = 24 * 3600  # nobody writes that long on a file


def folder(name: str) -> Path:
    """The folder ``name`` of the store, made if missing.

    The place comes from ``FISHSEG_STORE``, because ignored files do not travel into the copies
    that ``dvc exp run --temp`` and ``--queue`` work in; without it, it is ``data/.store`` of the
    project, and outside of one a part of the user's cache folder. What killed runs left there
    half-written goes once it is a day old.

    Raises:
        StorageError: it cannot be made.
    """
    place = make_folder(_place() / name)
    _hold(place.parent.absolute())
    _sweep(place)
    return place


def root() -> Path:
    """The folder of the whole store, which may not be there yet.

    Raises:
        StorageError: it is named by a home directory that there is not.
    """
    return _place()


def users(place: Path) -> int:
    """How many living processes other than this one use the store at a place.

    Each holds a lock of its own, which ends with it however it ends. Those of dead ones go.
    """
    own = _hold(place.absolute()) if place.is_dir() else None
    n_users = 0
    for path in sorted((place / _USERS).glob("*")):
        if own is not None and Path(own.lock_file).name == path.name:
            continue
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            n_users += 1
        else:
            lock.release()
            path.unlink(missing_ok=True)
    return n_users


def mark_used(path: Path) -> None:
    """Let a file or folder of the store count as used now: `fishseg store prune` goes by that."""
    with contextlib.suppress(OSError):  # a store that can only be read
        os.utime(path)


def last_used(path: Path) -> float:
    """When a file or folder, or anything in it, was last written or used, in seconds since 1970."""
    times = []
    for one in (path, *path.rglob("*")):
        with contextlib.suppress(OSError):  # another run may have removed it
            times.append(one.stat().st_mtime)
    return max(times, default=0.0)


@functools.cache  # once a process; the lock lives as long
def _hold(place: Path) -> FileLock | None:
    """Say that this process uses the store; None where it cannot be written, or knows no locks."""
    with contextlib.suppress(OSError, NotImplementedError):
        (place / _USERS).mkdir(exist_ok=True)
        lock = FileLock(place / _USERS / uuid.uuid4().hex)
        lock.acquire(timeout=0)
        atexit.register(_let_go, lock)
        return lock
    return None


def _let_go(lock: FileLock) -> None:
    lock.release()
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink()


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it, where there is none.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None
    return path


def _place() -> Path:
    place = os.environ.get("FISHSEG_STORE")
    try:
        if place:
            return Path(place).expanduser()
        if PROJECT_FILE.exists() or DEFAULT_PLACE.exists():
            return DEFAULT_PLACE
        return platformdirs.user_cache_path("fishseg") / "store"
    except RuntimeError as error:
        raise StorageError(
            f"there is no such home directory: {error}",
            where=f"the environment variable FISHSEG_STORE: {place}",
            expected="a folder that can be written",
            remedy="write the whole path, without ~",
        ) from None


def fingerprint(
    facts: Mapping[str, Any], *, modules: Sequence[str] = (), libraries: Sequence[str] = ()
) -> str:
    """A name for what is computed from ``facts`` by ``modules`` with ``libraries``.

    Code counts as Python's parser sees it, docstrings and comments left out: rewording those keeps
    the name, any other change gives a new one.

    Args:
        facts: parameters, and checksums of the inputs; values that JSON knows.
        modules: the modules that compute, by their dotted names. Modules of fishseg that they
            import count, too; of a package, only the module that is named.
        libraries: distributions whose version decides the numbers, such as ``torch``. One that is
            absent counts as such.

    Returns:
        64 hexadecimal digits.
    """
    everything = {
        "facts": facts,
        "code": code_sha256(tuple(modules)),
        "libraries": {name: _version(name) for name in libraries},
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def code_sha256(modules: tuple[str, ...]) -> str:
    """What tells the code of modules, and of those of fishseg that they import, from other code."""
    return _code_sha256(modules, SOURCES)


@functools.cache  # thousands of shards are named by one state of the code
def _code_sha256(modules: tuple[str, ...], sources: Path) -> str:
    found: dict[str, str] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name in found or name in WITHOUT_INFLUENCE:
            continue
        file = _source(name, sources)
        if file is None:
            raise ValueError(f"there is no module {name} in {sources}")
        tree = _WhatRuns().visit(ast.parse(file.read_bytes()))
        found[name] = ast.unparse(tree)  # `ast.dump` differs between releases of Python
        pending += _imported(tree, sources)
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


class _WhatRuns(ast.NodeTransformer):
    """Leaves out of a module what changes nothing: docstrings, and imports for types."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return node.orelse
        return self.generic_visit(node)


def _imported(tree: ast.AST, sources: Path) -> Iterator[str]:
    """The modules of fishseg that a module names in its imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError("relative imports are not followed")
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if _source(name, sources) else node.module for name in inner]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "fishseg")


def _source(module: str, sources: Path) -> Path | None:
    path = sources.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@functools.cache
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


@contextlib.contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Let a file appear whole or not at all, readable for whom the umask lets read it.

    Gives a path of the same name in a folder of its own, to write to (or to make a folder of). It
    gets its place when the block ends, in one step and after the disk has it; where the block
    raises, nothing is left. An old file of the name is replaced; of a folder that is there
    already, in the store, the old one stays: what is of one name is the same.

    Args:
        path: where the file shall be; its folder must exist.

    Raises:
        StorageError: an OSError came up in the block or after it: the disk is full, or the folder
            cannot be written.
    """
    # Not the process id: two containers that share a store may have the same one.
    place = path.with_name(f".{uuid.uuid4().hex}{_PARTIAL}")
    new = place / path.name
    try:
        place.mkdir()
        # Some libraries make files that their owner alone may read (safetensors, tempfile).
        new.touch()
        mode = new.stat().st_mode
        new.unlink()
        yield new
        for file in [new] if new.is_file() else [file for file in new.rglob("*") if file.is_file()]:
            file.chmod(mode)
            with file.open("r+b") as written:
                os.fsync(written.fileno())
        try:
            new.replace(path)
        except OSError:
            if not (new.is_dir() and path.is_dir()):  # another run was faster
                raise
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all.

    Args:
        tensors: by name; they may lie anywhere and in any order in memory.
        path: where to.
        metadata: what else the file says of itself.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    # Slow to import, and much that is kept is no tensors.
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    ready = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    with write_whole(path) as new:
        try:
            save_file(ready, new, metadata=None if metadata is None else dict(metadata))
        except SafetensorError as error:
            raise OSError(str(error)) from None


def link(source: Path, target: Path) -> None:
    """Let ``target`` be ``source`` without a second copy, where the file system can.

    Raises:
        StorageError: the disk is full or not writable.
    """
    try:
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, target)
    except OSError as error:
        raise unwritable(target, error) from None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits; the file need not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def nfc(name: str) -> str:
    """A name with its accents composed; macOS takes them apart, which no reader can see."""
    return unicodedata.normalize("NFC", name)


def unwritable(path: Path, error: OSError) -> StorageError:
    """The error of a file or folder that the disk does not take."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    remedy = "free some disk space" if full else "make that folder writable"
    if _place() in path.parents:
        remedy += ", or set FISHSEG_STORE to another folder"
    return StorageError(
        f"this cannot be written: {error.strerror or error}",
        where=path,
        remedy=f"{remedy}; then run the same command again: what is finished is kept",
    )


@functools.cache  # once a process
def _sweep(place: Path) -> None:
    """Remove what killed runs left half-written, once nothing of it is younger than a day."""
    for pattern in _HALF_WRITTEN:
        for partial in place.glob(pattern):
            if time.time() - last_used(partial) > _ABANDONED_AFTER_S:
                shutil.rmtree(partial, ignore_errors=True)

"""``fishseg store prune``: the store grows with every run; what nothing uses any more can go."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fishseg import store
from fishseg.cli.arguments import Commands, add_command
from fishseg.errors import StorageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

EXAMPLES = """\
  fishseg store prune --dry-run    what would go, and how many bytes that are
  fishseg store prune              the same, and asks
  fishseg store prune --yes        without asking
"""

# Rooms of the store whose entries an output of the pipeline holds, or a parameter names.
SHARDS, ARCHIVES, WHEELS = "shards", "kaggle", "backbones"
FEATURES = "data/features"
WORKSPACE = "the workspace"
DAY_S = 24 * 3600
# Where DVC keeps what is named by an MD5, newest layout first.
_CACHES = ("files/md5", "")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file or folder of the store that nothing uses; ``n_bytes`` come free with it."""

    path: Path
    n_bytes: int


@dataclasses.dataclass(frozen=True)
class Use:
    """What revisions use of the store.

    Attributes:
        shards: MD5s of the files of their features.
        sources: their values of ``data.source``.
        backbones: their values of ``backbone.name``.
        unknown: revisions whose list of features DVC's cache does not hold.
    """

    shards: frozenset[str]
    sources: frozenset[str]
    backbones: frozenset[str]
    unknown: tuple[str, ...]


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = add_command(
        commands,
        "store",
        summary="remove from the store what nothing uses any more",
        description="The store (FISHSEG_STORE, else data/.store) keeps what was expensive to get, "
        "and only grows.\n'prune' keeps what the workspace and all branches, tags and named "
        "experiments use: shards\nof features by their content, downloads by the parameters. What "
        "cannot be looked up there\n(registered copies, converted networks, checkpoints of "
        "interrupted runs, studies) stays while\nit was used in the last --days days. What goes "
        "costs time to make again, and nothing else.",
        examples=EXAMPLES,
    )
    actions = command.add_subparsers(required=True, metavar="ACTION")
    prune = actions.add_parser("prune", help="list what nothing uses, and remove it")
    prune.add_argument("--dry-run", action="store_true", help="list it and remove nothing")
    prune.add_argument("--yes", action="store_true", help="remove it without asking")
    prune.add_argument(
        "--days", type=int, default=30, help="how long unused work stays (default: %(default)s)"
    )
    prune.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """List what would go, ask, and remove it.

    Raises:
        StorageError: a process uses the store.
    """
    place = store.root()
    used = use_of(revisions(Path.cwd()), Path.cwd())
    for name in used.unknown:
        print(
            f"unknown: the features of {name} are not in DVC's cache, so all shards stay; "
            "dvc fetch brings them"
        )
    entries = list(unused(place, used, Path.cwd() / FEATURES, older_than_s=options.days * DAY_S))
    for entry in entries:
        print(f"{_megabytes(entry.n_bytes):>12}  {entry.path.relative_to(place).as_posix()}")
    total = sum(entry.n_bytes for entry in entries)
    print(f"{_megabytes(total):>12}  in {len(entries)} entries of {place}")
    if options.dry_run or not entries:
        return 0
    if not options.yes and not _agreed():
        print("nothing was removed; --yes removes without asking")
        return 0
    remove(entries, place)
    return 0


def remove(entries: Iterable[Entry], place: Path) -> None:
    """Remove entries of the store at a place.

    Raises:
        StorageError: a process uses the store, or an entry cannot be removed.
    """
    n_users = store.users(place)
    if n_users:
        raise StorageError(
            "1 running process of fishseg uses this store"
            if n_users == 1
            else f"{n_users} running processes of fishseg use this store",
            where=place,
            expected="no run while the store is pruned",
            remedy="wait until the runs have ended; then type the same command again",
        )
    for entry in entries:
        try:
            shutil.rmtree(entry.path) if entry.path.is_dir() else entry.path.unlink()
        except OSError as error:
            raise StorageError(
                f"this cannot be removed: {error.strerror}",
                where=entry.path,
                remedy="make its folder writable, then type the same command again",
            ) from None


def unused(place: Path, used: Use, features: Path, *, older_than_s: float) -> Iterator[Entry]:
    """The entries of the store at a place that nothing uses.

    Args:
        place: the store.
        used: what revisions use of it.
        features: the workspace's own features, whatever git knows of them.
        older_than_s: how long ago what cannot be looked up must have been used last, in seconds.
    """
    names: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(place.glob("*/*")):
        if not path.name.startswith(".") and path.parent.name != ".users":
            names[path.parent.name].append(path)
    here = {_identity(path) for path in features.glob("*") if path.is_file()}
    for room, paths in names.items():
        for path in paths:
            if room == SHARDS:
                # What a revision holds whose features are not here cannot be told from the rest.
                kept = bool(used.unknown) or _identity(path) in here or _md5(path) in used.shards
            elif room == ARCHIVES:
                kept = "kaggle" in used.sources
            elif room == WHEELS:
                kept = path.name in _wheels(used.backbones)
            else:
                kept = time.time() - store.last_used(path) < older_than_s
            # What was written just now may belong to a run that has no lock yet.
            if not kept and time.time() - store.last_used(path) > DAY_S:
                yield Entry(path, _bytes_freed(path))


def revisions(root: Path) -> dict[str, str]:
    """The names of branches, tags and experiments by the commit that they name, and ``HEAD``.

    Empty where this is no git repository.
    """
    names = {}
    listed = _git(root, "for-each-ref", "--format=%(objectname) %(refname)")
    for line in (listed or "").splitlines():
        commit, _, name = line.partition(" ")
        if name.startswith(("refs/heads/", "refs/remotes/", "refs/tags/", "refs/exps/")):
            names[commit] = name.split("/", 2)[2]
    head = _git(root, "rev-parse", "HEAD")
    if head:
        names.setdefault(head.strip(), "HEAD")
    return names


def use_of(commits: dict[str, str], root: Path) -> Use:
    """What commits, by their names, and the workspace at ``root`` use of the store."""
    shards: set[str] = set()
    sources, backbones, unknown = set(), set(), []
    for commit, name in [*commits.items(), ("", WORKSPACE)]:
        parameters, lock = (
            _tree(_git(root, "show", f"{commit}:{file}") if commit else _read(root / file))
            for file in ("params.yaml", "dvc.lock")
        )
        sources.add(str(_at(parameters, "data", "source")))
        backbones.add(str(_at(parameters, "backbone", "name")))
        for out in _at(lock, "stages", "features", "outs") or []:
            listed = _listed(str(out.get("md5", "")), root)
            if listed is None:
                unknown.append(name)
            else:
                shards.update(listed)
    return Use(frozenset(shards), frozenset(sources), frozenset(backbones), tuple(unknown))


def _listed(md5: str, root: Path) -> list[str] | None:
    """The MD5s of the files of a folder in DVC's cache; None where it does not know the folder."""
    for layout in _CACHES:
        path = _dvc_cache(root) / layout / md5[:2] / md5[2:]
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return [entry["md5"] for entry in json.loads(path.read_text(encoding="utf-8"))]
    return None


@functools.cache
def _dvc_cache(root: Path) -> Path:
    """Where DVC keeps its cache, which may be set to another place."""
    said = _run(root, "dvc", "cache", "dir")
    return Path(said.strip()) if said else root / ".dvc" / "cache"


def _wheels(names: Iterable[str]) -> set[str]:
    """The files of the open wheels that hold these backbones."""
    # Slow to import.
    from fishseg.backbones.open_wheel import OpenWheel
    from fishseg.backbones.registry import REGISTRY

    entries = [REGISTRY.get(name) for name in names]
    return {entry.file for entry in entries if isinstance(entry, OpenWheel)}


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def _md5(path: Path) -> str:
    """As DVC names what it keeps."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _bytes_freed(path: Path) -> int:
    """What comes free when an entry goes: what has no other name."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    stats = [file.stat() for file in files]
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"


def _agreed() -> bool:
    return sys.stdin.isatty() and input("remove them? [y/N] ").strip().lower() in ("y", "yes")


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where it, the repository or the file is missing."""
    return _run(root, "git", *arguments)


def _run(root: Path, *command: str) -> str | None:
    """What a program says; None where it is missing or fails."""
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _tree(text: str | None) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text or "") or {}
    except YAMLError:
        return {}


def _at(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree

"""Copies laid on the sources they may come from: parallel, resumable, the same bits every time."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from tqdm import tqdm

from fishseg import store
from fishseg.audit.grey_image import Affine, GreyImage, load_grey_image
from fishseg.audit.polar import candidate_map, find_candidates, spectrum
from fishseg.audit.registration import register
from fishseg.audit.sift import Features, detect, find_similarity
from fishseg.parallel import ordered_map, process_map, single_threaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

# Their versions decide what is found, beside the code.
LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "pillow-heif")
# Registered for each copy: its source, and enough others to know that they are none.
CANDIDATES = 3
_CHUNK = 16


@dataclasses.dataclass(frozen=True)
class File:
    """An image file and the hash of its bytes."""

    path: Path
    sha256: str


@dataclasses.dataclass(frozen=True)
class Query:
    """A picture whose source is looked for.

    Args:
        file: the picture.
        itself: its own number among the sources, where it is one of them.
        preferred: the sources worth a slow look, those of its class.
    """

    file: File
    itself: int | None = None
    preferred: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Match:
    """A copy as it lies on a source.

    Args:
        source: the source's number.
        affine: from the source's pixels to the copy's, at full size.
        likeness: see `fishseg.audit.registration.likeness`.
        residual_px: see `fishseg.audit.registration.Registration`.
    """

    source: int
    affine: Affine
    likeness: float
    residual_px: float


class Sources:
    """The pictures that copies may come from, at working size, in a folder of the store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Mapped, so that all processes share one copy in memory.
        self.spectra: NDArray[np.complex64] = np.load(folder / "spectra.npy", mmap_mode="r")
        self._pixels: NDArray[np.uint8] = np.load(folder / "pixels.npy", mmap_mode="r")
        self._sizes: NDArray[np.int64] = np.load(folder / "sizes.npy")
        self._starts = np.concatenate([[0], np.cumsum(self._sizes[:, :2].prod(axis=1))])

    def __getitem__(self, number: int) -> GreyImage:
        height, width, *size = (int(side) for side in self._sizes[number])
        pixels = self._pixels[self._starts[number] : self._starts[number + 1]]
        return GreyImage(np.array(pixels).reshape(height, width), (size[0], size[1]))


Search: TypeAlias = "Callable[[Sources, Query, GreyImage], Iterator[tuple[int, Affine]]]"
"""Names sources that a picture may be a copy of, each with the map from it at working size."""


def as_a_whole(sources: Sources, query: Query, copy: GreyImage) -> Iterator[tuple[int, Affine]]:
    """The sources most like a copy that was mirrored and turned about its middle, best first."""
    # Itself can take two places, mirrored and not.
    found = find_candidates(spectrum(copy.pixels), sources.spectra, limit=CANDIDATES + 2)
    others = [candidate for candidate in found if candidate.source != query.itself]
    for candidate in others[:CANDIDATES]:
        source = sources[candidate.source]
        yield candidate.source, candidate_map(candidate, source, copy)


def by_features(sources: Sources, query: Query, copy: GreyImage) -> Iterator[tuple[int, Affine]]:
    """The preferred sources that share most local features with a copy, best first."""
    mirror = np.array([[-1, 0, copy.pixels.shape[1] - 1], [0, 1, 0], [0, 0, 1]], np.float64)
    mirrored = np.ascontiguousarray(copy.pixels[:, ::-1])
    found = [
        (agreed[0], number, back @ agreed[1])
        for seen, back in ((detect(copy.pixels), np.eye(3)), (detect(mirrored), mirror))
        for number in query.preferred
        if number != query.itself
        and (agreed := find_similarity(_features(sources.folder, number), seen))
    ]
    found.sort(key=lambda entry: -entry[0])
    for _, number, affine in found[:CANDIDATES]:
        yield number, affine


def prepare_sources(files: Sequence[File], kept_in: Path | None = None) -> Path:
    """The folder with these pictures at working size; made if it is not there.

    Args:
        files: the pictures.
        kept_in: where it is kept, and later what they match; the store unless given.

    Raises:
        DataError: a file cannot be read.
        StorageError: the store cannot be written.
    """
    name = _fingerprint({"sources": [file.sha256 for file in files]})
    place = (kept_in or store.folder("audit")) / f"sources-{name}"
    if place.is_dir():
        return place
    loaded = ordered_map(_load_with_spectrum, [file.path for file in files])
    pictures, spectra = zip(
        *tqdm(loaded, total=len(files), desc="read pictures", unit="image"), strict=True
    )
    sizes = [(*picture.pixels.shape, *picture.size) for picture in pictures]
    pixels = np.concatenate([picture.pixels.ravel() for picture in pictures])
    with store.write_whole(place) as new:
        new.mkdir()
        np.save(new / "spectra.npy", np.ascontiguousarray(np.stack(spectra, axis=-1)))
        np.save(new / "pixels.npy", pixels)
        np.save(new / "sizes.npy", np.array(sizes, np.int64))
    return place


def match(
    queries: Sequence[Query],
    sources: Path,
    search: Search,
    *,
    description: str,
    workers: int | None = None,
) -> list[list[Match]]:
    """Lay each picture on the sources that a search names.

    What is found is kept beside the sources chunk by chunk, so that an interrupted run goes on
    where it was. Sources that a picture cannot be laid on are left out.

    Args:
        queries: the pictures.
        sources: a folder from `prepare_sources`.
        search: `as_a_whole` or `by_features`.
        description: what the progress bar says.
        workers: processes; as many as there are cores if not given.

    Returns:
        For each picture its matches, the most like first.

    Raises:
        DataError: a picture cannot be read.
        StorageError: the store cannot be written.
    """
    chunks = [
        _Chunk(tuple(queries[first : first + _CHUNK]), sources, search)
        for first in range(0, len(queries), _CHUNK)
    ]
    found: list[list[Match]] = []
    with tqdm(total=len(queries), desc=description, unit="image") as progress:
        for matches in process_map(_match_chunk, chunks, workers=workers):
            found += matches
            progress.update(len(matches))
    return found


@dataclasses.dataclass(frozen=True)
class _Chunk:
    queries: tuple[Query, ...]
    sources: Path
    search: Search

    @property
    def name(self) -> str:
        """Of its file beside the sources: determined by everything that determines the content."""
        queries = [(query.file.sha256, query.itself, query.preferred) for query in self.queries]
        facts = {
            "sources": self.sources.name,
            "search": self.search.__name__,
            "queries": queries,
        }
        return f"matches-{_fingerprint(facts)}.json"


def _match_chunk(chunk: _Chunk) -> list[list[Match]]:
    cached = chunk.sources.parent / chunk.name
    try:
        found = _parse(json.loads(cached.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        found = []  # not there yet, or damaged
    if len(found) == len(chunk.queries):
        return found
    with single_threaded():
        sources = _open(chunk.sources)
        found = [_match_one(query, sources, chunk.search) for query in chunk.queries]
    with store.write_whole(cached) as new:
        new.write_text(json.dumps(_plain(found)), encoding="utf-8", newline="\n")
    return found


def _match_one(query: Query, sources: Sources, search: Search) -> list[Match]:
    copy = load_grey_image(query.file.path)
    found = []
    for number, guess in search(sources, query, copy):
        laid = register(sources[number], copy, guess)
        if laid is not None:
            found.append(Match(number, laid.affine, laid.likeness, laid.residual_px))
    return sorted(found, key=lambda match: (-match.likeness, match.source))


@functools.lru_cache(maxsize=1)
def _open(folder: Path) -> Sources:
    return Sources(folder)


@functools.lru_cache(maxsize=1024)
def _features(folder: Path, number: int) -> Features:
    return detect(_open(folder)[number].pixels)


def _load_with_spectrum(path: Path) -> tuple[GreyImage, NDArray[np.complex64]]:
    picture = load_grey_image(path)
    return picture, spectrum(picture.pixels)


def _fingerprint(facts: Mapping[str, Any]) -> str:
    return store.fingerprint(facts, modules=[__name__], libraries=LIBRARIES)[:24]


def _plain(found: list[list[Match]]) -> list[list[dict[str, Any]]]:
    """As JSON, which gives every float back exactly; nan becomes null."""
    return [
        [
            {
                "source": match.source,
                "affine": match.affine.tolist(),
                "likeness": match.likeness,
                "residual_px": None if math.isnan(match.residual_px) else match.residual_px,
            }
            for match in matches
        ]
        for matches in found
    ]


def _parse(plain: list[list[dict[str, Any]]]) -> list[list[Match]]:
    return [
        [
            Match(
                source=entry["source"],
                affine=np.array(entry["affine"], np.float64),
                likeness=entry["likeness"],
                residual_px=math.nan if entry["residual_px"] is None else entry["residual_px"],
            )
            for entry in matches
        ]
        for matches in plain
    ]

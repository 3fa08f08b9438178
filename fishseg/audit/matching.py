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
from fishseg.audit.neighbours import DIMENSIONS, Descriptors, descriptor, nearest
from fishseg.audit.polar import (
    FREQUENCIES,
    RADII,
    Spectrum,
    candidate_map,
    find_candidates,
    spectrum,
)
from fishseg.audit.registration import register
from fishseg.audit.sift import Features, detect, find_similarity
from fishseg.parallel import ordered_map, process_map, single_threaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

# Their versions decide what is found, beside the code.
LIBRARIES = ("numpy", "scipy", "opencv-python-headless", "pillow", "pillow-heif")
# Registered for each copy: its source, and enough others to know that they are none.
CANDIDATES = 3
# Whose spectra are correlated with that of a copy, to find those. Where a photograph has more
# copies, some of them suffice: each is linked to others in turn.
SHORTLIST = 64
_CHUNK = 16
_PIXELS, _SPECTRA, _DESCRIPTORS, _SIZES = "pixels", "spectra", "descriptors", "sizes.npy"


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
    """The pictures that copies may come from, at working size, in a folder of the store.

    Memory holds where each picture lies; what is asked for is read, and nothing is kept of it.

    Attributes:
        folder: the folder.
        descriptors: of all pictures ``(N, D)``, mapped from the disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sizes: NDArray[np.int64] = np.load(folder / _SIZES)
        self._starts = np.concatenate([[0], np.cumsum(self._sizes[:, :2].prod(axis=1))])
        self.descriptors: Descriptors = np.memmap(
            folder / _DESCRIPTORS, np.int16, mode="r", shape=(len(self._sizes), DIMENSIONS)
        )

    def __getitem__(self, number: int) -> GreyImage:
        height, width, *size = (int(side) for side in self._sizes[number])
        pixels = np.fromfile(
            self.folder / _PIXELS, np.uint8, height * width, offset=int(self._starts[number])
        )
        return GreyImage(pixels.reshape(height, width), (size[0], size[1]))

    def spectra(self, numbers: NDArray[np.int64]) -> Spectrum:
        """The polar spectra ``(F, R, n)`` of some pictures."""
        found = np.empty((FREQUENCIES, RADII, len(numbers)), np.complex64)
        with (self.folder / _SPECTRA).open("rb") as file:
            for place, number in enumerate(numbers):
                file.seek(int(number) * FREQUENCIES * RADII * found.itemsize)
                one = np.fromfile(file, np.complex64, FREQUENCIES * RADII)
                found[:, :, place] = one.reshape(FREQUENCIES, RADII)
        return found


Found: TypeAlias = "list[tuple[int, Affine]]"
"""Sources that a picture may be a copy of, each with the map from it at working size."""

Search: TypeAlias = "Callable[[Sources, Sequence[Query], Sequence[GreyImage]], Iterator[Found]]"
"""What it finds for each of some pictures."""


def as_a_whole(
    sources: Sources, queries: Sequence[Query], copies: Sequence[GreyImage]
) -> Iterator[Found]:
    """The sources most like each copy, were it mirrored and turned about its middle, best first."""
    spectra = [spectrum(copy.pixels) for copy in copies]
    # Together: the descriptors of all sources are read once for all.
    described = np.stack([descriptor(one) for one in spectra])
    shortlists = nearest(described, sources.descriptors, SHORTLIST)
    for query, copy, one, numbers in zip(queries, copies, spectra, shortlists, strict=True):
        # Itself can take two places, mirrored and not.
        found = find_candidates(one, sources.spectra(numbers), limit=CANDIDATES + 2)
        named = [(int(numbers[candidate.source]), candidate) for candidate in found]
        others = [entry for entry in named if entry[0] != query.itself]
        yield [
            (number, candidate_map(candidate, sources[number], copy))
            for number, candidate in others[:CANDIDATES]
        ]


def by_features(
    sources: Sources, queries: Sequence[Query], copies: Sequence[GreyImage]
) -> Iterator[Found]:
    """The preferred sources that share most local features with each copy, best first."""
    for query, copy in zip(queries, copies, strict=True):
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
        yield [(number, affine) for _, number, affine in found[:CANDIDATES]]


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
        store.mark_used(place)
        return place
    loaded = ordered_map(_load_with_spectrum, [file.path for file in files])
    with store.write_whole(place) as new:
        new.mkdir()
        write_sources(tqdm(loaded, total=len(files), desc="read pictures", unit="image"), new)
    return place


def write_sources(pictures: Iterable[tuple[GreyImage, Spectrum]], folder: Path) -> None:
    """Write pictures and their spectra as they come, to be read as `Sources`."""
    sizes = []
    with (
        (folder / _PIXELS).open("wb") as pixels,
        (folder / _SPECTRA).open("wb") as spectra,
        (folder / _DESCRIPTORS).open("wb") as descriptors,
    ):
        for picture, one in pictures:
            sizes.append((*picture.pixels.shape, *picture.size))
            pixels.write(np.ascontiguousarray(picture.pixels).data)
            spectra.write(np.ascontiguousarray(one).data)
            descriptors.write(descriptor(one).data)
    np.save(folder / _SIZES, np.array(sizes, np.int64))


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
        store.mark_used(cached)
        return found
    with single_threaded():
        sources = _open(chunk.sources)
        copies = [load_grey_image(query.file.path) for query in chunk.queries]
        named = chunk.search(sources, chunk.queries, copies)
        found = [_lay(copy, on, sources) for copy, on in zip(copies, named, strict=True)]
    with store.write_whole(cached) as new:
        new.write_text(json.dumps(_plain(found)), encoding="utf-8", newline="\n")
    return found


def _lay(copy: GreyImage, on: Found, sources: Sources) -> list[Match]:
    """The copy on each of the sources, as far as it can be laid there, the most like first."""
    found = []
    for number, guess in on:
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


def _load_with_spectrum(path: Path) -> tuple[GreyImage, Spectrum]:
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

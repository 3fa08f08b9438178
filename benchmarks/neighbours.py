"""What a copy costs the audit among a thousand, ten thousand and a hundred thousand pictures.

Draws copies, and lays some of them on one another where they are among ever more pictures: the
others are synthetic, each the spectra of two drawn copies, turned and mixed. For each number, in a
process of its own, it measures the time a copy (short list, correlation, registration) and the peak
of memory, and beside it the short list alone: by the exact product that the audit uses, and by an
index of faiss (HNSW) and usearch, where these are installed::

    python -m benchmarks.neighbours
    python -m benchmarks.neighbours --sizes 1000 10000 --no-write
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.audit import _render
from benchmarks.results import write_between_marks
from fishseg.audit.grey_image import GreyImage, load_grey_image
from fishseg.audit.matching import (
    SHORTLIST,
    File,
    Query,
    Sources,
    as_a_whole,
    match,
    write_sources,
)
from fishseg.audit.neighbours import Descriptors, nearest
from fishseg.audit.polar import FREQUENCIES, Spectrum, spectrum
from fishseg.store import file_sha256

PAGE = Path("docs/audit.md")
SIZES = (1_000, 10_000, 100_000)
SEED, PHOTOS, COPIES = 101, 2, 5
QUERIES = 48
LIKE = 0.4


def main() -> None:
    """Measure each number of pictures in a process of its own, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--folder", type=Path, help="for what is drawn: 10 GB, removed at the end")
    parser.add_argument("--no-write", action="store_true", help="print the table only")
    parser.add_argument("--measure", nargs=2, metavar=("RAW", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure[0]), int(options.measure[1]))))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        raw = Path(name) / "raw"
        _render(raw, SEED, PHOTOS, COPIES)
        found = {size: _in_a_process(raw, size) for size in options.sizes}
    lines = tabulate(found)
    print("\n".join(lines))
    if not options.no_write:
        write_between_marks("neighbours: python -m benchmarks.neighbours", lines, PAGE)


def _in_a_process(raw: Path, size: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.neighbours", "--measure", str(raw), str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(raw: Path, size: int) -> dict[str, Any]:
    """Processor seconds a copy, peak memory, and what the short lists of the indexes are worth."""
    paths = sorted(
        path
        for path in raw.glob("Fish_Dataset/Fish_Dataset/*/*/*.png")
        if not path.parent.name.endswith(" GT")
    )
    with tempfile.TemporaryDirectory(dir=raw.parent) as name:
        folder = Path(name) / "sources"
        folder.mkdir()
        write_sources(_pictures(paths, size), folder)
        queries = [
            Query(File(path, file_sha256(path)), itself=number)
            for number, path in enumerate(paths[:QUERIES])
        ]
        started = time.process_time()
        found = match(queries, folder, as_a_whole, description=f"{size}", workers=1)
        seconds = (time.process_time() - started) / len(queries)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        # Copies of a photograph are drawn one after the other.
        linked = [
            any(other.likeness >= LIKE and other.source < len(paths) for other in matches)
            for matches in found
        ]
        descriptors = np.array(Sources(folder).descriptors)
    return {
        "seconds": seconds,
        "mb": peak,
        "linked": float(np.mean(linked)),
        "lists": _compare_lists(descriptors, descriptors[: len(queries)]),
    }


def _pictures(paths: list[Path], size: int) -> Iterator[tuple[GreyImage, Spectrum]]:
    """The drawn copies, then mixtures of two of them until there are so many."""
    rng = np.random.default_rng(0)
    drawn = [load_grey_image(path) for path in paths]
    spectra = [spectrum(picture.pixels) for picture in drawn]
    yield from zip(drawn, spectra, strict=True)
    for _ in range(size - len(paths)):
        one, other = rng.choice(len(drawn), 2, replace=False)
        share = rng.uniform(0.3, 0.7)
        mixed = share * _turned(spectra[one], rng) + (1 - share) * _turned(spectra[other], rng)
        yield drawn[one], (mixed / np.linalg.norm(mixed)).astype(np.complex64)


def _turned(one: Spectrum, rng: np.random.Generator) -> NDArray[np.complexfloating]:
    angle = rng.uniform(0, 2 * np.pi)
    turned: NDArray[np.complexfloating] = (
        one * np.exp(1j * angle * np.arange(1, FREQUENCIES + 1))[:, None]
    )
    return turned


def _compare_lists(descriptors: Descriptors, queries: Descriptors) -> dict[str, dict[str, float]]:
    """Of each way to make short lists: build and query in milliseconds, share of the nearest."""
    exact = nearest(queries, descriptors, SHORTLIST)
    ways: dict[str, Callable[[], Callable[[], NDArray[np.integer]]]] = {
        "exact": lambda: lambda: nearest(queries, descriptors, SHORTLIST)
    }
    if importlib.util.find_spec("faiss"):
        ways["faiss"] = lambda: _faiss(descriptors, queries)
    if importlib.util.find_spec("usearch"):
        ways["usearch"] = lambda: _usearch(descriptors, queries)
    found = {}
    for name, build in ways.items():
        started = time.process_time()
        search = build()
        built = time.process_time()
        listed = search()
        ended = time.process_time()
        shares = [len(set(a) & set(b)) / len(b) for a, b in zip(listed, exact, strict=True)]
        found[name] = {
            "build_ms": 1e3 * (built - started) / len(descriptors),
            "query_ms": 1e3 * (ended - built) / len(queries),
            "share": float(np.mean(shares)),
        }
    return found


def _faiss(descriptors: Descriptors, queries: Descriptors) -> Callable[[], NDArray[np.integer]]:
    faiss: Any = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(descriptors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = 2 * SHORTLIST
    index.add(descriptors.astype(np.float32))
    return lambda: index.search(queries.astype(np.float32), SHORTLIST)[1]


def _usearch(descriptors: Descriptors, queries: Descriptors) -> Callable[[], NDArray[np.integer]]:
    usearch: Any = importlib.import_module("usearch.index")
    index = usearch.Index(
        ndim=descriptors.shape[1], metric="cos", dtype="f32", expansion_search=2 * SHORTLIST
    )
    index.add(np.arange(len(descriptors)), descriptors.astype(np.float32), threads=1)
    return lambda: index.search(queries.astype(np.float32), SHORTLIST, threads=1).keys


def tabulate(found: dict[int, dict[str, Any]]) -> list[str]:
    """A row a number of pictures."""
    indexes = list(next(iter(found.values()))["lists"])
    heads = [
        "pictures",
        "core-seconds a copy",
        "of those at the smallest",
        "peak MB",
        "copies linked %",
        *(f"{name}: built, ms a picture; asked, ms a copy; nearest found %" for name in indexes),
    ]
    smallest = next(iter(found.values()))["seconds"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --: |" * len(heads)]
    for size, one in found.items():
        cells = [
            f"{size:,}",
            f"{one['seconds']:.3f}",
            f"{one['seconds'] / smallest:.2f}",
            f"{one['mb']:.0f}",
            f"{100 * one['linked']:.0f}",
            *(
                f"{way['build_ms']:.3f}; {way['query_ms']:.2f}; {100 * way['share']:.1f}"
                for way in one["lists"].values()
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()

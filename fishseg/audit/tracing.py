"""Which samples are copies of which photograph, or of each other."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from fishseg.audit.grey_image import content
from fishseg.audit.grouping import Aligned, Placement, align, merge, place
from fishseg.audit.matching import (
    File,
    Match,
    Query,
    Sources,
    as_a_whole,
    by_features,
    match,
    prepare_sources,
)
from fishseg.datasets.layout import Problem, find_photos
from fishseg.errors import DataError
from fishseg.images.decoding import read_image
from fishseg.parallel import ordered_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A row of the inventory, as far as it counts here; ``size`` is (height, width)."""

    sample_id: str
    class_name: str
    image: File
    mask_path: Path
    mask_rule: str
    size: tuple[int, int]
    group_id: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A photograph, or the copy that stands for it where there is none.

    Args:
        name: of a photograph its path from the raw folder, of a copy its ``sample_id``.
        class_name: of its samples.
        file: the picture.
        size: ``(height, width)``.
        is_photo: whole, without black corners.
    """

    name: str
    class_name: str
    file: File
    size: tuple[int, int]
    is_photo: bool


@dataclasses.dataclass(frozen=True, order=True)
class NearDuplicate:
    """Two pictures that show the same and should not: photographs, or pictures of two classes."""

    one: str
    other: str
    likeness: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traced:
    """Where samples come from.

    Args:
        sources: the photographs, and copies that stand for missing ones.
        placements: for each sample its source and how it lies on that, or nothing.
        group_ids: for each sample its group: of a photograph the path from the raw folder, else
            its first sample.
        near_duplicates: sorted.
        problems: photographs that cannot be read.
    """

    sources: list[Source]
    placements: list[Placement | None]
    group_ids: list[str]
    near_duplicates: list[NearDuplicate]
    problems: list[Problem]


def samples_of(table: pd.DataFrame) -> list[Sample]:
    """The samples of an inventory."""
    return [
        Sample(
            sample_id=row["sample_id"],
            class_name=row["class_name"],
            image=File(Path(row["image_path"]), row["image_sha256"]),
            mask_path=Path(row["raw_mask_path"]),
            mask_rule=row["raw_mask_rule"],
            size=(row["height"], row["width"]),
            group_id=row["group_id"],
        )
        for row in table.to_dict("records")
    ]


def group_copies(
    table: pd.DataFrame,
    raw: Path,
    *,
    min_likeness: float,
    kept_in: Path | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """The inventory with the copies of one photograph in one group; all else stays as it is.

    What measuring needs of the audit: else copies stand on both sides of a fold, and count as
    evidence of their own. Groups that the inventory has already stay together.

    Args:
        table: an inventory, see `fishseg.tables.COLUMNS`.
        raw: see `trace`.
        min_likeness: see `trace`.
        kept_in: see `trace`.
        workers: see `trace`.
    """
    traced = trace(
        samples_of(table), raw, min_likeness=min_likeness, kept_in=kept_in, workers=workers
    )
    log.info("%d pictures show %d photographs", len(table), len(set(traced.group_ids)))
    return table.assign(group_id=traced.group_ids)


def trace(
    samples: Sequence[Sample],
    raw: Path,
    *,
    min_likeness: float,
    kept_in: Path | None = None,
    workers: int | None = None,
) -> Traced:
    """Find the source of each sample among the photographs, and else among the samples.

    Args:
        samples: what to trace.
        raw: the folder that may hold photographs.
        min_likeness: from which two pictures show the same, see
            `fishseg.audit.registration.likeness`.
        kept_in: the folder for what an interrupted run goes on from; the store unless given.
        workers: processes; as many as there are cores if not given.
    """
    how = _How(min_likeness, kept_in, workers)
    photos, problems = _read_photos(raw)
    placements: list[Placement | None] = [None] * len(samples)
    near: list[NearDuplicate] = []
    if photos:
        placements, near = _trace_to_photos(samples, photos, how)
    left = [number for number, placement in enumerate(placements) if placement is None]
    linked = _link([samples[number] for number in left], how)
    for number, placement in zip(left, linked.placements, strict=True):
        if placement:
            moved = dataclasses.replace(placement, source=placement.source + len(photos))
            placements[number] = moved
    sources = photos + linked.sources
    components: list[str | None] = [None] * len(samples)
    for number, component in zip(left, linked.components, strict=True):
        components[number] = component
    return Traced(
        sources=sources,
        placements=placements,
        group_ids=_group(samples, sources, placements, components),
        near_duplicates=sorted(
            near + linked.near_duplicates + _misfiled(samples, sources, placements)
        ),
        problems=problems,
    )


@dataclasses.dataclass(frozen=True)
class _How:
    min_likeness: float
    kept_in: Path | None
    workers: int | None


def _read_photos(raw: Path) -> tuple[list[Source], list[Problem]]:
    """The photographs that can be read, and those that cannot."""
    named = [(class_name, path) for class_name, paths in find_photos(raw).items() for path in paths]
    photos: list[Source] = []
    problems = []
    sizes = ordered_map(_size_or_problem, [path for _, path in named])
    progress = tqdm(sizes, total=len(named), desc="measure photographs", unit="image")
    for (class_name, path), size in zip(named, progress, strict=True):
        name = path.relative_to(raw).as_posix()
        if isinstance(size, str):
            problems.append(Problem("broken_photo", name, size))
            continue
        file = File(path, hashlib.sha256(path.read_bytes()).hexdigest())
        photos.append(Source(name=name, class_name=class_name, file=file, size=size, is_photo=True))
    return photos, problems


def _size_or_problem(path: Path) -> tuple[int, int] | str:
    try:
        height, width, _ = read_image(path).shape
    except DataError as error:
        return error.what
    return height, width


def _trace_to_photos(
    samples: Sequence[Sample],
    photos: Sequence[Source],
    how: _How,
) -> tuple[list[Placement | None], list[NearDuplicate]]:
    prepared = prepare_sources([photo.file for photo in photos], how.kept_in)
    same, near = _compare(photos, prepared, how)
    of_class = defaultdict(list)
    for number, photo in enumerate(photos):
        of_class[photo.class_name].append(number)
    queries = [
        Query(sample.image, preferred=tuple(of_class[sample.class_name])) for sample in samples
    ]
    found = match(
        queries, prepared, as_a_whole, description="find photographs", workers=how.workers
    )
    placements = [place(matches, same, how.min_likeness) for matches in found]
    left = [number for number, placement in enumerate(placements) if placement is None]
    again = [queries[number] for number in left]
    found = match(again, prepared, by_features, description="look again", workers=how.workers)
    for number, matches in zip(left, found, strict=True):
        placements[number] = place(matches, same, how.min_likeness)
    return placements, near


def _compare(
    sources: Sequence[Source], prepared: Path, how: _How
) -> tuple[Aligned, list[NearDuplicate]]:
    """Which sources show the same."""
    queries = [Query(source.file, itself=number) for number, source in enumerate(sources)]
    found = match(
        queries, prepared, as_a_whole, description="compare photographs", workers=how.workers
    )
    near = {
        _near_duplicate(source.name, sources[twin.source].name, twin)
        for source, matches in zip(sources, found, strict=True)
        for twin in matches
        if twin.likeness >= how.min_likeness
    }
    return align(found, how.min_likeness), _strongest(near)


@dataclasses.dataclass(frozen=True)
class _Linked:
    """Samples compared with each other; ``sources`` are those that stand for others."""

    sources: list[Source]
    placements: list[Placement | None]
    components: list[str | None]
    near_duplicates: list[NearDuplicate]


def _link(samples: Sequence[Sample], how: _How) -> _Linked:
    """Find the samples that show the same, and lay them on one of them."""
    if len(samples) < 2:
        return _Linked([], [None] * len(samples), [None] * len(samples), [])
    prepared = prepare_sources([sample.image for sample in samples], how.kept_in)
    queries = [Query(sample.image, itself=number) for number, sample in enumerate(samples)]
    found = match(queries, prepared, as_a_whole, description="link copies", workers=how.workers)
    near = {
        _near_duplicate(sample.sample_id, samples[link.source].sample_id, link)
        for sample, matches in zip(samples, found, strict=True)
        for link in matches
        if link.likeness >= how.min_likeness
        and samples[link.source].class_name != sample.class_name
    }
    linked = align(found, how.min_likeness)
    members = defaultdict(list)
    for number, root in enumerate(linked.root):
        members[root].append(number)
    together = [numbers for numbers in members.values() if len(numbers) > 1]
    examples = _most_complete(together, prepared)
    placements = _lay_on_examples(samples, together, examples, how)
    components: list[str | None] = [None] * len(samples)
    for numbers in together:
        for number in numbers:
            components[number] = samples[numbers[0]].sample_id
    sources = [
        Source(
            name=samples[example].sample_id,
            class_name=samples[example].class_name,
            file=samples[example].image,
            size=samples[example].size,
            is_photo=False,
        )
        for example in examples
    ]
    return _Linked(sources, placements, components, _strongest(near))


def _most_complete(components: Sequence[Sequence[int]], prepared: Path) -> list[int]:
    """Of each component the picture that shows most, having the smallest black corners."""
    pictures = Sources(prepared)
    return [
        max(numbers, key=lambda number: float(content(pictures[number].pixels).mean()))
        for numbers in components
    ]


def _lay_on_examples(
    samples: Sequence[Sample],
    components: Sequence[Sequence[int]],
    examples: Sequence[int],
    how: _How,
) -> list[Placement | None]:
    """Register every member on its component's example, or on another's if that is the same."""
    placements: list[Placement | None] = [None] * len(samples)
    if not examples:
        return placements
    prepared = prepare_sources([samples[example].image for example in examples], how.kept_in)
    number_of = {example: number for number, example in enumerate(examples)}
    members = [number for numbers in components for number in numbers]
    queries = [Query(samples[number].image, itself=number_of.get(number)) for number in members]
    matches_of_all = match(
        queries, prepared, as_a_whole, description="join groups", workers=how.workers
    )
    found = dict(zip(members, matches_of_all, strict=True))
    same = align([found[example] for example in examples], how.min_likeness)
    for number, matches in found.items():
        if number in number_of:
            itself = Match(number_of[number], np.eye(3), likeness=1.0, residual_px=0.0)
            placements[number] = place([itself], same, how.min_likeness)
        else:
            placements[number] = place(matches, same, how.min_likeness)
    return placements


def _group(
    samples: Sequence[Sample],
    sources: Sequence[Source],
    placements: Sequence[Placement | None],
    components: Sequence[str | None],
) -> list[str]:
    """The group of each sample: what was given, found to be one source, or linked, stays together.

    A group that was given keeps its name, also where that is the name of one of its samples.
    """
    n_given = Counter(sample.group_id for sample in samples)
    given = [
        None
        if sample.group_id == sample.sample_id and n_given[sample.group_id] == 1
        else sample.group_id
        for sample in samples
    ]
    placed = [sources[placement.source].name if placement else None for placement in placements]
    first = merge([given, placed, components])
    names: dict[int, str] = {}
    photos = [
        name if placement and sources[placement.source].is_photo else None
        for name, placement in zip(placed, placements, strict=True)
    ]
    for labels in (given, photos, [sample.sample_id for sample in samples]):
        for number, label in zip(first, labels, strict=True):
            if label is not None:
                names.setdefault(number, label)
    return [names[number] for number in first]


def _misfiled(
    samples: Sequence[Sample],
    sources: Sequence[Source],
    placements: Sequence[Placement | None],
) -> list[NearDuplicate]:
    """Copies that stand in another class than their photograph."""
    return [
        NearDuplicate(sample.sample_id, source.name, round(placement.likeness, 4))
        for sample, placement in zip(samples, placements, strict=True)
        if placement
        and (source := sources[placement.source]).is_photo
        and source.class_name != sample.class_name
    ]


def _near_duplicate(one: str, other: str, found: Match) -> NearDuplicate:
    first, second = sorted((one, other))
    return NearDuplicate(first, second, round(found.likeness, 4))


def _strongest(near: set[NearDuplicate]) -> list[NearDuplicate]:
    """One entry a pair: each was met from both sides."""
    # Sorted, so that of each pair the strongest comes last and stays.
    best = {(pair.one, pair.other): pair for pair in sorted(near)}
    return list(best.values())

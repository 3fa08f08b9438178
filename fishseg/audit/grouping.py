"""From matches to sources: who is a copy of what, and who belongs together."""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fishseg.audit.grey_image import Affine
    from fishseg.audit.matching import Match


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a copy comes from.

    Args:
        source: the source's number.
        affine: from the source's pixels to the copy's, at full size.
        likeness: of the two, see `fishseg.audit.registration.likeness`.
        confidence: how much more like it is than the next best source or the mirror image, 0 to 1.
        residual_px: see `fishseg.audit.registration.Registration`.
    """

    source: int
    affine: Affine
    likeness: float
    confidence: float
    residual_px: float


@dataclasses.dataclass(frozen=True)
class Aligned:
    """Pictures that show the same, with a common frame.

    Args:
        root: for each picture the first one of its component, itself if it is alone.
        from_root: for each picture the map from its root's pixels to its own.
    """

    root: list[int]
    from_root: list[Affine]


def align(matches: Sequence[Sequence[Match]], min_likeness: float) -> Aligned:
    """The connected components of pictures matched with each other.

    Args:
        matches: for each picture its matches among the same pictures.
        min_likeness: from which two pictures show the same.
    """
    neighbours: dict[int, list[tuple[int, Affine]]] = defaultdict(list)
    for number, found in enumerate(matches):
        for match in found:
            if match.likeness >= min_likeness:
                neighbours[match.source].append((number, match.affine))
                back = np.asarray(np.linalg.inv(match.affine), np.float64)
                neighbours[number].append((match.source, back))
    root = list(range(len(matches)))
    from_root: list[Affine] = [np.eye(3) for _ in matches]
    reached: set[int] = set()
    for first in range(len(matches)):
        if first in reached:
            continue
        reached.add(first)
        queue = deque([first])
        while queue:
            here = queue.popleft()
            for there, step in neighbours[here]:
                if there not in reached:
                    reached.add(there)
                    root[there] = first
                    from_root[there] = step @ from_root[here]
                    queue.append(there)
    return Aligned(root, from_root)


def place(found: Sequence[Match], same: Aligned, min_likeness: float) -> Placement | None:
    """The source of a copy, or nothing where no source is like it.

    Sources that show the same count as one, the root, and the copy is laid on that.

    Args:
        found: the copy's matches.
        same: which sources show the same.
        min_likeness: from which a picture is a copy.
    """
    if not found:
        return None
    # One entry for each source and way round; the best of its matches first.
    ways: dict[tuple[int, bool], tuple[Match, Affine]] = {}
    for match in sorted(found, key=lambda match: -match.likeness):
        affine = match.affine @ same.from_root[match.source]
        way = (same.root[match.source], bool(np.linalg.det(affine[:2, :2]) < 0))
        ways.setdefault(way, (match, affine))
    (source, _), (best, affine) = next(iter(ways.items()))
    if best.likeness < min_likeness:
        return None
    runner_up = max((match.likeness for match, _ in list(ways.values())[1:]), default=0.0)
    return Placement(
        source=source,
        affine=affine,
        likeness=best.likeness,
        confidence=float(np.clip(best.likeness - max(runner_up, 0.0), 0, 1)),
        residual_px=best.residual_px,
    )


def merge(groupings: Sequence[Sequence[str | None]]) -> list[int]:
    """The finest grouping that keeps together what any of some groupings does.

    Args:
        groupings: for each way to group, the label of each sample; None is a group of its own.

    Returns:
        For each sample the number of the first sample of its group.
    """
    parent = list(range(len(groupings[0])))

    def first_of(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for labels in groupings:
        seen: dict[str, int] = {}
        for number, label in enumerate(labels):
            if label is None:
                continue
            one, other = sorted((first_of(seen.setdefault(label, number)), first_of(number)))
            parent[other] = one
    return [first_of(number) for number in range(len(parent))]

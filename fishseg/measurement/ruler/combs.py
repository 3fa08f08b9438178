"""Where ticks may be: rows of short parallel strokes at equal distances.

The line segment detector LSD (Grompone von Gioi et al., "LSD: a line segment detector", IPOL 2,
2012) gives both sides of each stroke as segments of opposite directions, whatever the light.
Segments of one direction whose feet follow each other at equal steps are a comb.
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats: TypeAlias = NDArray[np.float64]

FEWEST_TICKS = 9
_SHORTEST_PX = 4.0
_WIDEST_STEP_PX = 160.0
_NEIGHBOURS = 10
_COS_TURNED = np.cos(np.radians(8.0))  # between neighbours
_MOST_TRIED = 8000  # steps in a picture that is full of texture
_MOST_COMBS = 24
_MOST_MISSING = 3  # in a row
_SAME_STEP = 0.1  # by which equal steps may differ


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comb:
    """A row of strokes at equal distances.

    Attributes:
        feet: (N, 2), where they begin, in pixels of the picture.
        index: (N,), the number of each, with gaps where strokes are missing.
        across: (N, 2), unit vectors along the strokes, away from the feet.
        length_px: of the shorter strokes.
    """

    feet: Floats
    index: NDArray[np.int_]
    across: Floats
    length_px: float

    @property
    def step_px(self) -> float:
        """Distance between two strokes."""
        run = np.hypot(*(self.feet[-1] - self.feet[0]))
        return float(run / (self.index[-1] - self.index[0]))

    def has_rows_like(self, other: Comb) -> bool:
        """Whether another comb runs the same way at the same step, as rows of a net do."""
        ways = [one.feet[-1] - one.feet[0] for one in (self, other)]
        along, other_way = (way / np.hypot(*way) for way in ways)
        even = abs(other.step_px / self.step_px - 1) < _SAME_STEP
        return bool(even and abs(along @ other_way) > _COS_TURNED)


def find_combs(grey: NDArray[np.uint8], factor: float) -> list[Comb]:
    """The longest combs of a picture, the one with most strokes first.

    Args:
        grey: (H, W).
        factor: by which it was enlarged; combs are given in pixels from before.
    """
    found = cv2.createLineSegmentDetector(cv2.LSD_REFINE_NONE).detect(grey)[0]
    if found is None:
        return []
    ends = (found.reshape(-1, 2, 2).astype(np.float64) + 0.5) / factor
    ends = ends[np.hypot(*(ends[:, 1] - ends[:, 0]).T) >= _SHORTEST_PX / factor]
    combs: list[Comb] = []
    for foot in (0, 1):
        combs += _grow_all(ends[:, foot], ends[:, 1 - foot])
    combs.sort(key=lambda comb: -len(comb.index))
    kept: list[Comb] = []
    trees: list[cKDTree] = []
    for comb in combs:
        if len(kept) == _MOST_COMBS:
            break
        if not any(_is_same(comb, *other) for other in zip(kept, trees, strict=True)):
            kept.append(comb)
            trees.append(cKDTree(comb.feet))
    return kept


def _grow_all(feet: Floats, tips: Floats) -> list[Comb]:
    if len(feet) < FEWEST_TICKS:
        return []
    strokes = tips - feet
    lengths = np.hypot(*strokes.T)
    across = strokes / lengths[:, None]
    tree = cKDTree(feet)
    first, steps = _seeds(tree, feet, across, lengths)
    combs = []
    taken: dict[int, float] = {}  # the step of the comb that a stroke is in
    tried = 0
    for start, step in zip(first.tolist(), steps, strict=True):
        size = float(np.hypot(*step))
        if abs(taken.get(start, 0) / size - 1) < 0.2:
            continue
        if tried > _MOST_TRIED:
            break
        chain = _grow(tree, feet, across, start, step)
        tried += 2 * (_MOST_MISSING + 1) + len(chain)
        if len(chain) >= FEWEST_TICKS:
            index = np.array(sorted(chain))
            members = np.array([chain[k] for k in index.tolist()])
            taken |= dict.fromkeys(members.tolist(), size)
            combs.append(
                Comb(
                    feet=feet[members],
                    index=index,
                    across=across[members],
                    length_px=float(np.percentile(lengths[members], 25)),
                )
            )
    return combs


def _seeds(
    tree: cKDTree, feet: Floats, across: Floats, lengths: Floats
) -> tuple[NDArray[np.int_], Floats]:
    """Strokes that are followed by three more at equal steps, and those steps."""
    distance, near = tree.query(
        feet, k=min(_NEIGHBOURS + 1, len(feet)), distance_upper_bound=_WIDEST_STEP_PX
    )
    a = np.repeat(np.arange(len(feet)), near.shape[1] - 1)
    b, size = near[:, 1:].ravel(), distance[:, 1:].ravel()
    real = (b < len(feet)) & (size > 2.5)
    a, b, size = a[real], b[real], size[real]
    step = feet[b] - feet[a]
    parallel = np.einsum("ij,ij->i", across[a], across[b]) > _COS_TURNED
    sideways = np.abs(np.einsum("ij,ij->i", step, across[a])) < 0.45 * size
    onwards = across[a, 0] * step[:, 1] - across[a, 1] * step[:, 0] > 0
    long = np.minimum(lengths[a], lengths[b]) > 0.4 * size
    good = np.flatnonzero(parallel & sideways & onwards & long)
    a, b, step, size = a[good], b[good], step[good], size[good]
    misfit = np.zeros(len(a))
    for n in (1, 2):
        if not len(a):
            break
        off, c = tree.query(feet[b] + n * step)
        fits = (off < (0.1 + 0.1 * n) * size) & (
            np.einsum("ij,ij->i", across[a], across[c]) > _COS_TURNED
        )
        a, b, step, size = a[fits], b[fits], step[fits], size[fits]
        misfit = misfit[fits] + off[fits] / size
    order = np.argsort(misfit, kind="stable")
    return a[order], step[order]


def _grow(tree: cKDTree, feet: Floats, across: Floats, start: int, step: Floats) -> dict[int, int]:
    """Strokes at equal steps from one, both ways, by their number."""
    chain = {0: start}
    for sign in (1, -1):
        last, here, missing = 0, feet[start], 0
        stride, k = sign * step, 0
        while missing <= _MOST_MISSING:
            k += sign
            here = here + stride
            size = float(np.hypot(*stride))
            _, candidates = tree.query(here, k=4, distance_upper_bound=0.28 * size)
            direction = across[chain[last]]
            hit = next(
                (
                    int(c)
                    for c in candidates
                    if c < len(feet) and across[c] @ direction > _COS_TURNED
                ),
                None,
            )
            if hit is None:
                missing += 1
                continue
            if hit in chain.values():  # round a dial
                break
            missing = 0
            chain[k], last, here = hit, k, feet[hit]
            # Feet are ragged: the step is that of several strokes.
            back = max(k - 8, min(chain)) if sign > 0 else min(k + 8, max(chain))
            while back not in chain:
                back += sign
            if abs(k - back) >= 3:
                stride = sign * (here - feet[chain[back]]) / abs(k - back)
    hits = len(chain)
    span = max(chain) - min(chain) + 1
    return chain if hits >= 0.6 * span else {}


def _is_same(comb: Comb, other: Comb, tree: cKDTree) -> bool:
    """Whether two combs are one: most of the shorter one's feet lie among the other's."""
    if abs(comb.step_px / other.step_px - 1) > _SAME_STEP:
        return False
    gap, _ = tree.query(comb.feet)
    return float(np.mean(gap < 1.2 * other.step_px)) > 0.5

"""What the masks of one photograph's copies agree on, and which of them do not.

Each mask is turned back into the photograph's frame, where the copies that show a pixel vote. The
masks are hard, but each was cut at other subpixel positions, so the mean of several has soft
edges, and where it passes one half is known to a fraction of a pixel.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from fishseg.audit.grey_image import Affine, Mask, warp
from fishseg.audit.polar import band_pass

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUNDS = 6

Field: TypeAlias = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Member:
    """One copy's mask.

    Args:
        mask: ``(H, W)`` bool.
        visible: ``(H, W)`` bool, where the copy shows the photograph, not its black corners.
        affine: from the photograph's pixels to the copy's.
        valid: ``(H, W)`` bool, False where the mask says nothing; None where it speaks of all.
    """

    mask: Mask
    visible: Mask
    affine: Affine
    valid: Mask | None = None

    @property
    def voting(self) -> Mask:
        """Where the mask says something of the photograph."""
        return self.visible if self.valid is None else self.visible & self.valid


@dataclasses.dataclass(frozen=True)
class Consensus:
    """The masks of one photograph's copies, compared.

    Args:
        agreement: for each copy the IoU of its mask with the consensus over the pixels that it
            and another copy show and do not ignore; nan where there are none.
        agrees: whether that is enough.
        decided: whether the copies that agree are enough of them, and the majority.
        masks: for each copy the consensus in its frame, ``(H, W)`` bool.
        unknown: for each copy what it ignores and no other that agrees speaks of, ``(H, W)`` bool;
            None where there is no such pixel.
    """

    agreement: list[float]
    agrees: list[bool]
    decided: bool
    masks: list[Mask]
    unknown: list[Mask | None]


def find_consensus(members: Sequence[Member], *, min_agreement: float, min_masks: int) -> Consensus:
    """Compare the masks of one photograph's copies.

    All vote, then those that agree with the outcome, until nothing changes.

    Args:
        members: the copies, at least one.
        min_agreement: the IoU from which a mask agrees.
        min_masks: how many masks must agree before they prove anything.
    """
    frame = _common_frame(members)
    ballots = [_turn_back(member, frame) for member in members]
    agrees = [True] * len(members)
    for _ in range(_ROUNDS):
        foreground, votes = _count(ballots, agrees)
        coverage = foreground / np.maximum(votes, np.float32(0.5))
        masks = [_in_copy(coverage, frame, member) >= 0.5 for member in members]
        counted = [_in_copy(votes, frame, member) for member in members]
        agreement = [
            # A copy that voted must not confirm itself: half a vote more than its own.
            _agreement(member, mask, seen >= 0.5 + voted)
            for member, mask, seen, voted in zip(members, masks, counted, agrees, strict=True)
        ]
        before, agrees = agrees, [value >= min_agreement for value in agreement]
        if agrees == before or not any(agrees):
            break
    return Consensus(
        agreement=agreement,
        agrees=agrees,
        decided=sum(agrees) >= min_masks and 2 * sum(agrees) > len(members),
        masks=[mask & member.visible for mask, member in zip(masks, members, strict=True)],
        unknown=[_unknown(member, seen) for member, seen in zip(members, counted, strict=True)],
    )


def edge_evidence(grey: NDArray[np.uint8], mask: Mask) -> float:
    """How well a mask's outline keeps to edges of its image.

    All there is to say about a mask without siblings, and no proof of anything.

    Args:
        grey: ``(H, W)`` uint8.
        mask: ``(H, W)`` bool.

    Returns:
        The mean rank of the image's gradient along the outline among all pixels: about 0.5 for an
        outline drawn anywhere, 1 if no edge is stronger; nan for a mask without outline.
    """
    structure = band_pass(grey)
    gradient = cv2.magnitude(
        cv2.Sobel(structure, cv2.CV_32F, 1, 0), cv2.Sobel(structure, cv2.CV_32F, 0, 1)
    )
    # Masks are drawn to within a pixel or two.
    near = cv2.dilate(gradient, np.ones((3, 3), np.uint8))
    outline = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3)))
    values = near[outline > 0]
    if not len(values):
        return float("nan")
    below = np.searchsorted(np.sort(near, axis=None), values) / near.size
    return float(below.mean())


@dataclasses.dataclass(frozen=True)
class _Frame:
    """The common frame: ``from_source`` maps the photograph's pixels to its ``size`` (h, w)."""

    from_source: Affine
    size: tuple[int, int]


def _common_frame(members: Sequence[Member]) -> _Frame:
    """As large as all copies together, at their scale."""
    scales = [np.sqrt(abs(np.linalg.det(member.affine[:2, :2]))) for member in members]
    scale = float(np.median(scales))
    corners = []
    for member in members:
        height, width = member.mask.shape
        ends = np.array([[0, width, 0, width], [0, 0, height, height]]) - 0.5
        corners.append((np.linalg.inv(member.affine) @ np.vstack([ends, np.ones(4)]))[:2] * scale)
    low = np.floor(np.min(np.hstack(corners), axis=1))
    width, height = (np.ceil(np.max(np.hstack(corners), axis=1)) - low).astype(int)
    from_source = np.array([[scale, 0, -low[0]], [0, scale, -low[1]], [0, 0, 1]], np.float64)
    return _Frame(from_source, (int(height), int(width)))


def _turn_back(member: Member, frame: _Frame) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Foreground and votes cast of a copy in the common frame, uint8, 255 for all of a pixel."""
    to_copy = member.affine @ np.linalg.inv(frame.from_source)
    moved = [
        warp(shown.astype(np.uint8) * 255, to_copy, frame.size, cv2.INTER_LINEAR)
        for shown in (member.mask & member.voting, member.voting)
    ]
    return moved[0].astype(np.uint8), moved[1].astype(np.uint8)


def _count(
    ballots: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]], voters: Sequence[bool]
) -> tuple[Field, Field]:
    """Votes for foreground, and votes cast, for each pixel of the common frame."""
    counted = np.zeros((2, *ballots[0][0].shape), np.float32)
    for ballot, votes in zip(ballots, voters, strict=True):
        if votes:
            counted += np.stack(ballot) / np.float32(255)
    return counted[0], counted[1]


def _in_copy(field: NDArray[np.floating], frame: _Frame, member: Member) -> Field:
    to_frame = frame.from_source @ np.linalg.inv(member.affine)
    height, width = member.mask.shape
    return warp(field, to_frame, (height, width), cv2.INTER_LINEAR).astype(np.float32)


def _unknown(member: Member, votes: Field) -> Mask | None:
    if member.valid is None:
        return None
    unknown: Mask = ~member.valid & (votes < 0.5)
    return unknown if unknown.any() else None


def _agreement(member: Member, consensus: Mask, seen_by_others: Mask) -> float:
    compared = member.voting & seen_by_others
    if not compared.any():
        return float("nan")
    both = int((member.mask & consensus & compared).sum())
    either = int(((member.mask | consensus) & compared).sum())
    return both / either if either else 1.0

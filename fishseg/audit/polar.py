"""Which pictures may show the same, turned or mirrored: correlation of polar spectra.

A copy was turned about the middle of its frame, so on polar coordinates around that middle it is
its photo, shifted along the angle. Correlating two polar images over all shifts at once is a
product of their Fourier transforms along the angle (De Castro and Morandi, "Registration of
translated and rotated images using finite Fourier transforms", PAMI 1987, for the idea), and a
mirror image is the complex conjugate. So one matrix product compares many pictures in all angles
and both ways round.

Shapes: ``F`` frequencies, ``R`` radii, ``N`` sources.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fishseg.audit.grey_image import Affine, Grey, GreyImage

Spectrum: TypeAlias = NDArray[np.complex64]

ANGLES = 256
RADII = 48
FREQUENCIES = 64
# Of the circle that just fits into the frame: what lies in it is never cut off by turning.
RADIUS_SHARE = 0.97
# Grain is finer than this and the lamp's falloff wider, in pixels at working size.
BAND_PX = (1.0, 6.0)


@dataclasses.dataclass(frozen=True, order=True)
class Candidate:
    """A source that a picture may be a copy of.

    Args:
        correlation: of the two pictures at the best angle, 1 where they are the same.
        source: its number.
        flipped: mirrored left-right before it was turned.
        rotation_degrees: counter-clockwise as seen, about the middle, to within `ANGLES` steps.
    """

    correlation: float
    source: int
    flipped: bool
    rotation_degrees: float


def band_pass(pixels: Grey) -> NDArray[np.float32]:
    """A picture's structure: float32, without its grain and its uneven light."""
    fine, coarse = BAND_PX
    grey = pixels.astype(np.float32)
    structure: NDArray[np.float32] = cv2.GaussianBlur(grey, (0, 0), fine) - cv2.GaussianBlur(
        grey, (0, 0), coarse
    )
    return structure


def spectrum(pixels: Grey) -> Spectrum:
    """The polar spectrum ``(F, R)`` of a picture ``(h, w)``, of norm 1 (0 for an even picture)."""
    height, width = pixels.shape
    middle = ((width - 1) / 2, (height - 1) / 2)
    polar = cv2.warpPolar(
        band_pass(pixels),
        (RADII, ANGLES),
        middle,
        RADIUS_SHARE * min(height, width) / 2,
        cv2.WARP_POLAR_LINEAR | cv2.INTER_LINEAR,
    )
    # A ring stands for as much of the picture as it is long.
    rings = np.sqrt(np.arange(RADII, dtype=np.float32) + 0.5)
    frequencies = np.fft.rfft(polar * rings, axis=0)[1 : FREQUENCIES + 1]
    return (frequencies / max(float(np.linalg.norm(frequencies)), 1e-6)).astype(np.complex64)


def find_candidates(query: Spectrum, sources: Spectrum, *, limit: int) -> list[Candidate]:
    """The sources most like a picture, best first; one may be there twice, mirrored and not.

    Args:
        query: the picture's spectrum ``(F, R)``.
        sources: their spectra ``(F, R, N)``.
        limit: how many candidates to name at most.
    """
    by_angle = _correlate(query, sources)
    order = np.argsort(-by_angle.max(axis=2), axis=None, kind="stable")[:limit]
    return [_candidate(by_angle, *divmod(int(place), sources.shape[2])) for place in order]


def candidate_map(candidate: Candidate, source: GreyImage, copy: GreyImage) -> Affine:
    """The map from a source's pixels to its copy's, both at working size, middle on middle."""
    angle = math.radians(candidate.rotation_degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    if candidate.flipped:
        turn = turn @ np.diag([-1.0, 1.0])
    source_middle, copy_middle = (
        (np.array(picture.pixels.shape[::-1]) - 1) / 2 for picture in (source, copy)
    )
    affine = np.eye(3)
    affine[:2, :2] = turn
    affine[:2, 2] = copy_middle - turn @ source_middle
    return affine


def _correlate(query: Spectrum, sources: Spectrum) -> NDArray[np.floating]:
    """Correlation ``(2, N, ANGLES)`` with each source, unmirrored and mirrored, by angle."""
    # Not matmul: BLAS would start its threads for each frequency, in every process.
    unmirrored = np.einsum("fr,frn->fn", query.conj(), sources)
    # The mirror image about the vertical axis takes an angle a to pi - a.
    signs = (-1.0) ** np.arange(1, FREQUENCIES + 1, dtype=np.float32)
    mirrored = np.einsum("fr,frn->fn", query, sources).conj() * signs[:, None]
    padded = np.zeros((2, sources.shape[2], ANGLES // 2 + 1), np.complex64)
    padded[..., 1 : FREQUENCIES + 1] = np.stack([unmirrored.T, mirrored.T])
    correlation: NDArray[np.floating] = np.fft.irfft(padded, ANGLES, axis=2) * (ANGLES / 2)
    return correlation


def _candidate(by_angle: NDArray[np.floating], flipped: int, source: int) -> Candidate:
    step = int(by_angle[flipped, source].argmax())
    return Candidate(
        correlation=float(by_angle[flipped, source, step]),
        source=source,
        flipped=bool(flipped),
        rotation_degrees=step * 360 / ANGLES,
    )

"""Where an animal lies in the photograph, and how its body axis bends.

Body coordinates ``(s, t)`` are those of the straightened animal in units of its length: ``s`` runs
along the axis from the snout (0) to the tip of the tail (1), ``t`` across it, negative towards the
back and positive towards the belly. Photo coordinates ``(x, y)`` are pixels, whole numbers at pixel
centres, ``y`` downwards.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

# Legs and antennae reach beyond the snout, so the axis is known beyond both of its ends.
_AXIS_S = np.linspace(-0.6, 1.3, 1521)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pose:
    """A place, a heading and a bend.

    Args:
        centre: photo coordinates of the middle of the axis.
        length_px: length along the axis from snout to tail tip.
        heading: direction from snout to tail at the middle, radians clockwise from +x as seen.
        bend: total turn of the axis from snout to tail, radians.
        wave: amplitude of an additional S-shaped turn, radians.
        belly: +1 where the belly is on the right hand of the axis (clockwise), -1 on the left.
    """

    centre: tuple[float, float]
    length_px: float
    heading: float
    bend: float
    wave: float
    belly: int

    def to_photo(self, points: Points) -> Points:
        """Photo coordinates of body coordinates, both ``(N, 2)``."""
        x, y, angle, _ = self._axis_at(points[:, 0])
        offset = points[:, 1] * self.length_px * self.belly
        return np.stack([x - np.sin(angle) * offset, y + np.cos(angle) * offset], axis=1)

    def to_body(self, x: Points, y: Points) -> tuple[Points, Points]:
        """Body coordinates of photo coordinates of one shape, by Newton's method along the axis.

        Exact where the pixel is nearer to the axis than the axis's radius of curvature.
        """
        along = (x - self.centre[0]) * np.cos(self.heading) + (y - self.centre[1]) * np.sin(
            self.heading
        )
        s = np.clip(0.5 + along / self.length_px, _AXIS_S[0], _AXIS_S[-1])
        for _ in range(4):
            axis_x, axis_y, angle, curvature = self._axis_at(s)
            dx, dy = (x - axis_x) / self.length_px, (y - axis_y) / self.length_px
            ahead = dx * np.cos(angle) + dy * np.sin(angle)
            aside = dy * np.cos(angle) - dx * np.sin(angle)
            # Beyond the centre of curvature the step would turn round: pixels there are far
            # from the animal, so a bounded step is enough.
            s = np.clip(s + ahead / np.maximum(1 - curvature * aside, 0.3), -0.6, 1.3)
        axis_x, axis_y, angle, _ = self._axis_at(s)
        aside = (y - axis_y) * np.cos(angle) - (x - axis_x) * np.sin(angle)
        return s, aside / self.length_px * self.belly

    def _axis_at(self, s: Points) -> tuple[Points, Points, Points, Points]:
        """Photo coordinates, direction (radians) and curvature (radians a length) of the axis."""
        turn = 2 * np.pi * (s - 0.5)
        angle = self.heading + self.bend * (s - 0.5) + self.wave * np.sin(turn)
        curvature = self.bend + self.wave * 2 * np.pi * np.cos(turn)
        xs, ys = self._axis
        return np.interp(s, _AXIS_S, xs), np.interp(s, _AXIS_S, ys), angle, curvature

    @cached_property
    def _axis(self) -> tuple[Points, Points]:
        middles = (_AXIS_S[:-1] + _AXIS_S[1:]) / 2
        angle = self.heading + self.bend * (middles - 0.5)
        angle += self.wave * np.sin(2 * np.pi * (middles - 0.5))
        steps = np.stack([np.cos(angle), np.sin(angle)]) * np.diff(_AXIS_S) * self.length_px
        path = np.concatenate([np.zeros((2, 1)), np.cumsum(steps, axis=1)], axis=1)
        middle_x, middle_y = (np.interp(0.5, _AXIS_S, row) for row in path)
        return path[0] + self.centre[0] - middle_x, path[1] + self.centre[1] - middle_y

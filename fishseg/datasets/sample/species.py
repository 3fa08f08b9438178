"""The nine species: what makes each look different from the others.

Lengths are shares of the animal's total length, snout to tail tip. Colours are as seen on a screen
in daylight, 0..255.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

Colour: TypeAlias = tuple[int, int, int]
Profile: TypeAlias = tuple[float, float, float, float, float, float]
"""Distances of an outline from the body axis at `STATIONS`."""

STATIONS = (0.03, 0.09, 0.2, 0.36, 0.6, 0.84)
"""Distances from the snout at which the outlines of fish are given."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MedianFin:
    """A fin on the back or under the belly, from ``start`` to ``end`` along the axis."""

    edge: Literal["dorsal", "ventral"]
    start: float
    end: float
    height: float
    peak: float = 0.3  # where along its base it is highest, 0 front .. 1 rear
    sweep: float = 0.6  # how far its tips lean back, in units of its height
    spines: int = 0  # teeth of its edge


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedFin:
    """A pectoral or pelvic fin, of which the near one shows."""

    at: float
    height: float  # of its root: -1 the back's outline, 0 the axis, 1 the belly's outline
    length: float
    width: float
    angle_degrees: float  # 0 lies along the axis towards the tail, 90 points to the belly
    over_body: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tail:
    """The caudal fin, from ``start`` to the end of the animal."""

    start: float
    span: float
    fork: float  # depth of the notch as a share of the fin's length


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spots:
    """Small spots scattered over a band of the flank (-1 back .. 1 belly)."""

    count: int
    size: float
    colour: Colour
    band: tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stripe:
    """A stripe along the body at ``height`` (-1 back .. 1 belly)."""

    height: float
    width: float
    colour: Colour
    strength: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patch:
    """A soft-edged patch at ``(at, height)``, with half-axes as shares of the length."""

    at: float
    height: float
    half_axes: tuple[float, float]
    colour: Colour
    strength: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Kind:
    """What fish and shrimps share.

    Args:
        name: its folder in ``Fish_Dataset``.
        source_name: its folder in ``NA_Fish_Dataset``.
        length_share: shortest and longest animal as shares of the frame's width.
        bend: largest turn of the body axis from end to end, radians.
    """

    name: str
    source_name: str
    length_share: tuple[float, float]
    bend: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fish(_Kind):
    """A bony fish.

    Args:
        dorsal: outline of the back. ventral: outline of the belly.
        eye: distance from the snout, height over the axis (negative: above) and radius.
        head: where the gill cover ends. mouth: length of the gape.
        scale: size of a scale; 0 where scales are too small to be seen.
        back, flank, belly, fin, iris: colours.
        back_edge: height at which the back's colour ends (-1 back .. 1 belly), and its softness.
        mottle: a second colour in irregular patches, and their strength.
        scutes: a line of large scales runs along the flank.
        barbels: two feelers hang from the chin.
    """

    dorsal: Profile
    ventral: Profile
    tail: Tail
    median_fins: tuple[MedianFin, ...]
    paired_fins: tuple[PairedFin, ...]
    eye: tuple[float, float, float]
    head: float
    mouth: float
    scale: float
    back: Colour
    flank: Colour
    belly: Colour
    fin: Colour
    iris: Colour
    back_edge: tuple[float, float]
    mottle: tuple[Colour, float]
    spots: Spots | None = None
    stripes: tuple[Stripe, ...] = ()
    patches: tuple[Patch, ...] = ()
    scutes: bool = False
    barbels: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shrimp(_Kind):
    """A prawn; its parts are in `fishseg.datasets.sample.shrimp`."""

    carapace: Colour
    back: Colour
    leg: Colour


Species: TypeAlias = Fish | Shrimp

SPECIES: tuple[Species, ...] = (
    Fish(
        name="Black Sea Sprat",
        source_name="Black Sea Sprat",
        length_share=(0.55, 0.8),
        bend=0.45,
        dorsal=(0.026, 0.049, 0.070, 0.081, 0.066, 0.030),
        ventral=(0.030, 0.057, 0.088, 0.107, 0.086, 0.030),
        tail=Tail(start=0.84, span=0.2, fork=0.62),
        median_fins=(
            MedianFin(edge="dorsal", start=0.44, end=0.55, height=0.06, peak=0.2),
            MedianFin(edge="ventral", start=0.64, end=0.77, height=0.022, peak=0.1),
        ),
        paired_fins=(
            PairedFin(
                at=0.2, height=0.85, length=0.1, width=0.026, angle_degrees=14, over_body=True
            ),
            PairedFin(
                at=0.46, height=0.95, length=0.05, width=0.018, angle_degrees=25, over_body=False
            ),
        ),
        eye=(0.062, -0.008, 0.022),
        head=0.19,
        mouth=0.045,
        scale=0.012,
        back=(38, 58, 62),
        flank=(205, 206, 200),
        belly=(240, 236, 226),
        fin=(112, 106, 88),
        iris=(215, 215, 200),
        back_edge=(-0.12, 0.2),
        mottle=((120, 130, 120), 0.2),
        stripes=(Stripe(height=-0.12, width=0.1, colour=(120, 150, 150), strength=0.5),),
    ),
    Fish(
        name="Gilt-Head Bream",
        source_name="Gilt Head Bream",
        length_share=(0.68, 0.92),
        bend=0.2,
        dorsal=(0.070, 0.128, 0.178, 0.189, 0.125, 0.040),
        ventral=(0.050, 0.092, 0.130, 0.148, 0.118, 0.040),
        tail=Tail(start=0.82, span=0.29, fork=0.5),
        median_fins=(
            MedianFin(edge="dorsal", start=0.28, end=0.75, height=0.075, peak=0.2, spines=11),
            MedianFin(edge="ventral", start=0.58, end=0.75, height=0.055, peak=0.2, spines=3),
        ),
        paired_fins=(
            PairedFin(
                at=0.27, height=0.25, length=0.26, width=0.06, angle_degrees=12, over_body=True
            ),
            PairedFin(
                at=0.31, height=0.93, length=0.13, width=0.04, angle_degrees=14, over_body=False
            ),
        ),
        eye=(0.135, -0.055, 0.027),
        head=0.25,
        mouth=0.075,
        scale=0.0135,
        back=(84, 86, 88),
        flank=(172, 170, 162),
        belly=(216, 212, 204),
        fin=(120, 112, 100),
        iris=(200, 185, 130),
        back_edge=(-0.5, 0.6),
        mottle=((130, 125, 115), 0.25),
        patches=(
            Patch(
                at=0.1, height=-0.098, half_axes=(0.012, 0.018), colour=(196, 152, 62), strength=0.6
            ),
            Patch(
                at=0.265, height=-0.07, half_axes=(0.02, 0.03), colour=(35, 32, 38), strength=0.7
            ),
            Patch(
                at=0.24, height=0.02, half_axes=(0.012, 0.04), colour=(190, 110, 80), strength=0.5
            ),
        ),
    ),
    Fish(
        name="Hourse Mackerel",
        source_name="Horse Mackerel",
        length_share=(0.64, 0.9),
        bend=0.35,
        dorsal=(0.032, 0.062, 0.092, 0.100, 0.064, 0.017),
        ventral=(0.035, 0.063, 0.088, 0.100, 0.066, 0.017),
        tail=Tail(start=0.84, span=0.25, fork=0.62),
        median_fins=(
            MedianFin(edge="dorsal", start=0.31, end=0.44, height=0.075, peak=0.35, spines=7),
            MedianFin(edge="dorsal", start=0.46, end=0.81, height=0.055, peak=0.06),
            MedianFin(edge="ventral", start=0.5, end=0.81, height=0.05, peak=0.06),
        ),
        paired_fins=(
            PairedFin(
                at=0.25, height=0.2, length=0.19, width=0.032, angle_degrees=8, over_body=True
            ),
            PairedFin(
                at=0.28, height=0.94, length=0.1, width=0.025, angle_degrees=18, over_body=False
            ),
        ),
        eye=(0.09, -0.018, 0.028),
        head=0.235,
        mouth=0.07,
        scale=0.01,
        back=(92, 100, 84),
        flank=(196, 184, 148),
        belly=(228, 222, 204),
        fin=(172, 150, 90),
        iris=(205, 190, 140),
        back_edge=(-0.42, 0.5),
        mottle=((150, 140, 100), 0.25),
        stripes=(Stripe(height=-0.3, width=0.14, colour=(200, 175, 95), strength=0.4),),
        patches=(
            Patch(
                at=0.24, height=-0.035, half_axes=(0.011, 0.013), colour=(30, 28, 28), strength=0.85
            ),
        ),
        scutes=True,
    ),
    Fish(
        name="Red Mullet",
        source_name="Red Mullet",
        length_share=(0.55, 0.82),
        bend=0.35,
        dorsal=(0.050, 0.097, 0.126, 0.125, 0.081, 0.036),
        ventral=(0.036, 0.063, 0.088, 0.094, 0.066, 0.034),
        tail=Tail(start=0.83, span=0.21, fork=0.55),
        median_fins=(
            MedianFin(edge="dorsal", start=0.27, end=0.41, height=0.1, peak=0.25, spines=7),
            MedianFin(edge="dorsal", start=0.53, end=0.66, height=0.065, peak=0.2),
            MedianFin(edge="ventral", start=0.55, end=0.66, height=0.055, peak=0.2),
        ),
        paired_fins=(
            PairedFin(
                at=0.25, height=0.45, length=0.16, width=0.04, angle_degrees=12, over_body=True
            ),
            PairedFin(
                at=0.26, height=0.95, length=0.14, width=0.036, angle_degrees=20, over_body=False
            ),
        ),
        eye=(0.105, -0.052, 0.022),
        head=0.225,
        mouth=0.055,
        scale=0.024,
        back=(186, 66, 44),
        flank=(226, 122, 92),
        belly=(244, 204, 184),
        fin=(224, 150, 110),
        iris=(200, 60, 40),
        back_edge=(-0.25, 0.7),
        mottle=((250, 214, 190), 0.8),
        barbels=True,
    ),
    Fish(
        name="Red Sea Bream",
        source_name="Red Sea Bream",
        length_share=(0.64, 0.9),
        bend=0.2,
        dorsal=(0.055, 0.113, 0.168, 0.192, 0.117, 0.036),
        ventral=(0.050, 0.089, 0.130, 0.150, 0.105, 0.036),
        tail=Tail(start=0.81, span=0.31, fork=0.6),
        median_fins=(
            MedianFin(edge="dorsal", start=0.27, end=0.74, height=0.085, peak=0.22, spines=12),
            MedianFin(edge="ventral", start=0.57, end=0.74, height=0.06, peak=0.2, spines=3),
        ),
        paired_fins=(
            PairedFin(
                at=0.27, height=0.3, length=0.28, width=0.055, angle_degrees=10, over_body=True
            ),
            PairedFin(
                at=0.32, height=0.93, length=0.14, width=0.045, angle_degrees=16, over_body=False
            ),
        ),
        eye=(0.13, -0.045, 0.034),
        head=0.255,
        mouth=0.07,
        scale=0.015,
        back=(186, 88, 80),
        flank=(218, 150, 136),
        belly=(238, 216, 206),
        fin=(214, 120, 100),
        iris=(220, 190, 150),
        back_edge=(-0.35, 0.8),
        mottle=((236, 190, 170), 0.35),
        spots=Spots(count=60, size=0.004, colour=(110, 130, 190), band=(-0.8, 0.0)),
        patches=(
            Patch(
                at=0.265, height=-0.08, half_axes=(0.018, 0.022), colour=(120, 45, 48), strength=0.6
            ),
        ),
    ),
    Fish(
        name="Sea Bass",
        source_name="Sea Bass",
        length_share=(0.72, 0.96),
        bend=0.25,
        dorsal=(0.026, 0.056, 0.092, 0.112, 0.085, 0.044),
        ventral=(0.030, 0.058, 0.091, 0.108, 0.085, 0.044),
        tail=Tail(start=0.84, span=0.23, fork=0.38),
        median_fins=(
            MedianFin(edge="dorsal", start=0.33, end=0.5, height=0.08, peak=0.35, spines=8),
            MedianFin(edge="dorsal", start=0.54, end=0.68, height=0.065, peak=0.2),
            MedianFin(edge="ventral", start=0.58, end=0.7, height=0.06, peak=0.25),
        ),
        paired_fins=(
            PairedFin(
                at=0.27, height=0.4, length=0.13, width=0.045, angle_degrees=15, over_body=True
            ),
            PairedFin(
                at=0.3, height=0.94, length=0.11, width=0.035, angle_degrees=18, over_body=False
            ),
        ),
        eye=(0.105, -0.025, 0.018),
        head=0.265,
        mouth=0.1,
        scale=0.011,
        back=(76, 84, 92),
        flank=(170, 174, 172),
        belly=(228, 226, 220),
        fin=(128, 124, 112),
        iris=(200, 190, 150),
        back_edge=(-0.5, 0.5),
        mottle=((120, 122, 120), 0.2),
        patches=(
            Patch(
                at=0.262, height=-0.03, half_axes=(0.012, 0.016), colour=(45, 42, 45), strength=0.6
            ),
        ),
    ),
    Shrimp(
        name="Shrimp",
        source_name="Shrimp",
        length_share=(0.6, 0.88),
        bend=0.45,
        carapace=(216, 160, 116),
        back=(160, 92, 52),
        leg=(222, 128, 92),
    ),
    Fish(
        name="Striped Red Mullet",
        source_name="Striped Red Mullet",
        length_share=(0.58, 0.85),
        bend=0.35,
        dorsal=(0.036, 0.075, 0.108, 0.112, 0.077, 0.036),
        ventral=(0.032, 0.059, 0.084, 0.094, 0.068, 0.035),
        tail=Tail(start=0.84, span=0.2, fork=0.55),
        median_fins=(
            MedianFin(edge="dorsal", start=0.28, end=0.42, height=0.1, peak=0.25, spines=7),
            MedianFin(edge="dorsal", start=0.54, end=0.67, height=0.06, peak=0.2),
            MedianFin(edge="ventral", start=0.56, end=0.67, height=0.05, peak=0.2),
        ),
        paired_fins=(
            PairedFin(
                at=0.26, height=0.45, length=0.15, width=0.038, angle_degrees=12, over_body=True
            ),
            PairedFin(
                at=0.27, height=0.95, length=0.13, width=0.034, angle_degrees=20, over_body=False
            ),
        ),
        eye=(0.125, -0.045, 0.021),
        head=0.24,
        mouth=0.06,
        scale=0.022,
        back=(158, 78, 56),
        flank=(218, 150, 112),
        belly=(240, 214, 190),
        fin=(214, 156, 100),
        iris=(190, 90, 50),
        back_edge=(-0.3, 0.6),
        mottle=((240, 200, 165), 0.45),
        stripes=(
            Stripe(height=-0.22, width=0.11, colour=(150, 40, 28), strength=0.65),
            Stripe(height=0.08, width=0.1, colour=(226, 172, 44), strength=0.75),
            Stripe(height=0.36, width=0.09, colour=(226, 176, 60), strength=0.6),
            Stripe(height=0.6, width=0.08, colour=(228, 184, 84), strength=0.45),
        ),
        barbels=True,
    ),
    Fish(
        name="Trout",
        source_name="Trout",
        length_share=(0.78, 1.02),
        bend=0.25,
        dorsal=(0.036, 0.068, 0.104, 0.123, 0.103, 0.051),
        ventral=(0.036, 0.066, 0.100, 0.126, 0.103, 0.051),
        tail=Tail(start=0.86, span=0.21, fork=0.18),
        median_fins=(
            MedianFin(edge="dorsal", start=0.42, end=0.55, height=0.085, peak=0.25),
            MedianFin(edge="dorsal", start=0.74, end=0.775, height=0.032, peak=0.6, sweep=1.0),
            MedianFin(edge="ventral", start=0.68, end=0.77, height=0.075, peak=0.25),
        ),
        paired_fins=(
            PairedFin(
                at=0.22, height=0.72, length=0.12, width=0.042, angle_degrees=18, over_body=True
            ),
            PairedFin(
                at=0.5, height=0.93, length=0.1, width=0.036, angle_degrees=20, over_body=False
            ),
        ),
        eye=(0.095, -0.022, 0.015),
        head=0.21,
        mouth=0.115,
        scale=0.0,
        back=(66, 68, 54),
        flank=(176, 164, 144),
        belly=(230, 222, 208),
        fin=(112, 84, 66),
        iris=(180, 160, 110),
        back_edge=(-0.45, 0.55),
        mottle=((120, 110, 90), 0.2),
        spots=Spots(count=850, size=0.0036, colour=(28, 26, 24), band=(-1.0, 0.4)),
        stripes=(Stripe(height=-0.05, width=0.24, colour=(206, 128, 116), strength=0.45),),
    ),
)

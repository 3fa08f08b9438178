"""What a species is made of; the nine of the data set stand in ``species.yaml``.

Lengths are shares of the animal's total length, snout to tail tip. Colours are as seen on a screen
in daylight, 0..255.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from ruamel.yaml import YAML

Colour: TypeAlias = tuple[int, int, int]
Profile: TypeAlias = tuple[float, float, float, float, float, float]
"""Distances of an outline from the body axis at `STATIONS`."""

STATIONS = (0.03, 0.09, 0.2, 0.36, 0.6, 0.84)
"""Distances from the snout at which the outlines of fish are given."""


class _Model(BaseModel):
    """Data of this module: nothing beyond the fields it names, and nothing changed later."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MedianFin(_Model):
    """A fin on the back or under the belly, from ``start`` to ``end`` along the axis."""

    start: float
    end: float
    height: float
    peak: float = 0.3  # where along its base it is highest, 0 front .. 1 rear
    sweep: float = 0.6  # how far its tips lean back, in units of its height
    spines: int = 0  # teeth of its edge


class PairedFin(_Model):
    """A pectoral or pelvic fin, of which the near one shows."""

    at: float
    height: float  # of its root: -1 the back's outline, 0 the axis, 1 the belly's outline
    length: float
    width: float
    angle_degrees: float  # 0 lies along the axis towards the tail, 90 points to the belly


class Tail(_Model):
    """The caudal fin, from ``start`` to the end of the animal."""

    start: float
    span: float
    fork: float = 0.0  # depth of the notch as a share of the fin's length
    rounded: bool = False  # a paddle without corners


class Spots(_Model):
    """Small spots scattered over a band of the flank (-1 back .. 1 belly)."""

    count: int
    size: float
    colour: Colour
    band: tuple[float, float]


class Stripe(_Model):
    """A stripe along the body at ``height`` (-1 back .. 1 belly)."""

    height: float
    width: float
    colour: Colour
    strength: float


class Bar(_Model):
    """A bar across the body at ``at``, from the back's outline down to ``reach`` (1: all of it)."""

    at: float
    width: float
    reach: float
    colour: Colour
    strength: float


class Patch(_Model):
    """A soft-edged patch at ``(at, height)``, with half-axes as shares of the length."""

    at: float
    height: float
    half_axes: tuple[float, float]
    colour: Colour
    strength: float


class _Kind(_Model):
    """What fish and shrimps share.

    Args:
        name: its folder in ``Fish_Dataset``.
        length_share: shortest and longest animal as shares of the frame's width.
        bend: largest turn of the body axis from end to end, radians.
        source_name: how ``NA_Fish_Dataset`` spells it, if otherwise.
    """

    name: str
    length_share: tuple[float, float]
    bend: float
    source_name: str = ""

    @property
    def source_folder(self) -> str:
        """Its folder in ``NA_Fish_Dataset``."""
        return self.source_name or self.name


class Body(_Model):
    """The shape of a bony fish.

    Args:
        dorsal: outline of the back. ventral: outline of the belly.
        eye: distance from the snout, height over the axis (negative: above) and radius.
        head: where the gill cover ends. mouth: length of the gape.
        scale: size of a scale; 0 where scales are too small to be seen.
        scutes: a line of large scales runs along the flank.
        barbels: two feelers hang from the chin.
        whiskers: so many long feelers, too thin for the mask.
    """

    dorsal: Profile
    ventral: Profile
    tail: Tail
    dorsal_fins: tuple[MedianFin, ...] = ()
    anal_fins: tuple[MedianFin, ...] = ()
    pectoral_fin: PairedFin | None = None
    pelvic_fin: PairedFin | None = None
    eye: tuple[float, float, float]
    head: float
    mouth: float
    scale: float
    scutes: bool = False
    barbels: bool = False
    whiskers: int = 0


class Coat(_Model):
    """The colours of a bony fish.

    Args:
        back, flank, belly, fin, iris: colours.
        back_edge: height at which the back's colour ends (-1 back .. 1 belly), and its softness.
        mottle: a second colour in irregular patches, and their strength.
        tail_edge: colour of the tail's end, and its strength.
        fin_opacity: range of what the skin of a fin hides of the ground, 0 to 1.
    """

    back: Colour
    flank: Colour
    belly: Colour
    fin: Colour
    iris: Colour
    back_edge: tuple[float, float]
    mottle: tuple[Colour, float]
    spots: Spots | None = None
    stripes: tuple[Stripe, ...] = ()
    bars: tuple[Bar, ...] = ()
    patches: tuple[Patch, ...] = ()
    tail_edge: tuple[Colour, float] | None = None
    fin_opacity: tuple[float, float] = (0.8, 1.0)


class Fish(_Kind, Body, Coat):
    """A bony fish. Seen from above or below, ``dorsal`` and ``ventral`` are its two sides."""

    kind: Literal["fish"] = "fish"
    seen_from: Literal["side", "above", "below"] = "side"


class Shrimp(_Kind):
    """A prawn; its parts are in `fishseg.datasets.sample.shrimp`."""

    kind: Literal["shrimp"] = "shrimp"
    carapace: Colour
    back: Colour
    leg: Colour


Species: TypeAlias = Fish | Shrimp

SPECIES: tuple[Species, ...] = TypeAdapter(
    tuple[Annotated[Species, Field(discriminator="kind")], ...]
).validate_python(YAML(typ="safe").load(Path(__file__).with_name("species.yaml")))
"""The species of the data set, in the order of ``species.yaml``."""

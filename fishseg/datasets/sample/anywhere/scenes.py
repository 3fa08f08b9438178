"""Scenes as data: the models of ``scenes.yaml``.

A mean number of things is that of a Poisson draw; a share is the chance that a picture has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator
from ruamel.yaml import YAML

from fishseg.datasets.sample.species import Colour


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Surface(_Model):
    """Something to lie on.

    Args:
        pattern: its texture, one of `fishseg.datasets.sample.anywhere.grounds.PATTERNS`.
        colours: any of these, as seen on a screen.
        gloss: range of how much light it mirrors.
        wet, dirt: shares with water on it; with stains or scratches.
    """

    pattern: str
    colours: tuple[Colour, ...]
    gloss: tuple[float, float]
    wet: float
    dirt: float


class Place(_Model):
    """A kind of scene.

    Args:
        surfaces: weight of each surface.
        fish: weight of each number of fish.
        length: shortest and longest fish as shares of the frame's longer side.
        things: mean number of each thing that is no fish.
        arrangement: fish lie apart where they find room, or in a pile.
        framed: share of pictures whose fish fit into the frame.
        level: share of pictures with fish along the frame.
        one_kind: share of pictures with fish of one species.
        hands_on: share of pictures with hands that hold the fish.
        hard_light: share of pictures with a hard shadow.
        blurred: share of pictures whose ground is out of focus.
        hazy: share of pictures with haze or water between.
        turned: share of pictures turned at random, with black corners.
        fine: share of pictures without noise, blur and coarse compression.
        touching: share of the fish, but for the first, that touch another one or lie over it.
    """

    surfaces: dict[str, float]
    fish: dict[int, float]
    length: tuple[float, float]
    things: dict[str, float]
    arrangement: Literal["scattered", "pile"] = "scattered"
    framed: float = 0.75
    level: float = 0.5
    one_kind: float = 0.5
    hands_on: float = 0.03
    hard_light: float = 0.45
    blurred: float = 0.03
    hazy: float = 0.0
    turned: float = 0.05
    fine: float = 0.25
    touching: float = 0.0


class Shoal(_Model):
    """What makes of a place of `anywhere` one of the scene `shoal`: many fish that touch.

    Args:
        places: which.
        the others: as `Place` has them, in the place of its own.
    """

    places: tuple[str, ...]
    fish: dict[int, float]
    length: tuple[float, float]
    arrangement: Literal["scattered", "pile"]
    framed: float
    one_kind: float
    touching: float

    def of(self, place: Place) -> Place:
        """A place with a shoal in it."""
        changes = {name: getattr(self, name) for name in type(self).model_fields}
        del changes["places"]
        return place.model_copy(update=changes)


class Scenes(_Model):
    """All surfaces and places; a place knows the surfaces it names."""

    surfaces: dict[str, Surface]
    places: dict[str, Place]
    shoal: Shoal

    @property
    def shoals(self) -> dict[str, Place]:
        """The places of the scene `shoal`."""
        return {name: self.shoal.of(self.places[name]) for name in self.shoal.places}

    @model_validator(mode="after")
    def _names_are_known(self) -> Scenes:
        for name, place in self.places.items():
            if unknown := place.surfaces.keys() - self.surfaces.keys():
                raise ValueError(f"place {name} has unknown surfaces: {', '.join(sorted(unknown))}")
        if unknown := set(self.shoal.places) - self.places.keys():
            raise ValueError(f"shoal has unknown places: {', '.join(sorted(unknown))}")
        return self


SCENES = Scenes.model_validate(YAML(typ="safe").load(Path(__file__).with_name("scenes.yaml")))
"""Surfaces and places by name."""

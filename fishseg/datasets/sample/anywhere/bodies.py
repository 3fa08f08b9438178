"""Fish of no species in particular: any shape in any coat, each individual its own.

Fish differ more than any list of species says, so every number of a shape is drawn around that of
one that exists, two shapes may be blended, and colours and markings are drawn apart from shapes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from fishseg.datasets.sample.species import (
    SPECIES,
    Bar,
    Body,
    Coat,
    Colour,
    Fish,
    MedianFin,
    PairedFin,
    Patch,
    Shrimp,
    Species,
    Spots,
    Stripe,
)


class _Stock(BaseModel):
    """What ``bodies.yaml`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bodies: dict[str, Body]
    coats: dict[str, Coat]
    everyday: tuple[str, ...]
    everyday_share: float
    inks: tuple[Colour, ...]


STOCK = _Stock.model_validate(YAML(typ="safe").load(Path(__file__).with_name("bodies.yaml")))
"""Shapes and coats beside those of the nine species."""

VIEWS = ("side", "above", "below")

_SHRIMP = next(species for species in SPECIES if isinstance(species, Shrimp))
_BODIES: tuple[Body, ...] = (
    *STOCK.bodies.values(),
    *(species for species in SPECIES if isinstance(species, Fish)),
)
_COATS: tuple[Coat, ...] = (
    *STOCK.coats.values(),
    *(species for species in SPECIES if isinstance(species, Fish)),
)


def draw_species(rng: np.random.Generator, *, shrimp_share: float = 0.05) -> Species:
    """A fish that nobody has seen before, or now and then a shrimp."""
    if rng.random() < shrimp_share:
        colours = {
            name: _tinted(getattr(_SHRIMP, name), rng) for name in ("carapace", "back", "leg")
        }
        return _SHRIMP.model_copy(update=colours)
    body = _draw_body(rng)
    fields: dict[str, Any] = {"seen_from": rng.choice(VIEWS, p=[0.88, 0.07, 0.05])}
    if fields["seen_from"] != "side":
        body = _turned_over(body)
    fields |= {**_fields(body, Body), **_fields(_draw_coat(rng), Coat)}
    return Fish(name="Fish", length_share=(0, 1), bend=0.4, **fields)


def _fields(model: Body | Coat, kind: type[BaseModel]) -> dict[str, Any]:
    return {name: getattr(model, name) for name in kind.model_fields}


def _draw_body(rng: np.random.Generator) -> Body:
    """A shape that exists with its proportions changed, a third of the time halfway to another."""
    body, other = (_BODIES[int(index)] for index in rng.integers(len(_BODIES), size=2))
    share = rng.uniform(0.1, 0.5) if rng.random() < 0.3 else 0.0
    depth = np.exp(rng.normal(0, 0.14)) * np.exp(rng.normal(0, 0.04, (2, 6)))
    outlines = np.array([body.dorsal, body.ventral])
    outlines = depth * ((1 - share) * outlines + share * np.array([other.dorsal, other.ventral]))
    fin_height = np.exp(rng.normal(0, 0.25))
    tail = body.tail.model_copy(
        update={
            "span": body.tail.span * np.exp(rng.normal(0, 0.15)),
            "fork": float(np.clip(body.tail.fork + rng.normal(0, 0.1), 0, 0.85)),
        }
    )
    s, t, radius = body.eye
    return body.model_copy(
        update={
            "dorsal": tuple(outlines[0].tolist()),
            "ventral": tuple(outlines[1].tolist()),
            "tail": tail,
            "dorsal_fins": tuple(_moved(fin, fin_height, rng) for fin in body.dorsal_fins),
            "anal_fins": tuple(_moved(fin, fin_height, rng) for fin in body.anal_fins),
            "pectoral_fin": _stretched(body.pectoral_fin, rng),
            "pelvic_fin": _stretched(body.pelvic_fin, rng),
            "eye": (s, t, radius * np.exp(rng.normal(0, 0.2))),
            "scale": body.scale * np.exp(rng.normal(0, 0.2)) if rng.random() < 0.8 else 0.0,
        }
    )


def _moved(fin: MedianFin, height: float, rng: np.random.Generator) -> MedianFin:
    start = fin.start + float(rng.normal(0, 0.015))
    return fin.model_copy(
        update={
            "start": start,
            "end": max(start + 0.02, fin.end + float(rng.normal(0, 0.012))),
            "height": fin.height * height * np.exp(rng.normal(0, 0.15)),
        }
    )


def _stretched(fin: PairedFin | None, rng: np.random.Generator) -> PairedFin | None:
    if fin is None or rng.random() < 0.12:
        return None
    longer, wider = np.exp(rng.normal(0, 0.2, 2))
    return fin.model_copy(update={"length": fin.length * longer, "width": fin.width * wider})


def _turned_over(body: Body) -> Body:
    """Seen along its own height: both sides alike, no fin in the middle shows."""
    width = 0.75 * (np.array(body.dorsal) + np.array(body.ventral)) / 2
    width = tuple(np.minimum(width, 0.12).tolist())
    s, _, radius = body.eye
    pectoral = body.pectoral_fin and body.pectoral_fin.model_copy(
        update={"height": 0.9, "angle_degrees": 40.0}
    )
    tail = body.tail.model_copy(update={"span": 0.3 * body.tail.span, "fork": 0.0})
    eye = (s, -0.75 * float(np.interp(s, (0.03, 0.09, 0.2), width[:3])), radius)
    return body.model_copy(
        update={
            "dorsal": width,
            "ventral": width,
            "dorsal_fins": (),
            "anal_fins": (),
            "pectoral_fin": pectoral,
            "tail": tail,
            "eye": eye,
        }
    )


# Coats


def _draw_coat(rng: np.random.Generator) -> Coat:
    """Colours of a coat in another tint, with markings of its own or none."""
    coat = _COATS[rng.integers(len(_COATS))]
    if rng.random() < STOCK.everyday_share:
        coat = STOCK.coats[STOCK.everyday[rng.integers(len(STOCK.everyday))]]
    tint = np.exp(rng.normal(0, 0.1, 3) + rng.normal(0, 0.16))
    changes: dict[str, Any] = {
        name: _tinted(getattr(coat, name), rng, tint)
        for name in ("back", "flank", "belly", "fin", "iris")
    }
    edge, softness = coat.back_edge
    changes["back_edge"] = (
        edge + float(rng.normal(0, 0.2)),
        softness * float(rng.uniform(0.4, 1.5)),
    )
    changes["mottle"] = (coat.mottle[0], min(1.0, coat.mottle[1] * float(rng.uniform(0.3, 2.0))))
    lightest = float(rng.uniform(0.15, 0.95))
    changes["fin_opacity"] = (lightest, min(1.0, lightest + 0.2))
    if rng.random() < 0.25:
        changes["tail_edge"] = (_ink(rng), float(rng.uniform(0.4, 0.95)))
    if rng.random() < 0.3:
        changes["spots"] = _draw_spots(rng)
    if rng.random() < 0.25:
        changes["stripes"] = _draw_stripes(rng)
    if rng.random() < 0.2:
        changes["bars"] = _draw_bars(rng)
    if rng.random() < 0.3:
        changes["patches"] = tuple(_draw_patch(rng) for _ in range(rng.integers(1, 4)))
    return coat.model_copy(update=changes)


def _tinted(
    colour: Colour, rng: np.random.Generator, tint: np.ndarray[Any, Any] | float = 1.0
) -> Colour:
    red, green, blue = np.clip(np.array(colour) * tint * np.exp(rng.normal(0, 0.06, 3)), 4, 250)
    return int(red), int(green), int(blue)


def _ink(rng: np.random.Generator) -> Colour:
    return _tinted(STOCK.inks[rng.integers(len(STOCK.inks))], rng)


def _draw_spots(rng: np.random.Generator) -> Spots:
    size = float(np.exp(rng.uniform(np.log(0.0025), np.log(0.02))))
    most = min(900, 0.06 / size**2)
    top = float(rng.uniform(-1.0, 0.0))
    return Spots(
        count=int(rng.uniform(0.05, 0.6) * most) + 3,
        size=size,
        colour=_ink(rng),
        band=(top, float(rng.uniform(top + 0.3, 1.0))),
    )


def _draw_stripes(rng: np.random.Generator) -> tuple[Stripe, ...]:
    colour, count = _ink(rng), int(rng.integers(1, 7))
    width = float(rng.uniform(0.03, 0.35 / count + 0.03))
    strength = float(rng.uniform(0.3, 0.95))
    heights = np.linspace(-0.6, 0.5, count) if count > 1 else rng.uniform(-0.4, 0.3, 1)
    return tuple(
        Stripe(height=float(height), width=width, colour=colour, strength=strength)
        for height in heights
    )


def _draw_bars(rng: np.random.Generator) -> tuple[Bar, ...]:
    colour, count = _ink(rng), int(rng.integers(3, 14))
    reach, strength = float(rng.uniform(-0.2, 1.2)), float(rng.uniform(0.3, 0.9))
    return tuple(
        Bar(
            at=float(at),
            width=float(0.6 / count * rng.uniform(0.12, 0.4)),
            reach=reach,
            colour=colour,
            strength=strength,
        )
        for at in np.linspace(0.22, 0.84, count)
    )


def _draw_patch(rng: np.random.Generator) -> Patch:
    return Patch(
        at=float(rng.uniform(0.05, 0.9)),
        height=float(rng.uniform(-0.08, 0.08)),
        half_axes=(float(rng.uniform(0.01, 0.12)), float(rng.uniform(0.01, 0.06))),
        colour=_ink(rng),
        strength=float(rng.uniform(0.3, 0.95)),
    )

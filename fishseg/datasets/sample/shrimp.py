"""Shrimps: the outline of an individual, and its shell.

The mask of a shrimp holds what a person with an outline tool would take: carapace, abdomen, tail
fan, rostrum, legs, swimming legs and the stiff base of the antennae. The whips of the
antennae, about a pixel thick, are seen in the photograph but are not in the mask.
"""

from __future__ import annotations

import cv2
import numpy as np

from fishseg.datasets.sample.anatomy import (
    TEXELS_PER_LENGTH,
    Anatomy,
    Chart,
    Part,
    Skin,
    Trunk,
    bezier,
    ribbon,
)
from fishseg.datasets.sample.fish import profile
from fishseg.datasets.sample.noise import (
    Field,
    linear,
    mix,
    smoothstep,
)
from fishseg.datasets.sample.pose import Points
from fishseg.datasets.sample.species import Shrimp

_STATIONS = (0.02, 0.09, 0.14, 0.25, 0.4, 0.52, 0.68, 0.8, 0.88)
_DORSAL = (0.008, 0.018, 0.038, 0.063, 0.068, 0.066, 0.05, 0.034, 0.022)
_VENTRAL = (0.003, 0.004, 0.029, 0.053, 0.062, 0.058, 0.044, 0.03, 0.02)
_CARAPACE_END = 0.41
_ABDOMEN_END = 0.87
_SEGMENTS = 6
_NO_RAYS = np.zeros((0, 2, 2))


def grow_shrimp(rng: np.random.Generator) -> Anatomy:
    """An individual: its own girth, with its legs folded forward in some way."""
    trunk = _trunk(rng)
    parts = [*_tail_fan(rng), *_swimming_legs(trunk, rng), *_walking_legs(trunk, rng)]
    parts += _antennal_scales(rng)
    antennae = [_antenna(rng) for _ in range(2)]
    parts += [Part(outline=ribbon(path[:8], 0.011, taper=0.6), rays=_NO_RAYS) for path in antennae]
    return Anatomy(trunk=trunk, parts=tuple(parts), threads=tuple(antennae))


def paint_shrimp(shrimp: Shrimp, anatomy: Anatomy, chart: Chart, rng: np.random.Generator) -> Skin:
    """The shell of an individual: segments, a darker back, speckles, and its legs."""
    s, t = chart.grid()
    dorsal, ventral = (
        np.maximum(np.interp(s[0], anatomy.trunk.s, edge), 0.003).astype(np.float32)
        for edge in (anatomy.trunk.dorsal, anatomy.trunk.ventral)
    )
    u = np.clip(np.where(t < 0, t / dorsal, t / ventral), -1.2, 1.2)
    half_depth = np.broadcast_to((dorsal + ventral) / 2, s.shape)
    tint = rng.normal(1, 0.06, 3) * rng.uniform(0.8, 1.1)
    carapace, back, leg = (linear(c) * tint for c in (shrimp.carapace, shrimp.back, shrimp.leg))
    bands, steps = _segment_bands(s, u, rng)
    albedo = mix(carapace, back, smoothstep(0.25 * chart.clouds(rng, 80) - u, 0.2, 1.3))
    albedo = _weathered(albedo, s, bands, chart, rng)
    # The eye, on a stalk beside the rostrum.
    distance = np.hypot(s - 0.135, t - 0.012) / 0.013
    albedo = albedo * (1 - 0.94 * smoothstep(distance, 1.15, 0.85))[..., None]
    albedo = mix(albedo, leg * 0.8, 0.6 * smoothstep(s, 0.8, 0.95))
    relief = 0.9 * half_depth * np.sqrt(np.clip(1 - u**2, 0, 1)) + 0.006 * steps
    relief = relief + 0.0015 * chart.noise(rng, (25, 40))

    trunk = chart.filled(anatomy.trunk.outline())
    tone, thickness = _limbs(anatomy, chart, rng)
    whips = chart.drawn(list(anatomy.threads), width=0.004)
    return Skin(
        albedo=mix(leg * tone[..., None], albedo, trunk),
        relief=np.where(trunk > 0.5, relief, thickness),
        gloss=0.6 + 0.35 * np.clip(chart.clouds(rng, 80), -1.2, 2),
        opacity=np.maximum(np.maximum(trunk, thickness > 0), 0.8 * whips),
    )


# Outlines


def _trunk(rng: np.random.Generator) -> Trunk:
    s = np.linspace(0, 1, 300) ** 1.5 * (_ABDOMEN_END + 0.02)
    girth = rng.normal(1, 0.06)
    dorsal, ventral = (
        girth * profile(_STATIONS, _DORSAL, s),
        girth * profile(_STATIONS, _VENTRAL, s),
    )
    segment = (s - _CARAPACE_END) / (_ABDOMEN_END - _CARAPACE_END) * _SEGMENTS
    in_abdomen = (segment > 0) & (segment < _SEGMENTS)
    # The side plates of the abdomen overlap like roof tiles.
    ventral = ventral + np.where(in_abdomen, 0.009 * np.abs(np.sin(np.pi * segment)), 0)
    # The rostrum is a saw.
    teeth = np.where((s > 0.02) & (s < 0.2), 0.004 * (s / 0.022 % 1), 0)
    return Trunk(s=s, dorsal=dorsal + teeth, ventral=ventral)


def _tail_fan(rng: np.random.Generator) -> list[Part]:
    spread = rng.uniform(0.15, 1.0)
    root = np.array([_ABDOMEN_END - 0.01, 0.0])
    leaves = [_leaf(root, 1 - root[0], 0.03, 0.0)]
    for side in (-1, 1):
        for angle in (14, 30):
            turned = side * angle * spread * rng.uniform(0.8, 1.1)
            leaves.append(_leaf(root, (1 - root[0]) * rng.uniform(0.86, 0.97), 0.042, turned))
    return leaves


def _swimming_legs(trunk: Trunk, rng: np.random.Generator) -> list[Part]:
    swing = rng.uniform(20, 150)
    parts = []
    for at in np.linspace(0.46, 0.76, 5):
        root = np.array([at, trunk.edge(np.array([at]), 0.85)[0]])
        length = rng.uniform(0.035, 0.08) * (1.3 - at * 0.6)
        angle = np.deg2rad(swing + rng.normal(0, 18))
        elbow = root + 0.6 * length * np.array([np.cos(angle), np.sin(angle)])
        bent = angle + rng.normal(-0.5, 0.4)
        end = elbow + 0.7 * length * np.array([np.cos(bent), np.sin(bent)])
        parts.append(
            Part(outline=ribbon(bezier(root, elbow, end), 0.016, taper=0.5), rays=_NO_RAYS)
        )
    return parts


def _walking_legs(trunk: Trunk, rng: np.random.Generator) -> list[Part]:
    """Six legs, their knees bent, gathered towards the head or hanging."""
    gathered = rng.beta(2.2, 1.0)
    parts = []
    for at in np.linspace(0.2, 0.39, 6):
        root = np.array([at, trunk.edge(np.array([at]), 0.8)[0]])
        upper, lower = rng.uniform(0.08, 0.15), rng.uniform(0.1, 0.2)
        angle = np.deg2rad(rng.normal(120 + 46 * gathered, 10))
        knee = root + upper * np.array([np.cos(angle), 0.75 * np.sin(angle)])
        bent = angle + np.deg2rad(rng.normal(30 * gathered - 25, 28))
        foot = knee + lower * np.array([np.cos(bent), 0.75 * np.sin(bent)])
        middle = bezier(root, knee + rng.normal(0, 0.012, 2), (knee + foot) / 2, 10)
        path = np.concatenate([middle, bezier(middle[-1], foot, foot, 6)[1:]])
        parts.append(
            Part(outline=ribbon(path, rng.uniform(0.012, 0.021), taper=0.45), rays=_NO_RAYS)
        )
    return parts


def _antennal_scales(rng: np.random.Generator) -> list[Part]:
    root = np.array([0.17, 0.015])
    return [
        _leaf(root, rng.uniform(0.1, 0.15), 0.026, 180 - rng.uniform(-2, 14)),
        _leaf(root, rng.uniform(0.08, 0.12), 0.02, 180 - rng.uniform(8, 26)),
    ]


def _antenna(rng: np.random.Generator) -> Points:
    """A long whip that leaves forward and sweeps back."""
    root = np.array([0.15, 0.02])
    forward = root + np.array([-rng.uniform(0.12, 0.28), rng.normal(0.02, 0.05)])
    if rng.random() < 0.5:
        return bezier(root, (root + forward) / 2 + rng.normal(0, 0.01, 2), forward, 46)
    side = rng.choice([-1, 1])
    turn = forward + np.array([rng.uniform(-0.2, 0.1), side * rng.uniform(0.05, 0.25)])
    end = turn + np.array([rng.uniform(-0.1, 0.6), side * rng.uniform(0.0, 0.15)])
    return np.concatenate(
        [bezier(root, (root + forward) / 2, forward), bezier(forward, turn, end, 30)]
    )


def _leaf(root: Points, length: float, width: float, angle_degrees: float) -> Part:
    u = np.linspace(0, 1, 18)
    half = width / 2 * (0.25 + 0.75 * np.sin(np.pi * np.minimum(u, 0.97) ** 1.3))
    half[-1] = 0
    blade = np.concatenate(
        [np.stack([u * length, -half], axis=1), np.stack([u * length, half], axis=1)[::-1]]
    )
    angle = np.deg2rad(angle_degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    rays = np.stack([blade[[0, 0]], blade[[17, 17]]], axis=1)
    return Part(outline=blade @ turn + root, rays=rays @ turn + root)


# Shell


def _weathered(
    albedo: Field, s: Field, bands: Field, chart: Chart, rng: np.random.Generator
) -> Field:
    """Joints, speckles, a dark gut behind the head, flesh that shines through unevenly."""
    gut = smoothstep(chart.clouds(rng, 80), 0.8, 1.6) * smoothstep(s, 0.45, 0.25)
    albedo = mix(albedo, linear((70, 48, 34)), 0.6 * gut)
    speckles = smoothstep(chart.clouds(rng, 6, octaves=2), 0.9, 2.4)
    joints = np.clip(bands * (0.65 + 0.4 * chart.clouds(rng, 40)), 0, 1)
    albedo = albedo * ((1 - 0.4 * speckles) * (1 - 0.6 * joints))[..., None]
    flesh = chart.clouds(rng, 45)[..., None]
    return np.asarray(albedo * np.exp(np.array([0.1, 0.16, 0.22]) * flesh))


def _segment_bands(s: Field, u: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """Darkness of the joints, 0..1, and the rise of each plate over the next one, 0..1."""
    bowed = s - 0.02 * (1 - u**2)
    segment = (bowed - _CARAPACE_END) / (_ABDOMEN_END - _CARAPACE_END) * _SEGMENTS
    within = (segment > -0.08) & (segment < _SEGMENTS)
    rise = np.where(within, segment % 1, 0.0)
    joint = np.where(within, np.exp(-(((segment - np.round(segment)) / 0.05) ** 2)), 0)
    hind = np.where(within, 0.5 * smoothstep(rise.astype(np.float32), 0.55, 0.95), 0)
    groove = np.exp(-(((s - 0.27 + 0.05 * u) / 0.006) ** 2)) * (np.abs(u) < 0.7)
    darkness = (
        np.maximum(joint * rng.uniform(0.4, 1.0), hind * rng.uniform(0.1, 0.8)) + 0.4 * groove
    )
    return np.clip(darkness, 0, 1).astype(np.float32), rise.astype(np.float32)


def _limbs(anatomy: Anatomy, chart: Chart, rng: np.random.Generator) -> tuple[Field, Field]:
    """Tone of the legs, darker where one ends and the next begins, and their thickness."""
    canvas = np.full(chart.shape, 200, np.uint8)
    inside = np.zeros(chart.shape, np.float32)
    for part in anatomy.parts:
        corners = [np.round(chart.texels(part.outline) * 16).astype(np.int32)]
        cv2.polylines(canvas, corners, True, 70, 5, cv2.LINE_AA, 4)
        cv2.fillPoly(canvas, corners, int(rng.integers(150, 256)), cv2.LINE_AA, 4)
        rays = [np.round(chart.texels(ray) * 16).astype(np.int32) for ray in part.rays]
        cv2.polylines(canvas, rays, False, 90, 2, cv2.LINE_AA, 4)
        inside = np.maximum(inside, chart.filled(part.outline))
    tone = canvas.astype(np.float32) / 220 * (1 + 0.15 * chart.clouds(rng, 20))
    rounded = np.sqrt(np.clip(chart.blur(inside, 3.0) - 0.3, 0.01, 1)) * inside
    return tone, 6.0 / TEXELS_PER_LENGTH * rounded

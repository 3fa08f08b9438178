"""Bony fish: the outline of an individual, and its skin."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from fishseg.datasets.sample.anatomy import (
    Anatomy,
    Chart,
    Part,
    Skin,
    Trunk,
    bezier,
    ribbon,
)
from fishseg.datasets.sample.noise import (
    Field,
    linear,
    mix,
    smoothstep,
)
from fishseg.datasets.sample.pose import Points
from fishseg.datasets.sample.species import STATIONS, Fish, MedianFin, PairedFin, Spots, Tail


def grow_fish(fish: Fish, rng: np.random.Generator) -> Anatomy:
    """An individual: its own depth, its fins spread or folded."""
    trunk = _trunk(fish, rng)
    spread = float(rng.beta(1.2, 1.6))
    parts = [_tail(fish.tail, trunk, rng)]
    parts += [_median_fin(fin, -1, trunk, spread, rng) for fin in fish.dorsal_fins]
    parts += [_median_fin(fin, 1, trunk, spread, rng) for fin in fish.anal_fins]
    for fin, over_body in ((fish.pectoral_fin, True), (fish.pelvic_fin, False)):
        if fin:
            parts.append(_paired_fin(fin, trunk, rng, over_body=over_body))
            if fish.seen_from != "side":
                parts.append(_mirrored(parts[-1]))
    if fish.barbels:
        parts += [_barbel(trunk, rng) for _ in range(2)]
    whiskers = tuple(_whisker(trunk, rng) for _ in range(fish.whiskers))
    return Anatomy(trunk=trunk, parts=tuple(parts), threads=whiskers)


def paint_fish(fish: Fish, anatomy: Anatomy, chart: Chart, rng: np.random.Generator) -> Skin:
    """The skin of an individual: colours, markings, scales, head, fins and wear."""
    body = _Body.on(chart, anatomy.trunk, fish.seen_from)
    albedo = _countershading(fish, body, rng)
    albedo = _markings(fish, body, albedo, rng)
    scales = _scales(fish, body, rng)
    albedo = albedo * (1 - 0.32 * scales)[..., None]
    sheen = np.dstack([chart.noise(rng, (35, 110)) for _ in range(3)])
    albedo = albedo * np.exp(np.float32(rng.uniform(0.02, 0.07)) * sheen)
    albedo = _wear(fish, body, albedo, rng)
    relief = body.thickness() - 0.0011 * scales + _muscles(body, rng)
    gloss = 0.15 + 1.2 * smoothstep(chart.clouds(rng, 90, persistence=0.7), -0.8, 1.8)
    opacity = np.ones(chart.shape, np.float32)
    skin = Skin(albedo=albedo, relief=relief, gloss=gloss, opacity=opacity)
    skin = _with_head(fish, body, skin, rng)
    if fish.seen_from != "below":
        skin = _with_eye(fish, body, skin, rng)
    return _with_fins(fish, anatomy, chart, skin, rng)


def profile(stations: tuple[float, ...], distances: tuple[float, ...], s: Points) -> Points:
    """Distance of an outline from the axis at ``s``, by monotone cubic interpolation.

    Interpolating over the square root of ``s`` makes the snout round instead of pointed. Beyond
    the last station the distance stays what it is there.
    """
    interpolate = PchipInterpolator(np.sqrt([0.0, *stations]), [0.0, *distances])
    return np.asarray(interpolate(np.sqrt(np.minimum(s, stations[-1]))))


# Outlines


def _trunk(fish: Fish, rng: np.random.Generator) -> Trunk:
    # Dense at the snout, where the outline turns fastest.
    s = np.linspace(0, 1, 240) ** 2 * (fish.tail.start + 0.015)
    depth = rng.normal(1, 0.045)
    fullness = 1 + rng.normal(0, 0.07) * np.exp(-(((s - 0.4) / 0.18) ** 2))
    return Trunk(
        s=s,
        dorsal=depth * profile(STATIONS, fish.dorsal, s),
        ventral=depth * fullness * profile(STATIONS, fish.ventral, s),
    )


def _tail(tail: Tail, trunk: Trunk, rng: np.random.Generator) -> Part:
    if tail.rounded:
        return _paddle(tail, trunk, rng)
    root_s = tail.start - 0.02
    fin_length = 1 - tail.start
    half_span = tail.span / 2 * rng.uniform(0.55, 1.05)
    shorter = rng.uniform(0.8, 1.0)
    lobes = rng.permutation([1.0, shorter])
    notch = np.array([1 - tail.fork * fin_length * rng.uniform(0.75, 1.1), 0.0])
    outline, rays = [], []
    for side, reach in zip((-1, 1), lobes, strict=True):
        root = np.array([root_s, trunk.edge(np.array([root_s]), side)[0]])
        tip = np.array([tail.start + fin_length * reach, side * half_span])
        lead = bezier(root, np.array([tail.start + 0.3 * fin_length, root[1] * 1.15]), tip)
        rear = bezier(tip, (tip + notch) / 2 + [0.1 * fin_length, 0], notch, 24)
        # Frayed rays: the tip itself stays, since it is where the animal ends.
        rear[1:-1, 0] -= 0.035 * fin_length * np.abs(rng.standard_normal(22))
        rear[:, 0] = np.minimum(rear[:, 0], tip[0])
        half = np.concatenate([lead, rear])
        outline.append(half if side < 0 else half[::-1])
        rays.append(np.stack([np.linspace([root_s, 0], root, 24), rear[::-1]], axis=1))
    return Part(outline=np.concatenate(outline), rays=np.concatenate(rays))


def _paddle(tail: Tail, trunk: Trunk, rng: np.random.Generator) -> Part:
    """A tail without corners, frayed or not."""
    root_s = tail.start - 0.02
    root = np.array([[root_s, side * trunk.edge(np.array([root_s]), 1)[0]] for side in (-1, 1)])
    turn = np.linspace(-np.pi / 2, np.pi / 2, 48)
    reach = 1 - rng.uniform(0, 0.06) * np.abs(rng.standard_normal(48)) * np.abs(np.sin(turn))
    # A fan: widest well behind its root.
    widest = rng.uniform(0.3, 0.7)
    along = widest + (1 - widest) * np.cos(turn) ** rng.uniform(0.4, 0.8) * reach
    s = tail.start + (1 - tail.start) * along
    t = tail.span / 2 * rng.uniform(0.6, 1.05) * np.sin(turn)
    edge = np.stack([s / s.max(), t], axis=1)
    starts = np.linspace(root[0], root[1], 48)
    return Part(
        outline=np.concatenate([root[:1], edge, root[1:]]),
        rays=np.stack([starts, edge], axis=1),
    )


def _median_fin(
    fin: MedianFin, side: int, trunk: Trunk, spread: float, rng: np.random.Generator
) -> Part:
    """A fin on the back (``side`` -1) or under the belly (1)."""
    u = np.linspace(0, 1, 12 * max(fin.spines, 3))
    s = fin.start + (fin.end - fin.start) * u
    rise = np.where(
        u < fin.peak, (u / fin.peak) ** 0.7, (1 - (u - fin.peak) / (1 - fin.peak)) ** 0.8
    )
    raised = np.clip(spread + rng.normal(0, 0.15), 0.12, 1.0)
    height = fin.height * raised * rise
    if fin.spines:
        height *= 1 - 0.3 * (u * fin.spines % 1)
    edge = trunk.edge(s, side)
    base = np.stack([s, edge * 0.9], axis=1)
    # A folded fin lies back along the body.
    tips = np.stack([s + height * fin.sweep * (1.6 - raised), edge + side * height], axis=1)
    return Part(outline=np.concatenate([base, tips[::-1]]), rays=np.stack([base, tips], axis=1))


def _paired_fin(fin: PairedFin, trunk: Trunk, rng: np.random.Generator, *, over_body: bool) -> Part:
    root = np.array([fin.at, trunk.edge(np.array([fin.at]), fin.height)[0]])
    angle = math.radians(fin.angle_degrees * rng.uniform(0.2, 1.9))
    length = fin.length * rng.uniform(0.8, 1.1)
    u = np.linspace(0, 1, 20)
    half = fin.width / 2 * rng.uniform(0.5, 1.1) * np.sin(np.pi * np.clip(u, 0.06, 1) ** 0.75)
    leaf = np.concatenate(
        [np.stack([u * length, -half], axis=1), np.stack([u * length, half], axis=1)[::-1]]
    )
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    outline = leaf @ turn + root
    rays = np.stack([np.broadcast_to(root, (20, 2)), outline[5:25]], axis=1)
    return Part(outline=outline, rays=rays, over_body=over_body)


def _barbel(trunk: Trunk, rng: np.random.Generator) -> Part:
    root = np.array([0.045, trunk.edge(np.array([0.045]), 0.8)[0]])
    end = root + np.array([rng.uniform(0.03, 0.12), rng.uniform(0.02, 0.06)])
    path = bezier(root, root + np.array([rng.uniform(-0.02, 0.03), 0.04]), end)
    return Part(outline=ribbon(path, 0.008, taper=0.6), rays=np.zeros((0, 2, 2)))


def _whisker(trunk: Trunk, rng: np.random.Generator) -> Points:
    """A long feeler from the mouth, swept back or forward."""
    side = float(rng.choice([-1, 1]))
    root = np.array([0.04, 0.8 * trunk.edge(np.array([0.04]), side)[0]])
    end = root + np.array([rng.uniform(-0.12, 0.25), side * rng.uniform(0.02, 0.14)])
    turn = root + np.array([rng.uniform(-0.05, 0.05), side * rng.uniform(0.02, 0.1)])
    return bezier(root, turn, end)


def _mirrored(part: Part) -> Part:
    """The same part on the other side of the axis."""
    return dataclasses.replace(
        part, outline=part.outline * [1, -1], rays=part.rays * np.array([1, -1])
    )


# Skin


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Body:
    """Per texel ``(H, W)``: ``s``, ``t``, and heights from one outline (-1) to the other (1).

    ``u`` is the height in the picture, ``height`` that on the animal (-1 back .. 1 belly); they
    differ where it is seen from above or below.
    """

    chart: Chart
    s: Field
    t: Field
    u: Field
    height: Field
    half_depth: Field

    @classmethod
    def on(cls, chart: Chart, trunk: Trunk, seen_from: str) -> _Body:
        s, t = chart.grid()
        dorsal, ventral = (
            np.maximum(np.interp(s[0], trunk.s, edge), 0.004).astype(np.float32)
            for edge in (trunk.dorsal, trunk.ventral)
        )
        u = np.clip(np.where(t < 0, t / dorsal, t / ventral), -1.3, 1.3)
        half_depth = np.broadcast_to((dorsal + ventral) / 2, s.shape)
        height = u
        if seen_from != "side":
            height = (1.5 * np.abs(u) - 1) * (1 if seen_from == "above" else -1)
        return cls(chart=chart, s=s, t=t, u=u, height=height, half_depth=half_depth)

    def thickness(self) -> Field:
        """A rounded flank, a little flatter than it is deep."""
        return 0.8 * self.half_depth * np.sqrt(np.clip(1 - self.u**2, 0.0, 1))

    def spot(self, at: float, t: float, half_axes: tuple[float, float]) -> Field:
        """A soft round patch around a point, 0..1."""
        squared = ((self.s - at) / half_axes[0]) ** 2 + ((self.t - t) / half_axes[1]) ** 2
        return np.exp(-(squared.clip(0, 8) ** 2) * 0.7).astype(np.float32)


def _countershading(fish: Fish, body: _Body, rng: np.random.Generator) -> Field:
    height = body.height + 0.09 * body.chart.clouds(rng, 110)
    edge, softness = fish.back_edge
    edge += rng.normal(0, 0.06)
    tint = rng.normal(1, 0.05, 3).astype(np.float32) * np.float32(rng.uniform(0.85, 1.12))
    back, flank, belly = (linear(colour) * tint for colour in (fish.back, fish.flank, fish.belly))
    back = back * np.float32(rng.uniform(0.45, 1.0))
    albedo = mix(back, flank, smoothstep(height, edge - softness / 2, edge + softness / 2))
    albedo = mix(albedo, belly, smoothstep(height, 0.25, 0.9))
    colour, strength = fish.mottle
    patches = smoothstep(body.chart.clouds(rng, 60), 0.0, 1.0) * np.clip(body.height + 0.8, 0, 1)
    return mix(albedo, linear(colour), strength * rng.uniform(0.5, 1.0) * patches)


def _markings(fish: Fish, body: _Body, albedo: Field, rng: np.random.Generator) -> Field:
    wave = 0.05 * body.chart.noise(rng, (200, 90))
    behind_head = smoothstep(body.s, fish.head - 0.06, fish.head + 0.02)
    for stripe in fish.stripes:
        profile_across = np.exp(-(((body.height + wave - stripe.height) / stripe.width) ** 2))
        fade = stripe.strength * rng.uniform(0.5, 1.1)
        albedo = mix(albedo, linear(stripe.colour), fade * profile_across * behind_head)
    for bar in fish.bars:
        across = np.exp(-((((body.s - bar.at) + 0.1 * wave) / bar.width) ** 4))
        shown = across * smoothstep(body.height, bar.reach, bar.reach - 0.5)
        albedo = mix(albedo, linear(bar.colour), bar.strength * rng.uniform(0.6, 1.0) * shown)
    for patch in fish.patches:
        spot = body.spot(patch.at, patch.height, patch.half_axes)
        albedo = mix(albedo, linear(patch.colour), patch.strength * rng.uniform(0.5, 1.0) * spot)
    if fish.spots:
        dots = _spots(fish.spots, body, rng)
        albedo = mix(albedo, linear(fish.spots.colour), 0.85 * dots)
    return albedo


def _spots(spots: Spots, body: _Body, rng: np.random.Generator) -> Field:
    """Round dots, 0..1."""
    count = round(spots.count * rng.uniform(0.6, 1.3))
    s = rng.uniform(0.04, 0.97, count)
    low, high = spots.band
    height = low + (high - low) * rng.beta(0.9, 1.3, count)
    half_depth = np.interp(s, body.s[0], body.half_depth[0])
    centres = body.chart.texels(np.stack([s, height * half_depth], axis=1))
    radii = spots.size * body.chart.texels_per_length * rng.uniform(0.5, 1.25, count)
    canvas = np.zeros(body.chart.shape, np.uint8)
    for (x, y), radius in zip((centres * 16).round().astype(int), radii, strict=True):
        cv2.circle(canvas, (int(x), int(y)), max(round(radius * 16), 8), 255, -1, cv2.LINE_AA, 4)
    return body.chart.blur(canvas.astype(np.float32) / 255, 0.8)


def _scales(fish: Fish, body: _Body, rng: np.random.Generator) -> Field:
    """Darkness 0..1 of the rims between scales, which run in rows along the body."""
    if not fish.scale:
        return 0.25 * smoothstep(body.chart.noise(rng, (3, 5)), 0, 2)
    drift = 0.25 * body.chart.noise(rng, (70, 70))
    along = body.s / fish.scale + drift
    across = body.t / fish.scale * 1.15 + drift + 0.4 * np.sin(4 * body.s)
    rims = 1 - np.abs(np.sin(np.pi * (along + across)) * np.sin(np.pi * (along - across)))
    rows = 0.5 + 0.5 * np.cos(2 * np.pi * across)
    patchy = 0.6 + 0.4 * body.chart.noise(rng, (90, 140))
    trunk = smoothstep(body.s, fish.head, fish.head + 0.03)
    return np.asarray(np.clip((0.55 * rims**3 + 0.45 * rows**2) * patchy, 0, 1) * trunk)


def _wear(fish: Fish, body: _Body, albedo: Field, rng: np.random.Generator) -> Field:
    """Lost scales, bruises, blood at the gills, and the lateral line."""
    bare = smoothstep(body.chart.clouds(rng, 50), rng.uniform(1.2, 2.6), 2.9)
    albedo = mix(albedo, linear((224, 190, 170)), 0.6 * bare)
    if rng.random() < 0.45:
        blood = body.spot(fish.head, rng.uniform(-0.3, 1.0) * 0.08, (0.03, 0.05))
        blood *= smoothstep(body.chart.clouds(rng, 25), -0.3, 1.2)
        albedo = mix(albedo, linear((150, 40, 30)), 0.8 * blood)
    arch = -0.32 * np.exp(-(((body.s - 0.3) / 0.25) ** 2))
    line = np.exp(-(((body.u - arch) / 0.035) ** 2)) * smoothstep(
        body.s, fish.head, fish.head + 0.04
    )
    if fish.scutes:
        teeth = 0.5 + 0.5 * np.sin(2 * np.pi * body.s / 0.011)
        scutes = np.exp(-(((body.u - arch) / (0.07 + 0.25 * smoothstep(body.s, 0.45, 0.8))) ** 2))
        albedo = mix(albedo, linear((228, 214, 170)), 0.6 * scutes * teeth)
        line = scutes * (1 - teeth)
    return np.asarray(albedo * (1 - 0.35 * line)[..., None])


def _muscles(body: _Body, rng: np.random.Generator) -> Field:
    """Dents and folds of the flank."""
    return 0.0035 * body.chart.noise(rng, (60, 110)) + 0.0006 * body.chart.clouds(rng, 12)


def _with_head(fish: Fish, body: _Body, skin: Skin, rng: np.random.Generator) -> Skin:
    """Cheeks, gill covers and the gape."""
    shape = body.chart.shape
    ragged = np.clip(0.6 + 0.45 * body.chart.clouds(rng, 40), 0, 1)
    blotches = body.chart.clouds(rng, 45, persistence=0.7)
    cheek = smoothstep(body.s, fish.head + 0.01, fish.head - 0.03)
    cheek = cheek * smoothstep(np.abs(body.u), 1.0, 0.6)
    albedo = skin.albedo * np.exp(rng.uniform(0.1, 0.3) * cheek * blotches)[..., None]
    relief = skin.relief + 0.0012 * cheek * blotches

    dark = np.zeros(shape, np.float32)
    within = smoothstep(np.abs(body.u), 0.95, 0.7)
    for share, strength in ((1.0, 0.8), (0.72, 0.45)):
        rim = fish.head * share * (1 - 0.32 * np.clip(body.u - 0.05, -1, 1) ** 2)
        behind = body.s - rim
        groove = strength * ragged * within * np.exp(-((behind / 0.0055) ** 2))
        dark = np.maximum(dark, groove)
        relief = relief - 0.006 * share * within * smoothstep(behind, -0.006, 0.008)
    lift = rng.uniform(-0.006, 0.006)
    corner = (fish.mouth, 0.03 + lift)
    lips = np.array([(-0.01, 0.012 + lift), (fish.mouth * 0.6, 0.022 + lift), corner])
    gape = body.chart.drawn([lips], width=rng.uniform(0.003, 0.009))
    dark = np.maximum(dark, 0.85 * body.chart.blur(gape, 1.2))
    return dataclasses.replace(skin, albedo=albedo * (1 - dark)[..., None], relief=relief)


def _with_eye(fish: Fish, body: _Body, skin: Skin, rng: np.random.Generator) -> Skin:
    """A ring of the iris around a pupil that is dark, or cloudy on a fish no longer fresh."""
    s, t, radius = fish.eye
    across = body.t if fish.seen_from == "side" else -np.abs(body.t)
    distance = np.hypot(body.s - s, (across - t) * rng.uniform(1.0, 1.12)) / radius
    edge = 1.2 / (radius * body.chart.texels_per_length)
    socket = 0.55 * np.exp(-(((distance - 1.05) / 0.16) ** 2))
    iris = linear(fish.iris) * np.clip(1.15 - 0.5 * distance, 0.2, 1)[..., None]
    albedo = skin.albedo * (1 - socket)[..., None]
    albedo = mix(albedo, iris * rng.uniform(0.5, 0.95), smoothstep(distance, 1 + edge, 1 - edge))
    pupil_size = rng.uniform(0.42, 0.58)
    pupil = smoothstep(distance, pupil_size + edge, pupil_size - edge)
    cloudy = rng.random() < 0.2
    albedo = mix(albedo, linear((120, 120, 125) if cloudy else (12, 12, 16)), pupil)
    bulge = 0.5 * radius * np.sqrt(np.clip(1 - distance**2, 0, 1))
    gloss = np.where(distance < 1, 1.4, skin.gloss)
    return dataclasses.replace(skin, albedo=albedo, relief=skin.relief + bulge, gloss=gloss)


def _with_fins(
    fish: Fish, anatomy: Anatomy, chart: Chart, skin: Skin, rng: np.random.Generator
) -> Skin:
    """Fins behind the trunk, then the trunk, then the fins that lie on it."""
    tone = (1 + 0.25 * chart.clouds(rng, 30)).clip(0.4, 1.6)
    fin_albedo = linear(fish.fin) * rng.uniform(0.75, 1.2) * tone[..., None]
    if fish.tail_edge:
        colour, strength = fish.tail_edge
        end = smoothstep(chart.grid()[0], 1 - 0.6 * (1 - fish.tail.start), 1.0)
        fin_albedo = mix(fin_albedo, linear(colour), strength * end)
    # Scales thin out over the root of the tail.
    s, t = chart.grid()
    rows = smoothstep(s + 0.4 * np.abs(t), fish.tail.start + 0.012, fish.tail.start - 0.02)
    root = smoothstep(s, fish.tail.start + 0.015, fish.tail.start)
    trunk = chart.filled(anatomy.trunk.outline()) * (0.3 * root + 0.7 * rows)

    behind = [part for part in anatomy.parts if not part.over_body]
    rays = chart.drawn([ray for part in behind for ray in part.rays], width=0.0022)
    # Fin colour covers the whole chart, so that no outline mixes with something else.
    albedo = fin_albedo * (1 - 0.4 * rays)[..., None]
    # Flesh shows through a fin near its root.
    albedo = mix(albedo, skin.albedo, np.maximum(0.6 * chart.blur(trunk, 12.0), trunk))
    relief = 0.004 + np.maximum(skin.relief - 0.004, 0) * trunk
    gloss = skin.gloss * (0.5 + 0.5 * trunk)
    opacity = np.maximum(np.maximum(rays, trunk), rng.uniform(*fish.fin_opacity))
    for part in anatomy.parts:
        if part.over_body:
            leaf = chart.filled(part.outline)
            shadow = np.clip(chart.blur(leaf, 5.0) - leaf, 0, 1)
            veins = chart.drawn(list(part.rays), width=0.002)
            albedo = albedo * (1 - 0.55 * shadow)[..., None]
            albedo = mix(albedo, fin_albedo * (1 - 0.35 * veins)[..., None], 0.75 * leaf)
            relief = relief + 0.004 * leaf
    return Skin(albedo=albedo, relief=relief, gloss=gloss, opacity=opacity)

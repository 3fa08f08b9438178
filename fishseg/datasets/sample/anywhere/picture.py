"""One picture of `anywhere`: fish, what they lie on, and what lies about them."""

from __future__ import annotations

import dataclasses
import math
from typing import TypeVar

import cv2
import numpy as np

from fishseg.datasets.sample.anatomy import Anatomy, Chart
from fishseg.datasets.sample.anywhere.bodies import draw_species
from fishseg.datasets.sample.anywhere.camera import expose, jpeg
from fishseg.datasets.sample.anywhere.grounds import Ground, lay_ground
from fishseg.datasets.sample.anywhere.scenes import SCENES, Place
from fishseg.datasets.sample.anywhere.things import Thing, draw_hand_at, draw_thing
from fishseg.datasets.sample.camera import Picture
from fishseg.datasets.sample.fish import grow_fish, paint_fish
from fishseg.datasets.sample.noise import Field, blur, fractal_noise, smooth_noise, smoothstep
from fishseg.datasets.sample.pose import Pose
from fishseg.datasets.sample.shading import Shaded, shade
from fishseg.datasets.sample.shrimp import grow_shrimp, paint_shrimp
from fishseg.datasets.sample.species import Fish, Shrimp

_Name = TypeVar("_Name", str, int)

_SUBPIXELS = 4
_MAX_SKINS = 3  # individuals painted for one picture; further fish are these in other poses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lamp:
    """A lamp or the sun, and the light of the sky or the room.

    Args:
        direction: unit vector towards it (x right, y down, z up).
        by_place: its irradiance, ``(H, W)``.
        colour, room: linear RGB, ``(3,)``.
        softness_px: blur of a shadow's border for each pixel that it is thrown.
    """

    direction: tuple[float, float, float]
    by_place: Field
    colour: Field
    room: Field
    softness: float

    def throw(self, height_px: float) -> tuple[float, float]:
        """Where the shadow of something so high falls, in pixels right and down."""
        x, y, z = self.direction
        return -x / z * height_px, -y / z * height_px


@dataclasses.dataclass(frozen=True, kw_only=True)
class Individual:
    """A grown and painted animal, ready to be laid down."""

    anatomy: Anatomy
    chart: Chart
    shaded: Shaded
    bend: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """How the fish of one picture lie.

    Args:
        axis: their angle to the frame in radians, or None for any.
        framed: each fits into the frame.
        overlap: the share of a fish that may lie over others.
        touching: the share of fish that are moved until they touch another one.
    """

    axis: float | None
    framed: bool
    overlap: float
    touching: float = 0.0


class Scene:
    """A picture while it is built up: light that reaches the camera, and where there is fish.

    Attributes:
        coverage: the share of each pixel that is fish, ``(H, W)``.
        topmost: the number of the fish that one sees there, from 1 in the order of laying.
    """

    def __init__(self, ground: Ground, lamp: Lamp, rng: np.random.Generator) -> None:
        self.lamp = lamp
        self.rng = rng
        self.shape = ground.relief.shape[:2]
        self.side = float(max(self.shape))
        self.gloss = ground.gloss
        self.radiance = _light_ground(ground, lamp, rng)
        self.coverage = np.zeros(self.shape, np.float32)
        self.topmost = np.zeros(self.shape, np.uint8)
        self._shown = np.zeros(self.shape, np.float32)  # the share of the topmost fish alone
        self._n_fish = 0

    def add_thing(self, thing: Thing) -> None:
        """Lay a thing over everything so far."""
        self._darken(thing.cover, thing.height_px)
        lit = self.lamp.by_place[..., None] * self.lamp.colour * thing.facing[..., None]
        light = thing.albedo * (lit + self.lamp.room)
        shine = thing.gloss * np.maximum(thing.facing - 1.0, 0) * 3
        light = light + (shine * self.lamp.by_place)[..., None] * self.lamp.colour
        self.radiance += thing.cover[..., None] * (light - self.radiance)
        self.coverage *= 1 - thing.cover
        self._shown *= 1 - thing.cover

    def add_fish(self, fish: Individual, pose: Pose) -> None:
        """Lay an animal over everything so far."""
        cover = coverage_of(fish.anatomy, pose, self.shape)
        if not cover.any():
            return
        thick = 0.35 * fish.anatomy.trunk.depth * pose.length_px
        rows, columns = (np.flatnonzero(cover.any(axis=axis)) for axis in (1, 0))
        place = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        layers = _bent(fish, pose, place)
        alpha = cover[place] * layers[..., 6]
        lamp = self.lamp.by_place[place][..., None]
        light = layers[..., :3] * lamp * self.lamp.colour + layers[..., 3:6] * self.lamp.room
        shadow = np.zeros(self.shape, np.float32)
        shadow[place] = alpha
        self._darken(shadow, thick)
        self._mirror(light * alpha[..., None], place, thick)
        part = self.radiance[place]
        part += alpha[..., None] * (light - part)
        self._whiskers(fish, pose)
        self.coverage = np.maximum(self.coverage, cover)
        self._n_fish += 1
        self._shown *= 1 - cover
        self.topmost[cover > self._shown] = self._n_fish
        self._shown = np.maximum(self._shown, cover)

    def _darken(self, cover: Field, height_px: float) -> None:
        """Throw the shadow of what is about to be laid down."""
        if height_px <= 0:
            return
        dx, dy = self.lamp.throw(height_px)
        dx, dy = (float(np.clip(d, -0.2 * self.side, 0.2 * self.side)) for d in (dx, dy))
        thrown = math.hypot(dx, dy)
        dark = np.zeros_like(cover)
        for part in (0.4, 1.0):
            move = np.array([[1, 0, dx * part], [0, 1, dy * part]])
            dark = np.maximum(dark, cv2.warpAffine(cover, move, self.shape[::-1]))
        dark = _wide_blur(dark, 0.6 + self.lamp.softness * thrown)
        contact = _wide_blur(cover, 1 + 0.3 * height_px)
        lamp = float(self.lamp.by_place.mean()) * self.lamp.colour
        share = lamp / (lamp + self.lamp.room)
        shade = (1 - share * 0.95 * dark[..., None]) * (1 - 0.4 * contact)[..., None]
        self.radiance *= shade.astype(np.float32)

    def _mirror(self, light: Field, place: tuple[slice, slice], height_px: float) -> None:
        """What a glossy ground mirrors of an animal: it moved and blurred."""
        strength = np.float32(min(self.gloss, 1.2) * self.rng.uniform(0, 0.3))
        if strength < 0.02:
            return
        moved = np.zeros_like(self.radiance)
        moved[place] = light
        angle = self.rng.uniform(0, 2 * math.pi)
        dx, dy = 0.7 * height_px * math.cos(angle), 0.7 * height_px * math.sin(angle)
        move = np.array([[1, 0, dx], [0, 1, dy]])
        moved = cv2.warpAffine(moved, move, self.shape[::-1])
        self.radiance += strength * _wide_blur(
            moved, 1 + float(self.rng.uniform(0, 0.4)) * height_px
        )

    def _whiskers(self, fish: Individual, pose: Pose) -> None:
        """Feelers and antennae: seen, but too thin for the mask."""
        if fish.anatomy.threads:
            canvas = np.zeros(self.shape, np.uint8)
            paths = [pose.to_photo(thread) for thread in fish.anatomy.threads]
            corners = [np.round(path * 16).astype(np.int32) for path in paths]
            width = max(1, round(0.006 * pose.length_px))
            cv2.polylines(canvas, corners, False, 255, width, cv2.LINE_AA, 4)
            ink = canvas.astype(np.float32)[..., None] * np.float32(0.75 / 255)
            tone = fish.shaded.by_lamp.mean(axis=(0, 1)) * np.float32(0.4)
            self.radiance += ink * (tone - self.radiance)


def draw_picture(place: Place, rng: np.random.Generator) -> tuple[bytes, Picture]:
    """A picture of a place as a JPEG file, and its fish, ``(H, W)`` uint8.

    Each fish has a number of its own, from 1; 0 is what is no fish.
    """
    shape = frame_shape(rng)
    surface = SCENES.surfaces[_choice(place.surfaces, rng)]
    ground = lay_ground(surface, shape, rng)
    scene = Scene(ground, _light(shape, place, rng), rng)
    above = _lay_things(scene, place)
    if rng.random() < place.blurred:
        scene.radiance = _wide_blur(scene.radiance, float(rng.uniform(2, 12)) * scene.side / 600)
    _lay_fish(scene, place)
    _lay_over(scene, above)
    if rng.random() < place.hazy:
        haze = scene.radiance.mean(axis=(0, 1)) * np.exp(rng.normal(0, 0.3, 3))
        scene.radiance += np.float32(rng.uniform(0.1, 0.6)) * (haze - scene.radiance)
    fine = bool(rng.random() < place.fine)
    picture = expose(scene.radiance, rng, fine=fine)
    fish = np.where(scene.coverage >= 0.5, scene.topmost, 0).astype(np.uint8)
    if rng.random() < place.turned:
        picture, fish = _turned(picture, fish, rng)
    return jpeg(picture, rng, fine=fine), fish


# What is laid down, in what order


def _lay_things(scene: Scene, place: Place) -> list[Thing]:
    """Lay down what is under the fish; give back what lies over them."""
    above = []
    names = [name for name, mean in place.things.items() for _ in range(scene.rng.poisson(mean))]
    scene.rng.shuffle(names)
    # The end of the table and what people stand on come first.
    for name in sorted(names, key=lambda name: name not in ("edge", "tray", "person")):
        thing = draw_thing(name, scene.shape, scene.rng)
        over = name not in ("edge", "tray", "person", "scrap") and scene.rng.random() < 0.12
        if over:
            above.append(thing)
        else:
            scene.add_thing(thing)
    return above


def _lay_fish(scene: Scene, place: Place) -> None:
    """Grow, paint and lay down as many fish as the place has, with or without hands on them."""
    rng = scene.rng
    count = _choice(place.fish, rng)
    shortest, longest = (math.log(share * scene.side) for share in place.length)
    typical = rng.uniform(shortest, longest)
    individuals: list[tuple[Individual, Pose]] = []
    species = draw_species(rng)
    one_kind = rng.random() < place.one_kind
    plan = _Plan(
        axis=float(rng.normal(0, 0.15)) if rng.random() < place.level else None,
        framed=bool(rng.random() < place.framed),
        overlap=0.45 if place.arrangement == "pile" else 0.03,
        touching=place.touching,
    )
    for number in range(count):
        size = math.exp(float(np.clip(typical + rng.normal(0, 0.15), shortest, longest)))
        if number < _MAX_SKINS:
            if number and not one_kind:
                species = draw_species(rng)
            upright = _pose(scene, size, species.bend, plan)
            fish = _grow(species, upright, scene.lamp, rng)
        else:
            fish = individuals[int(rng.integers(_MAX_SKINS))][0]
        if number and plan.touching and rng.random() < plan.touching:
            others = [pose for _, pose in individuals]
            pose = _place_beside(scene, fish, size, plan, others)
        else:
            pose = _place_for(scene, fish, size, plan)
        individuals.append((fish, pose))
        scene.add_fish(fish, pose)
    for fish, pose in individuals:
        if rng.random() < place.hands_on:
            _hold(scene, fish, pose)


def _hold(scene: Scene, fish: Individual, pose: Pose) -> None:
    """One or two hands whose fingers lie on the fish."""
    depth = fish.anatomy.trunk.depth * pose.length_px
    for s in scene.rng.permutation([0.18, 0.35, 0.75])[: int(scene.rng.integers(1, 3))]:
        t = fish.anatomy.trunk.edge(np.array([s]), float(scene.rng.uniform(-0.3, 0.9)))[0]
        target = pose.to_photo(np.array([[s, t]]))[0]
        reach = float(
            np.clip(depth * scene.rng.uniform(0.5, 1.3), 0.08 * scene.side, 0.4 * scene.side)
        )
        _lay_over(scene, [draw_hand_at(target, reach, scene.shape, scene.rng)], most=0.35)


def _lay_over(scene: Scene, things: list[Thing], *, most: float = 0.25) -> None:
    """Lay things over the fish, unless they would hide more than a share of it."""
    for thing in things:
        fish = float(scene.coverage.sum())
        if float((scene.coverage * thing.cover).sum()) <= most * fish:
            scene.add_thing(thing)


def _grow(species: Fish | Shrimp, pose: Pose, lamp: Lamp, rng: np.random.Generator) -> Individual:
    """An individual with a skin fine enough for its length in the picture."""
    texels = int(np.clip(1.15 * pose.length_px, 120, 700))
    if isinstance(species, Fish):
        anatomy = grow_fish(species, rng)
        chart = Chart.of(anatomy, texels)
        skin = paint_fish(species, anatomy, chart, rng)
    else:
        anatomy = grow_shrimp(rng)
        chart = Chart.of(anatomy, texels)
        skin = paint_shrimp(species, anatomy, chart, rng)
    shaded = shade(skin, chart, pose, lamp.direction, rng)
    return Individual(anatomy=anatomy, chart=chart, shaded=shaded, bend=species.bend)


def _place_for(scene: Scene, fish: Individual, length_px: float, plan: _Plan) -> Pose:
    """A pose that shows enough of the animal, and where it hides little of others if it should."""
    best, least = _pose(scene, length_px, fish.bend, plan), math.inf
    for _ in range(6):
        pose = _pose(scene, length_px, fish.bend, plan)
        cover = coverage_of(fish.anatomy, pose, scene.shape, step=4)
        shown = float(cover.mean())
        overlap = float((cover * scene.coverage[::4, ::4]).mean())
        cost = max(0.0, overlap / max(shown, 1e-6) - plan.overlap) + (shown < 0.002) * 10
        if cost < least:
            best, least = pose, cost
        if cost == 0:
            break
    return best


def _place_beside(
    scene: Scene, fish: Individual, length_px: float, plan: _Plan, others: list[Pose]
) -> Pose:
    """A pose in which the animal touches another one, or lies over it, and hides little of any."""
    rng = scene.rng
    numbers = scene.topmost[::4, ::4] * (scene.coverage[::4, ::4] >= 0.5)
    areas = np.bincount(numbers.ravel(), minlength=len(others) + 1)
    best, least = _pose(scene, length_px, fish.bend, plan), math.inf
    for _ in range(10):
        other = others[int(rng.integers(len(others)))]
        pose = _pose(scene, length_px, fish.bend, plan)
        if rng.random() < 0.5:  # side by side, as they are laid out
            turn = float(rng.normal(0, 0.15)) + math.pi * float(rng.integers(2))
            pose = dataclasses.replace(pose, heading=other.heading + turn)
        depth = fish.anatomy.trunk.depth * (pose.length_px + other.length_px) / 2
        along = float(rng.uniform(-0.5, 0.5)) * other.length_px
        aside = float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.15)) * depth
        cos, sin = math.cos(other.heading), math.sin(other.heading)
        x = other.centre[0] + along * cos - aside * sin
        y = other.centre[1] + along * sin + aside * cos
        pose = dataclasses.replace(pose, centre=(x, y))
        cover = coverage_of(fish.anatomy, pose, scene.shape, step=4) >= 0.5
        shown = int(cover.sum())
        within = shown / max(1.0, _area_px(fish, pose) / 16)
        near = cv2.dilate(cover.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        hidden = np.bincount(numbers[cover], minlength=len(areas))
        cost = (
            max(0.0, float(hidden[1:].sum()) / max(1, shown) - plan.overlap)
            + max(0.0, float((hidden[1:] / np.maximum(1, areas[1:])).max()) - plan.overlap)
            + (not numbers[near].any())
            + max(0.0, 0.7 - within)
            + (shown < 0.002 * cover.size) * 10
        )
        if cost < least:
            best, least = pose, cost
        if cost == 0:
            break
    return best


def _area_px(fish: Individual, pose: Pose) -> float:
    """Roughly how many pixels the animal would cover without a frame."""
    outlines = [pose.to_photo(outline).astype(np.float32) for outline in fish.anatomy.outlines()]
    return float(max(cv2.contourArea(outline) for outline in outlines))


def _pose(scene: Scene, length_px: float, bend: float, plan: _Plan) -> Pose:
    """Somewhere in the frame; what is longer than the frame reaches over its borders."""
    rng = scene.rng
    height, width = scene.shape
    if plan.axis is None:
        heading = float(rng.uniform(0, 2 * math.pi))
    else:
        upright = height > width if rng.random() < 0.85 else height <= width
        heading = plan.axis + float(rng.normal(0, 0.08)) + math.pi * float(rng.integers(2))
        heading += math.pi / 2 if upright else 0
    size = np.array([width, height], np.float64)
    along = np.abs([math.cos(heading), math.sin(heading)])
    if plan.framed:
        length_px = min(length_px, 0.97 * float(np.min(size / np.maximum(along, 1e-6))))
        spread = 0.5 * (size - length_px * along)
    else:
        # Long fish are framed by their middle, short ones lie anywhere.
        room = size - 0.75 * length_px * along
        spread = np.where(room > 0, 0.5 * room, 0.12 * np.abs(room) + 0.08 * scene.side)
    middle = size / 2 + rng.uniform(-1, 1, 2) * spread * (0.8 if plan.framed else 1.0)
    curl = 2.2 if rng.random() < 0.12 else 1.0
    return Pose(
        centre=(float(middle[0]), float(middle[1])),
        length_px=length_px,
        heading=heading,
        bend=curl * bend * float(rng.uniform(-1, 1)),
        wave=bend * float(rng.normal(0, 0.15)),
        belly=int(rng.choice([-1, 1])),
    )


# Where an animal lies


def coverage_of(anatomy: Anatomy, pose: Pose, shape: tuple[int, int], *, step: int = 1) -> Field:
    """Share of each pixel that an animal covers, ``(H, W)``; of each ``step``-th pixel only."""
    fine = _SUBPIXELS if step == 1 else 1
    height, width = (math.ceil(size / step) * fine for size in shape)
    canvas = np.zeros((height, width), np.uint8)
    for outline in anatomy.outlines():
        corners = (pose.to_photo(outline) + 0.5) * (fine / step) - 0.5
        corners = np.clip(corners, -16000, 16000)
        cv2.fillPoly(canvas, [np.round(corners * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    size = (width // fine, height // fine)
    averaged = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA) if fine > 1 else canvas
    return averaged.astype(np.float32) / np.float32(255)


def _bent(fish: Individual, pose: Pose, place: tuple[slice, slice]) -> Field:
    """The skin in its pose: light by the lamp and by the room, and opacity, ``(h, w, 7)``."""
    rows, columns = place
    step = 6
    # The inverse of a bend is smooth: every sixth pixel is enough to interpolate it from.
    grid_x = np.arange(columns.start, columns.stop + step, step, dtype=np.float64)
    grid_y = np.arange(rows.start, rows.stop + step, step, dtype=np.float64)
    x, y = np.meshgrid(grid_x, grid_y)
    texels = fish.chart.texels(np.stack(pose.to_body(x, y), axis=-1)).astype(np.float32)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    enlarge = np.array([[step, 0, 0], [0, step, 0]], np.float64)
    fine = cv2.warpAffine(
        texels, enlarge, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    skin = (fish.shaded.by_lamp, fish.shaded.by_room, fish.shaded.opacity[..., None])
    return np.concatenate(
        [
            cv2.remap(
                layer,
                fine[..., 0],
                fine[..., 1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            ).reshape(height, width, -1)
            for layer in skin
        ],
        axis=-1,
    )


# Light


def _light(shape: tuple[int, int], place: Place, rng: np.random.Generator) -> Lamp:
    hard = rng.random() < place.hard_light
    bearing = rng.uniform(0, 2 * math.pi)
    elevation = math.radians(rng.uniform(25, 70) if hard else rng.uniform(45, 85))
    direction = (
        math.cos(bearing) * math.cos(elevation),
        math.sin(bearing) * math.cos(elevation),
        math.sin(elevation),
    )
    side = np.float32(max(shape))
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    x, y = (
        x / side - np.float32(0.5 * shape[1] / side),
        y / side - np.float32(0.5 * shape[0] / side),
    )
    fall = np.float32(rng.uniform(0, 0.9) if rng.random() < 0.6 else 0.0)
    lamp = np.exp(fall * (x * direction[0] + y * direction[1])).astype(np.float32)
    if rng.random() < 0.25:
        spot = np.float32(rng.uniform(0.5, 2.5))
        cx, cy = rng.uniform(-0.3, 0.3, 2).astype(np.float32)
        lamp = lamp / (1 + spot * ((x - cx) ** 2 + (y - cy) ** 2)) ** np.float32(1.5)
    if rng.random() < 0.25:
        edge = fractal_noise(rng, shape, float(side) * rng.uniform(0.2, 0.6), octaves=3)
        level = float(rng.uniform(0.2, 1.2))
        soft = float(rng.uniform(0.02, 0.4))
        shadow = smoothstep(edge, level, level + soft) * np.float32(rng.uniform(0.3, 0.9))
        lamp = lamp * (1 - shadow)
    warmth = rng.normal(0, 0.16)
    room = rng.uniform(0.08, 0.45) if hard else rng.uniform(0.4, 1.5)
    room_warmth = rng.normal(0, 0.1)
    return Lamp(
        direction=direction,
        by_place=lamp,
        colour=np.exp([warmth, 0, -1.3 * warmth]).astype(np.float32),
        room=(room * np.exp([room_warmth, 0, -1.3 * room_warmth])).astype(np.float32),
        softness=float(rng.uniform(0.02, 0.15) if hard else rng.uniform(0.3, 1.2)),
    )


def _light_ground(ground: Ground, lamp: Lamp, rng: np.random.Generator) -> Field:
    """Light that the ground sends to the camera: diffuse, glints, and the lamp's mirror image."""
    shape = ground.relief.shape[:2]
    x, y, z = lamp.direction
    slope_x = cv2.Sobel(ground.relief, cv2.CV_32F, 1, 0, scale=0.125)
    slope_y = cv2.Sobel(ground.relief, cv2.CV_32F, 0, 1, scale=0.125)
    facing = np.clip(-(slope_x * np.float32(x / z) + slope_y * np.float32(y / z)), -0.8, 1.2)
    lit = (lamp.by_place * (1 + 0.8 * facing))[..., None] * lamp.colour + lamp.room
    radiance = ground.albedo * lit
    if ground.gloss > 0.03:
        glare = np.zeros(shape, np.float32)
        spots = int(rng.choice(4, p=[0.35, 0.35, 0.2, 0.1]))
        rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        for _ in range(spots):
            cy, cx = rng.uniform(-0.05, 1.05, 2) * shape
            wide, high = np.exp(rng.uniform(np.log(0.02), np.log(0.35), 2)) * max(shape)
            squared = ((columns - np.float32(cx)) / wide) ** 2 + (
                (rows - np.float32(cy)) / high
            ) ** 2
            glare += np.exp(-squared.astype(np.float32)) * np.float32(rng.uniform(0.2, 2.0))
        rough = smooth_noise(rng, shape, (3, 3)) + 2 * (slope_x + slope_y)
        sparkle = 0.4 + 1.2 * smoothstep(rough, 0.3, 1.8)
        glints = np.clip(facing - 0.15, 0, 1) * np.float32(rng.uniform(0, 1.5))
        shine = np.float32(ground.gloss) * (glare * sparkle + glints) * lamp.by_place
        radiance = radiance + shine[..., None] * lamp.colour
    return np.asarray(radiance, np.float32)


def _wide_blur(field: Field, sigma: float) -> Field:
    """A Gaussian blur; where it is wide, of a smaller field, which looks the same."""
    if sigma < 4:
        return blur(field, sigma)
    shrink = int(min(sigma / 2, 12))
    height, width = field.shape[:2]
    size = (max(2, width // shrink), max(2, height // shrink))
    small = blur(cv2.resize(field, size, interpolation=cv2.INTER_AREA), sigma / shrink)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


# The frame


def frame_shape(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width: landscape, upright or square."""
    ratio = float(rng.choice([1.0, 1.2, 4 / 3, 3 / 2, 16 / 9], p=[0.15, 0.1, 0.4, 0.2, 0.15]))
    area = rng.uniform(0.2, 0.34) * 1e6
    short, long = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
    return (long, short) if rng.random() < 0.38 else (short, long)


def _turned(picture: Picture, fish: Picture, rng: np.random.Generator) -> tuple[Picture, Picture]:
    """Turned about the middle of the frame, with black corners."""
    height, width = fish.shape
    degrees = float(rng.uniform(0, 360))
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    picture = np.asarray(cv2.warpAffine(picture, turn, (width, height)), np.uint8)
    moved = cv2.warpAffine(np.where(fish, np.uint8(255), np.uint8(0)), turn, (width, height))
    numbers = cv2.warpAffine(fish, turn, (width, height), flags=cv2.INTER_NEAREST)
    # The outline lies between the pixels, and so may its last one beside the number's.
    numbers = np.where(numbers, numbers, cv2.dilate(numbers, np.ones((3, 3), np.uint8)))
    return picture, np.where(moved >= 128, numbers, 0).astype(np.uint8)


def _choice(weights: dict[_Name, float], rng: np.random.Generator) -> _Name:
    names = list(weights)
    shares = np.array(list(weights.values()), np.float64)
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]

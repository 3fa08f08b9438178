"""Drawn fish of all kinds in places of all kinds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from fishseg.audit.inventory import build_inventory
from fishseg.datasets.sample.anatomy import Anatomy, Chart
from fishseg.datasets.sample.anywhere import draw_set, photographs
from fishseg.datasets.sample.anywhere.bodies import STOCK, draw_species
from fishseg.datasets.sample.anywhere.grounds import PATTERNS, Ground, lay_ground
from fishseg.datasets.sample.anywhere.picture import (
    Individual,
    Lamp,
    Scene,
    coverage_of,
    draw_picture,
    frame_shape,
)
from fishseg.datasets.sample.anywhere.scenes import SCENES, Scenes
from fishseg.datasets.sample.anywhere.things import THINGS, Thing, draw_thing
from fishseg.datasets.sample.fish import grow_fish, paint_fish
from fishseg.datasets.sample.pose import Pose
from fishseg.datasets.sample.shading import shade
from fishseg.datasets.sample.shrimp import grow_shrimp
from fishseg.datasets.sample.silhouette import Silhouette
from fishseg.datasets.sample.species import Fish

SHAPE = (90, 120)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anywhere")
    draw_set(3, 1, folder)
    return folder


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


# The set


def test_a_set_holds_a_picture_and_a_mask_of_each_place(drawn: Path) -> None:
    table = build_inventory(drawn, max_broken_share=0).table
    assert set(table["class_name"]) == set(SCENES.places)
    assert len(table) == len(SCENES.places)
    for sample in table.itertuples():
        image, mask = pixels(Path(str(sample.image_path))), pixels(Path(str(sample.mask_path)))
        assert image.shape == (*mask.shape, 3)
        assert image.std() > 4
        assert set(np.unique(mask)) <= {0, 255}
        if sample.class_name == "Nothing":
            assert not mask.any()
        else:
            assert 0.0005 < (mask > 0).mean() < 1


def test_a_picture_depends_on_its_seed_place_and_number_alone(drawn: Path) -> None:
    """The set was drawn by several processes, these are drawn by this one, in another order."""
    for place in ("Underwater", "Specimen", "Steel"):
        rng = np.random.default_rng([5, 3, list(SCENES.places).index(place), 0, 1])
        picture, fish = draw_picture(SCENES.places[place], rng)
        assert (drawn / "images" / place / "00001.jpg").read_bytes() == picture
        mask = pixels(drawn / "masks" / place / "00001.png")
        np.testing.assert_array_equal(mask, np.where(fish, 255, 0))


def test_no_two_pictures_are_alike(drawn: Path) -> None:
    files = sorted(drawn.glob("images/*/*.jpg"))
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in files}) == len(files)


def test_frames_are_landscape_upright_and_square() -> None:
    shapes = [frame_shape(np.random.default_rng(seed)) for seed in range(200)]
    landscape = sum(height < width for height, width in shapes)
    upright = sum(height > width for height, width in shapes)
    assert landscape > 60
    assert upright > 40
    assert landscape + upright < 200
    assert all(0.19e6 < height * width < 0.35e6 for height, width in shapes)


# Fish that touch


@pytest.fixture(scope="module")
def shoal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shoal")
    draw_set(3, 1, folder, "shoal")
    return folder


def test_a_shoal_is_several_fish_that_touch_each_with_a_number(shoal: Path) -> None:
    table = build_inventory(shoal, max_broken_share=0, mask_values="numbered").table
    assert set(table["class_name"]) == set(SCENES.shoal.places)
    n_fish, n_parts = 0, 0
    for sample in table.itertuples():
        mask = pixels(Path(str(sample.mask_path)))
        assert mask.max() <= 12
        n_fish += len(np.unique(mask)) - 1
        _, _, statistics, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
        n_parts += int((statistics[1:, cv2.CC_STAT_AREA] > 50).sum())
    assert n_fish > 2 * n_parts


def test_the_fish_on_top_has_the_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two fish laid across one another: the second is whole, and the union is the mask."""
    laid: list[np.ndarray] = []
    add = Scene.add_fish

    def note(scene: Scene, fish: Individual, pose: Pose) -> None:
        laid.append(coverage_of(fish.anatomy, pose, scene.shape))
        add(scene, fish, pose)
        assert (scene.topmost[laid[-1] > 0.5] == len(laid)).all()

    monkeypatch.setattr(Scene, "add_fish", note)
    place = SCENES.shoals["Wood"].model_copy(update={"things": {}, "turned": 0, "hands_on": 0})
    _, fish = draw_picture(place, np.random.default_rng(1))
    union = np.max(laid, axis=0) >= 0.5
    np.testing.assert_array_equal(fish > 0, union)
    assert set(np.unique(fish)) <= set(range(len(laid) + 1))


# Data


def test_places_name_things_and_patterns_that_exist() -> None:
    for place in SCENES.places.values():
        assert place.things.keys() <= THINGS.keys()
        assert place.length[0] < place.length[1]
    assert {surface.pattern for surface in SCENES.surfaces.values()} <= PATTERNS.keys()
    used = {name for place in SCENES.places.values() for name in place.surfaces}
    assert used == SCENES.surfaces.keys()


def test_a_place_on_an_unknown_surface_is_refused() -> None:
    tree = SCENES.model_dump()
    tree["places"]["Wood"]["surfaces"] = {"marble": 1}
    with pytest.raises(ValidationError, match="Wood has unknown surfaces: marble"):
        Scenes.model_validate(tree)


def test_every_photograph_has_its_licence_and_every_licence_its_photograph(drawn: Path) -> None:
    files = {path.stem for path in photographs.FOLDER.glob("*.jpg")}
    assert files == photographs.PHOTOGRAPHS.keys()
    named = (drawn / "license.txt").read_text(encoding="utf-8")
    for name, photograph in photographs.PHOTOGRAPHS.items():
        assert f"{photograph.title}, by {photograph.author} ({photograph.licence})" in named
        assert max(photographs.load(name).shape) <= 560


def test_a_part_of_a_photograph_is_that_part() -> None:
    """A crop of the whole is the photograph, mirrored or not."""
    picture = photographs.load("coffee")
    shape = picture.shape[:2]
    linear = (picture.astype(np.float32) / 255) ** 2.2
    part = photographs.crop("coffee", shape, np.random.default_rng(0), smallest=1.0)
    assert min(abs(part - linear).max(), abs(part[:, ::-1] - linear).max()) < 1e-5


# Fish


def test_no_two_fish_are_of_one_species_and_all_have_a_body() -> None:
    fish = [draw_species(np.random.default_rng(seed), shrimp_share=0) for seed in range(300)]
    assert len({species.dorsal for species in fish if isinstance(species, Fish)}) == 300
    assert {species.seen_from for species in fish if isinstance(species, Fish)} == {
        "side",
        "above",
        "below",
    }
    for species in fish:
        assert isinstance(species, Fish)
        assert min(*species.dorsal, *species.ventral) > 0
        Fish.model_validate(species.model_dump())


@pytest.mark.parametrize("name", STOCK.bodies)
def test_every_shape_ends_with_its_tail(name: str) -> None:
    everyday = STOCK.coats["steel"].model_dump()
    species = Fish(
        name=name, length_share=(0, 1), bend=0, **STOCK.bodies[name].model_dump(), **everyday
    )
    for seed in range(5):
        anatomy = grow_fish(species, np.random.default_rng(seed))
        s = np.concatenate([outline[:, 0] for outline in anatomy.outlines()])
        assert s.max() == pytest.approx(1.0, abs=0.02)
        assert s.min() > -0.1


def test_coverage_agrees_with_the_markets_exact_one() -> None:
    anatomy = grow_shrimp(np.random.default_rng(2))
    pose = Pose(centre=(310.2, 215.7), length_px=330, heading=0.5, bend=0.4, wave=0.1, belly=-1)
    exact = Silhouette.of(anatomy, pose).in_frame().astype(np.float32) / 255
    found = coverage_of(anatomy, pose, exact.shape)
    assert found.sum() == pytest.approx(exact.sum(), rel=0.01)
    assert np.abs(found - exact).mean() < 0.002


def red_fish(length_px: float) -> tuple[Individual, Pose, Lamp]:
    rng = np.random.default_rng(1)
    species = Fish(
        name="red",
        length_share=(0, 1),
        bend=0,
        **STOCK.bodies["carp"].model_dump(),
        **STOCK.coats["red"].model_dump(),
    )
    pose = Pose(centre=(60, 45), length_px=length_px, heading=0.3, bend=0.2, wave=0, belly=1)
    anatomy = grow_fish(species, rng)
    chart = Chart.of(anatomy, 150)
    lamp = Lamp(
        direction=(0.0, 0.0, 1.0),
        by_place=np.ones(SHAPE, np.float32),
        colour=np.ones(3, np.float32),
        room=np.full(3, 0.3, np.float32),
        softness=0.1,
    )
    shaded = shade(paint_fish(species, anatomy, chart, rng), chart, pose, lamp.direction, rng)
    return Individual(anatomy=anatomy, chart=chart, shaded=shaded, bend=0.0), pose, lamp


def green_scene(lamp: Lamp) -> Scene:
    albedo = np.broadcast_to(np.array([0.05, 0.4, 0.05], np.float32), (*SHAPE, 3)).copy()
    ground = Ground(albedo=albedo, relief=np.zeros(SHAPE, np.float32), gloss=0.0)
    return Scene(ground, lamp, np.random.default_rng(0))


def test_the_fish_is_where_its_mask_is() -> None:
    fish, pose, lamp = red_fish(80)
    scene = green_scene(lamp)
    scene.add_fish(fish, pose)
    inside, outside = scene.coverage == 1, scene.coverage == 0
    assert inside.sum() > 500
    redder = scene.radiance[..., 0] - scene.radiance[..., 1]
    assert np.mean(redder[inside] > 0) > 0.95
    assert np.all(redder[outside] < 0)


def test_what_lies_over_a_fish_is_no_fish() -> None:
    fish, pose, lamp = red_fish(80)
    scene = green_scene(lamp)
    scene.add_fish(fish, pose)
    before = scene.coverage.copy()
    cover = np.zeros(SHAPE, np.float32)
    cover[:, :60] = 1
    sheet = Thing(
        albedo=np.full((*SHAPE, 3), 0.5, np.float32),
        cover=cover,
        facing=np.ones(SHAPE, np.float32),
        height_px=0,
    )
    scene.add_thing(sheet)
    assert before[:, :60].sum() > 100
    assert not scene.coverage[:, :60].any()
    np.testing.assert_array_equal(scene.coverage[:, 60:], before[:, 60:])
    np.testing.assert_allclose(scene.radiance[:, :60], 0.5 * 1.3, rtol=1e-5)


# Grounds and things


@pytest.mark.parametrize("name", SCENES.surfaces)
def test_every_surface_can_be_laid(name: str) -> None:
    ground = lay_ground(SCENES.surfaces[name], SHAPE, np.random.default_rng(4))
    assert ground.albedo.shape == (*SHAPE, 3)
    assert ground.relief.shape == SHAPE
    assert ground.albedo.dtype == ground.relief.dtype == np.float32
    assert np.isfinite(ground.relief).all()
    assert ground.albedo.min() > 0
    assert ground.albedo.max() <= 1


@pytest.mark.parametrize("kind", THINGS)
def test_every_thing_can_be_drawn_in_any_frame(kind: str) -> None:
    seen = 0.0
    for seed, shape in enumerate([(90, 120), (160, 90), (100, 100), (120, 90)]):
        thing = draw_thing(kind, shape, np.random.default_rng(seed))
        assert thing.albedo.shape == (*shape, 3)
        for field in (thing.albedo, thing.cover, thing.facing):
            assert np.isfinite(field).all()
        assert thing.cover.min() >= 0
        assert thing.cover.max() <= 1
        seen += float(thing.cover.sum())
    assert seen > 20


def test_threads_are_seen_but_not_in_the_mask() -> None:
    fish, pose, lamp = red_fish(60)
    whisker = np.array([[0.0, 0.0], [-0.2, -0.3]])
    threaded = Individual(
        anatomy=Anatomy(trunk=fish.anatomy.trunk, parts=fish.anatomy.parts, threads=(whisker,)),
        chart=fish.chart,
        shaded=fish.shaded,
        bend=0.0,
    )
    without, with_whisker = green_scene(lamp), green_scene(lamp)
    without.add_fish(fish, pose)
    with_whisker.add_fish(threaded, pose)
    np.testing.assert_array_equal(without.coverage, with_whisker.coverage)
    changed = np.abs(with_whisker.radiance - without.radiance).max(axis=2) > 0.02
    assert 5 < changed.sum() < 200
    x, y = pose.to_photo(whisker[1:])[0]
    assert cv2.dilate(changed.astype(np.uint8), np.ones((5, 5)))[round(y), round(x)]

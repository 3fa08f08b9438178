"""The geometry that the rendered set's exact masks and measures rest on."""

from __future__ import annotations

import numpy as np
import pytest

from fishseg.datasets.sample.anatomy import Anatomy, Part, Trunk, ribbon
from fishseg.datasets.sample.copies import Transform, draw_wrong_transform
from fishseg.datasets.sample.fish import grow_fish
from fishseg.datasets.sample.photo import render_photo
from fishseg.datasets.sample.pose import Pose
from fishseg.datasets.sample.shrimp import grow_shrimp
from fishseg.datasets.sample.silhouette import Silhouette
from fishseg.datasets.sample.species import SPECIES, Fish


def pose(**changes: float | tuple[float, float]) -> Pose:
    values: dict[str, object] = {
        "centre": (300.0, 220.0),
        "length_px": 200.0,
        "heading": 0.0,
        "bend": 0.0,
        "wave": 0.0,
        "belly": 1,
        **changes,
    }
    return Pose(**values)  # type: ignore[arg-type]


def rectangle(half_depth: float) -> Anatomy:
    s = np.linspace(0, 1, 201)
    depth = np.full_like(s, half_depth)
    return Anatomy(trunk=Trunk(s=s, dorsal=depth, ventral=depth), parts=())


def test_straight_pose_puts_snout_left_tail_right_and_belly_below() -> None:
    points = pose().to_photo(np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.1]]))
    np.testing.assert_allclose(points, [[200, 220], [400, 220], [300, 240]], atol=1e-6)


def test_belly_minus_one_mirrors_across_the_axis() -> None:
    points = pose(belly=-1).to_photo(np.array([[0.5, 0.1]]))
    np.testing.assert_allclose(points, [[300, 200]], atol=1e-6)


def test_a_half_turn_bend_is_a_half_circle() -> None:
    ends = pose(bend=np.pi).to_photo(np.array([[0.0, 0.0], [1.0, 0.0]]))
    # An arc of length 200 that turns by pi has the diameter 2 * 200 / pi.
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(400 / np.pi, rel=1e-4)


@pytest.mark.parametrize("heading", [0.0, 2.0])
@pytest.mark.parametrize("belly", [-1, 1])
def test_axis_keeps_its_length_when_bent_and_the_inverse_finds_back(
    heading: float, belly: int
) -> None:
    bent = pose(heading=heading, belly=belly, bend=0.6, wave=0.2)
    axis = np.stack([np.linspace(0, 1, 4001), np.zeros(4001)], axis=1)
    steps = np.linalg.norm(np.diff(bent.to_photo(axis), axis=0), axis=1)
    assert steps.sum() == pytest.approx(200, rel=1e-4)

    s, t = np.meshgrid(np.linspace(-0.1, 1.1, 25), np.linspace(-0.25, 0.25, 11))
    photo = bent.to_photo(np.stack([s.ravel(), t.ravel()], axis=1))
    found_s, found_t = bent.to_body(photo[:, 0], photo[:, 1])
    np.testing.assert_allclose(found_s, s.ravel(), atol=1e-3)
    np.testing.assert_allclose(found_t, t.ravel(), atol=1e-3)


def test_silhouette_of_a_rectangle_covers_its_area_in_and_beyond_the_frame() -> None:
    inside = Silhouette.of(rectangle(0.1), pose())
    assert inside.area_px == pytest.approx(200 * 40, rel=0.01)
    assert inside.whole
    assert inside.in_frame().sum() / 255 == pytest.approx(200 * 40, rel=0.01)
    # Pixel centres are whole numbers: this rectangle's edges run through the middle of pixels.
    rows, columns = np.nonzero(inside.in_frame() > 200)
    assert (rows.min(), rows.max()) == (201, 239)
    assert (columns.min(), columns.max()) == (201, 399)
    assert inside.in_frame()[200, 300] == pytest.approx(128, abs=20)

    beyond = Silhouette.of(rectangle(0.1), pose(centre=(0.0, 220.0)))
    assert beyond.area_px == pytest.approx(200 * 40, rel=0.01)
    assert not beyond.whole
    assert beyond.in_frame().sum() / 255 == pytest.approx(100.5 * 40, rel=0.01)


def test_silhouette_is_the_union_of_overlapping_parts() -> None:
    body = rectangle(0.1)
    corners = np.array([[0.4, 0.0], [0.6, 0.0], [0.6, 0.2], [0.4, 0.2]])
    fin = Part(outline=corners, rays=np.zeros((0, 2, 2)))
    union = Silhouette.of(Anatomy(trunk=body.trunk, parts=(fin, fin)), pose())
    assert union.area_px == pytest.approx(200 * 40 + 40 * 20, rel=0.01)


def test_ribbon_is_as_wide_as_asked() -> None:
    path = np.stack([np.linspace(0, 1, 50), np.zeros(50)], axis=1)
    outline = ribbon(path, 0.2, taper=0.5)
    assert np.ptp(outline[[0, -1], 1]) == pytest.approx(0.2)
    assert np.ptp(outline[[49, 50], 1]) == pytest.approx(0.1)


@pytest.mark.parametrize("species", SPECIES, ids=lambda species: species.name)
def test_an_animal_is_as_long_as_its_axis(species: Fish) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        anatomy = grow_fish(species, rng) if isinstance(species, Fish) else grow_shrimp(rng)
        s = np.concatenate([outline[:, 0] for outline in anatomy.outlines()])
        assert s.max() == pytest.approx(1.0, abs=1e-9)
        assert anatomy.trunk.outline()[:, 0].min() == 0
        if isinstance(species, Fish):
            assert s.min() >= -0.02


def depths(name: str) -> list[float]:
    species = next(species for species in SPECIES if species.name == name)
    assert isinstance(species, Fish)
    return [grow_fish(species, np.random.default_rng(seed)).trunk.depth for seed in range(12)]


def test_individuals_of_one_species_differ() -> None:
    trout = depths("Trout")
    assert len(set(trout)) == 12
    assert np.std(trout) / np.mean(trout) > 0.01


def test_species_differ_in_their_proportions() -> None:
    slender = ("Black Sea Sprat", "Hourse Mackerel", "Sea Bass", "Striped Red Mullet", "Trout")
    for deep in ("Gilt-Head Bream", "Red Sea Bream"):
        assert np.mean(depths(deep)) > 1.25 * max(np.mean(depths(name)) for name in slender)
    assert np.mean(depths("Black Sea Sprat")) < np.mean(depths("Trout"))


def test_photo_shows_the_animal_where_its_coverage_says() -> None:
    """Colour changes across the mask's border, and the animal is no copy of the board."""
    mullet = next(species for species in SPECIES if species.name == "Red Mullet")
    photo = render_photo(mullet, np.random.default_rng(5))
    inside, outside = photo.coverage == 255, photo.coverage == 0
    redness = photo.picture[..., 0].astype(float) - photo.picture[..., 2]
    assert np.median(redness[inside]) > np.median(redness[outside]) + 40


def test_transform_of_a_quarter_turn_is_worked_by_hand() -> None:
    # Ten pixels right of the middle go ten pixels up: counter-clockwise as seen.
    turned = Transform(flipped=False, rotation_degrees=90).matrix() @ [304.5, 222, 1]
    np.testing.assert_allclose(turned, [294.5, 212])
    mirrored = Transform(flipped=True, rotation_degrees=90).matrix() @ [304.5, 222, 1]
    np.testing.assert_allclose(mirrored, [294.5, 232])


def test_wrong_transform_of_a_thin_horizontal_bar_is_not_a_half_turn() -> None:
    coverage = np.zeros((445, 590), np.uint8)
    coverage[200:245, 100:490] = 255
    right = Transform(flipped=False, rotation_degrees=0)
    target = right.copy_mask(coverage) > 0
    for seed in range(20):
        wrong = draw_wrong_transform(right, coverage, np.random.default_rng(seed))
        mask = wrong.copy_mask(coverage) > 0
        assert (mask & target).sum() / (mask | target).sum() < 0.5

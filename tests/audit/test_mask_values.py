"""One rule for all masks of a set: the only meaning they have, the declared one, or a question."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from dvc.utils.hydra import apply_overrides
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML

from benchmarks import fuzz
from fishseg.audit.mask_values import DVC_CHOICE, OPTION_CHOICE, read_values, resolve_rule
from fishseg.errors import DataError, ParameterError
from fishseg.images.mask_rule import parse_rule
from fishseg.images.masks import read_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HEIGHT, WIDTH = 120, 160


def ellipse(x: float, y: float, a: float, b: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    inside: NDArray[np.bool_] = ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 <= 1
    return inside


FISH = ellipse(80, 60, 50, 20)
RING = ellipse(80, 60, 54, 24) & ~FISH
ONE, OTHER = ellipse(40, 60, 30, 13), ellipse(120, 60, 30, 13)


def painted(dtype: Any = np.uint8, background: int = 0, **regions: int) -> NDArray[Any]:
    """An image of a background level and the named regions in theirs."""
    shapes = {"fish": FISH, "ring": RING, "one": ONE, "other": OTHER}
    values = np.full((HEIGHT, WIDTH), background, dtype)
    for name, level in regions.items():
        values[shapes[name]] = level
    return values


def resolve(paths: list[Path], declared: str = "auto", choice: str = OPTION_CHOICE) -> str:
    values = [read_values(path) for path in paths]
    return resolve_rule(values, [path.name for path in paths], declared, choice=choice)


def save(folder: Path, *images: Any, suffix: str = "png", **options: Any) -> list[Path]:
    paths = []
    for number, image in enumerate(images):
        paths.append(folder / f"{number}.{suffix}")
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.save(paths[-1], **options)
    return paths


def soft(scale: int = 8) -> NDArray[np.uint8]:
    """The fish with antialiased edges, 0 to 255."""
    big = np.kron(FISH, np.ones((scale, scale))).astype(np.uint8) * 255
    shifted = np.roll(big, (scale // 2, scale // 3), (0, 1))
    image = Image.fromarray(shifted).resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    return np.array(image)


def voc(values: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(values, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, *[0] * 756, 224, 224, 192])
    return image


# What has one meaning


@pytest.mark.parametrize(
    ("image", "rule"),
    [
        (painted(fish=255), ">127"),
        (painted(fish=1), "not 0"),
        (FISH, ">127"),
        (painted(np.uint16, fish=65535), ">32767"),
        (painted(np.uint16, fish=255), ">127"),
        (painted(np.uint16, fish=1), "not 0"),
        (painted(one=1, other=2), "not 0"),
        (painted(np.uint16, one=1, other=2), "not 0"),
        (voc(painted(fish=1)), "not 0"),
        (voc(painted(one=1, other=2)), "not 0"),
        (np.repeat(painted(fish=255)[:, :, None], 3, axis=2), ">127"),
        (np.repeat(painted(fish=1)[:, :, None], 3, axis=2), "not 0"),
        (np.dstack([painted(fish=255)] * 3 + [painted(background=255)]), ">127"),
        (np.dstack([painted(fish=90, background=30)] * 3 + [painted(fish=255)]), "opaque"),
        (np.dstack([painted(background=0)] * 3 + [painted(fish=255)]), "opaque"),
        (np.dstack([painted(background=255)] * 3 + [soft()]), "opaque"),
        (soft(), ">127"),
        (soft().astype(np.uint16) * 257, ">32767"),
    ],
)
def test_one_meaning(image: Any, rule: str, tmp_path: Path) -> None:
    (path,) = save(tmp_path, image)
    assert resolve([path]) == rule
    found = read_mask(path, (HEIGHT, WIDTH), rule)
    expected = FISH
    if np.asarray(image).max() == 2:
        expected = ONE | OTHER
    differing = int((found != expected).sum())
    # Soft edges were drawn half a pixel aside.
    is_soft = len(np.unique(np.asarray(image))) > 5
    assert differing < 0.1 * FISH.sum() if is_soft else differing == 0


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("again_as", ["jpg", "png"])
def test_noise_of_compression_is_no_meaning(quality: int, again_as: str, tmp_path: Path) -> None:
    """JPEG, and JPEG that a tool saved as PNG; with a picture without fish among them."""
    paths = save(
        tmp_path, painted(fish=255), painted(one=255), painted(), suffix="jpg", quality=quality
    )
    if again_as == "png":
        paths = save(tmp_path, *(Image.open(path) for path in paths))
    assert resolve(paths) == ">127"
    assert not read_mask(paths[2], (HEIGHT, WIDTH), ">127").any()
    assert (read_mask(paths[0], (HEIGHT, WIDTH), ">127") != FISH).mean() < 0.004


def test_a_set_of_both_depths(tmp_path: Path) -> None:
    paths = save(tmp_path, painted(fish=255), painted(np.uint16, fish=65535))
    assert resolve(paths) == ">127"


def test_numbers_are_judged_over_all_masks(tmp_path: Path) -> None:
    # Neither 0 and 2 nor 0 and 3 would mean anything alone.
    with pytest.raises(DataError):
        resolve(save(tmp_path, painted(one=2)))
    assert resolve(save(tmp_path, painted(one=2), painted(one=1, other=3))) == "not 0"
    # One mask of 255 among those of 0 and 1 changes the question for all.
    with pytest.raises(DataError, match="which values"):
        resolve(save(tmp_path, painted(fish=1), painted(fish=255)))


# What has several


@pytest.mark.parametrize(
    ("image", "offered"),
    [
        (painted(fish=1, ring=255), "fish: 1; ignore: 255"),
        (painted(one=1, other=40), "not 0"),
        (painted(one=10, other=255), "not 0"),
        (painted(one=85, other=170), "not 0"),
        (painted(one=80, other=170), "not 0"),
        (painted(np.uint16, one=1, other=1000), "not 0"),
        (painted(np.uint16, one=1001, other=26001), "not 0"),
        (painted(np.int32, one=1, other=50), "not 0"),
        (painted(background=2, fish=1, ring=3), "fish: 1"),
        (painted(background=2, fish=1), "fish: 1"),
        (painted(background=1, fish=2), "fish: 2"),
        (painted(fish=255, ring=128), ">127"),
        (painted(fish=100), "not 0"),
        (painted(fish=254), "not 0"),
        (painted(fish=5), "not 0"),
        (painted(one=1, other=2, ring=255), "not 0; ignore: 255"),
        (voc(painted(fish=1, ring=255)), "fish: 1; ignore: 255"),
        (np.stack([painted(background=255)] + [painted(background=255, fish=0)] * 2, 2), "#ff0000"),
        (np.stack([painted(one=1, other=2), painted(), painted()], axis=2), "fish: #010000"),
        (np.stack([painted(), painted(), painted(fish=30)], axis=2), "fish: #00001e"),
        (np.stack([painted(one=20, other=200)] + [painted(one=20)] * 2, axis=2), "fish: #c80000"),
        (np.dstack([painted(fish=255)] * 3 + [painted(background=255, fish=128)]), "opaque"),
    ],
)
def test_several_meanings_are_asked_about(image: Any, offered: str, tmp_path: Path) -> None:
    suffix = "tif" if getattr(image, "dtype", None) == np.int32 else "png"
    (path,) = save(tmp_path, image, suffix=suffix)
    with pytest.raises(DataError, match="which values of the masks are fish") as caught:
        resolve([path])
    assert path.name in caught.value.what
    assert offered in str(caught.value.remedy)


def test_one_stray_pixel_changes_the_question(tmp_path: Path) -> None:
    stray = painted(fish=1)
    stray[0, 0] = 255
    paths = save(tmp_path, painted(fish=1), painted(fish=1), stray)
    with pytest.raises(DataError, match="which values") as caught:
        resolve(paths)
    assert "255: 1 pixel" in caught.value.what
    assert paths[2].name in caught.value.what


def test_small_numbers_in_jpeg_are_asked_about(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        resolve(save(tmp_path, painted(fish=1), suffix="jpg", quality=95))
    with pytest.raises(DataError):
        resolve(save(tmp_path, painted(one=1, other=2), suffix="jpg", quality=95))


def test_noise_around_black_alone_is_no_fish(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 4, (HEIGHT, WIDTH), dtype=np.uint8)
    with pytest.raises(DataError):
        resolve(save(tmp_path, noise))
    # Among masks of 0 and 255 it is what it is.
    paths = save(tmp_path, painted(fish=255), noise)
    try:
        rule = resolve(paths)
    except DataError:
        return
    assert not read_mask(paths[1], (HEIGHT, WIDTH), rule).any()


def test_values_that_were_not_counted_are_not_said_to_be_absent(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    paths = save(tmp_path, noise, painted(fish=255))
    with pytest.raises(DataError) as caught:
        resolve(paths)
    assert re.search(r"\b0 pixels", caught.value.what) is None
    assert f"more values than a mask has, in {paths[0].name}" in caught.value.what
    assert f"255: {FISH.mean():.1%} of the pixels, in {paths[1].name}" in caught.value.what


def test_photographs_are_no_masks(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    with pytest.raises(DataError, match="these are no masks"):
        resolve(save(tmp_path, noise))
    with pytest.raises(DataError):
        resolve(save(tmp_path, noise[:, :, 0]))


@pytest.mark.parametrize(
    ("image", "turned", "kept"),
    [
        (painted(background=255, fish=0), "<128", ">127"),
        (painted(background=1, fish=0), "fish: 0", "not 0"),
        (~FISH, "<128", ">127"),
        (np.dstack([painted()] * 3 + [painted(background=255, fish=0)]), "transparent", "opaque"),
    ],
)
def test_masks_inside_out_are_asked_about(
    image: Any, turned: str, kept: str, tmp_path: Path
) -> None:
    paths = save(tmp_path, image, image)
    with pytest.raises(DataError, match="inside out") as caught:
        resolve(paths)
    assert turned in str(caught.value.remedy)
    assert kept in str(caught.value.remedy)
    for rule, expected in ((turned, FISH), (kept, ~FISH)):
        assert resolve(paths, rule) == rule
        np.testing.assert_array_equal(read_mask(paths[0], (HEIGHT, WIDTH), rule), expected)


def test_a_fish_that_fills_the_frame_is_not_inside_out(tmp_path: Path) -> None:
    close = ellipse(80, 60, 90, 65).astype(np.uint8) * 255
    assert resolve(save(tmp_path, close, close)) == ">127"


@pytest.mark.parametrize(("declared", "rule"), [("auto", "not 0"), (">127", ">127")])
def test_nothing_but_background_is_a_meaning(declared: str, rule: str, tmp_path: Path) -> None:
    assert resolve(save(tmp_path, painted(), painted()), declared) == rule


def test_a_declared_rule_that_finds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no mask has any fish") as caught:
        resolve(save(tmp_path, painted(fish=1)), "fish: 2")
    assert "not 0" in str(caught.value.remedy)
    with pytest.raises(ParameterError):
        resolve(save(tmp_path, painted(fish=1)), "fish=1")


# What the user is told to type


@pytest.mark.parametrize(
    "image",
    [
        painted(fish=1, ring=255),
        painted(one=1, other=2, ring=255),
        painted(background=255, fish=0),
        np.stack([painted(background=255)] + [painted(background=255, fish=0)] * 2, axis=2),
        np.dstack([painted(fish=255)] * 3 + [painted(background=255, fish=128)]),
    ],
)
def test_every_choice_can_be_typed(image: Any, tmp_path: Path) -> None:
    """In a shell, and for DVC in Hydra's grammar: what arrives is a rule that reads these masks."""
    paths = save(tmp_path, image)
    for choice in (DVC_CHOICE, OPTION_CHOICE):
        with pytest.raises(DataError) as caught:
            resolve(paths, choice=choice)
        lines = [line.strip() for line in str(caught.value.remedy).splitlines() if "mask" in line]
        typed = [shlex.split(line) for line in lines if "values" in line]
        assert typed
        for words in typed:
            declared = words[-1]
            if choice == DVC_CHOICE:
                assert words[:4] == ["dvc", "exp", "run", "-S"]
                parameters = tmp_path / "params.yaml"
                parameters.write_text("data:\n  mask_values: auto\n", encoding="utf-8")
                apply_overrides(parameters, [declared])
                declared = YAML(typ="safe").load(parameters)["data"]["mask_values"]
            rule = resolve(paths, declared)
            assert parse_rule(rule) == parse_rule(declared)
            read_mask(paths[0], (HEIGHT, WIDTH), rule)


# Anything at all


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    values=st.lists(
        st.one_of(st.integers(0, 3), st.integers(0, 255), st.just(255)),
        min_size=1,
        max_size=4,
        unique=True,
    ),
    kind=st.sampled_from(["grey", "colour", "deep"]),
)
def test_areas_of_any_levels_are_read_in_the_one_way_or_asked_about(
    values: list[int], kind: str, tmp_path: Path
) -> None:
    background, *others = values
    names = ["one", "other", "ring"][: len(others)]
    image = painted(background=background, **dict(zip(names, others, strict=True)))
    if kind == "colour":
        image = np.repeat(image[:, :, None], 3, axis=2)
    if kind == "deep":
        image = image.astype(np.uint16)
    paths = save(tmp_path, image)
    one_meaning = set(values) in ({0}, {0, 255}, {255}) or (
        set(values) == set(range(len(values))) and len(values) > 1
    )
    try:
        rule = resolve(paths)
    except DataError as error:
        inverted = "inside out" in error.what
        assert not one_meaning or (inverted and background != 0)
        return
    assert one_meaning
    expected = np.isin(image if image.ndim == 2 else image[:, :, 0], [v for v in values if v])
    np.testing.assert_array_equal(read_mask(paths[0], (HEIGHT, WIDTH), rule), expected)


def test_masks_at_random_are_read_as_drawn_or_asked_about(tmp_path: Path) -> None:
    """The first of those that `python -m benchmarks.fuzz` goes on with."""
    came = set()
    for number in range(80):
        paths, drawn, name = fuzz.mask_set(0, number, tmp_path)
        outcome, complaint = fuzz.check_mask(paths, drawn)
        came.add(outcome)
        assert complaint is None, f"mask {number} ({name})"
    assert came == {"read", "asked"}


def test_masks_that_number_their_fish_are_so_by_word_alone(tmp_path: Path) -> None:
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[ONE], values[OTHER] = 3, 40
    Image.fromarray(values).save(tmp_path / "a.png")
    found = [read_values(tmp_path / "a.png")]
    with pytest.raises(DataError) as refused:
        resolve_rule(found, ["a.png"], "auto", choice=OPTION_CHOICE)
    assert OPTION_CHOICE.format("numbered") in str(refused.value)
    assert resolve_rule(found, ["a.png"], "numbered", choice=OPTION_CHOICE) == "numbered"
    share = found[0].share(parse_rule("numbered"))
    assert share == pytest.approx((ONE | OTHER).mean(), abs=1e-4)
    # Masks of 0 and 255 may be read so, too: one fish each.
    Image.fromarray(FISH.astype(np.uint8) * 255).save(tmp_path / "b.png")
    found.append(read_values(tmp_path / "b.png"))
    assert resolve_rule(found, ["a.png", "b.png"], "numbered", choice=OPTION_CHOICE) == "numbered"


def test_numbers_in_colours_have_a_share(tmp_path: Path) -> None:
    values = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    values[ONE], values[OTHER] = (200, 0, 0), (0, 90, 200)
    Image.fromarray(values).save(tmp_path / "a.png")
    share = read_values(tmp_path / "a.png").share(parse_rule("numbered"))
    assert share == pytest.approx((ONE | OTHER).mean(), abs=1e-4)

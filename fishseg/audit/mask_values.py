"""Which values the masks of a set hold, and the one rule by which they have a meaning.

A single mask can be read in many ways: of 0, 1 and 255, 255 is fish, or fish too, or what shall not
count. So all masks of a set are looked at together, and where more than one meaning is left, the
user is asked and told what to type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from fishseg.errors import DataError
from fishseg.images.decoding import Decoded
from fishseg.images.folders import some
from fishseg.images.mask_rule import AUTO, COLOUR, MaskRule, parse_rule, value_text
from fishseg.images.masks import NOISE, decode_mask, levels, read_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# What to type in the pipeline, in a way that a shell and DVC's own parser both read; and for a
# command of its own.
DVC_CHOICE = "dvc exp run -S \"data.mask_values='{}'\""
OPTION_CHOICE = '--mask-values "{}"'

# A file of more values than this is a picture, not a mask.
MAX_VALUES = 4096
# And a small or compressed one, that has fewer, if it has more colours than this.
MAX_COLOURS = 1024
# A value is an area's own if so much of it has nothing else around; of soft edges and noise less.
SOLID_SHARE = 0.25
LARGE_SHARE = 0.005  # of all pixels
# Of an interpolated outline: how many levels between dark and bright it leaves, and how few pixels.
MIN_SOFT_LEVELS = 10
MAX_SOFT_SHARE = 0.1
MIN_DRAWN = 64  # pixels: fewer say nothing of how levels are spread
# Masks inside out: more than this of the frame's edge is fish, and less of the middle.
INVERTED_BORDER = 0.5


class MaskValues(NamedTuple):
    """The values of one mask, each with how many pixels have it.

    Attributes:
        kind: see `fishseg.images.masks.Levels`.
        size: ``(height, width)`` of the file.
        plain: whether nothing speaks against its kind being taken for what it is.
        lossy: whether its format changes values by a little.
        values: ``(V,)`` sorted.
        pixels: ``(V,)`` all; none of the pixels of a file of more than `MAX_VALUES`.
        border: ``(V,)`` those at the edge of the frame.
        middle: ``(V,)`` those in the middle ninth.
        solid: ``(V,)`` those whose eight neighbours have the same value.
    """

    kind: str
    size: tuple[int, int]
    plain: bool
    lossy: bool
    values: NDArray[np.int64]
    pixels: NDArray[np.int64]
    border: NDArray[np.int64]
    middle: NDArray[np.int64]
    solid: NDArray[np.int64]

    @property
    def is_photograph(self) -> bool:
        """Whether it has more colours than anybody paints masks with."""
        return self.kind == "picture" or (self.kind == "colour" and len(self.values) > MAX_COLOURS)

    def share(self, rule: MaskRule) -> float | None:
        """The share of fish in what counts; None where it takes the pixels to say."""
        values = self.values
        if rule.kind in ("opaque", "transparent"):
            known = self.kind == "transparent"
        else:
            in_colours = self.kind == "colour"
            known = self.kind != "transparent" and (
                rule.names_colours == in_colours or rule.numbers_fish
            )
            if in_colours and not rule.names_colours:
                values = values - COLOUR
        if not known or not self.pixels.any():
            return None
        n_counted = int(self.pixels[rule.counts(values)].sum())
        return int(self.pixels[rule.is_fish(values)].sum()) / n_counted if n_counted else 0.0


def read_values(path: Path) -> MaskValues:
    """Count the values of a mask.

    Raises:
        DataError: the file cannot be read.
    """
    return count_values(decode_mask(path))


def count_values(decoded: Decoded) -> MaskValues:
    """The values of a decoded mask."""
    found = levels(decoded)
    values, codes = _coded(found.values)
    height, width = codes.shape
    plain = found.dark_zero and not found.two_toned
    size = (height, width)
    if len(values) > MAX_VALUES:
        none = np.zeros(len(values[:MAX_VALUES]), np.int64)
        return MaskValues(
            "picture", size, False, decoded.lossy, values[:MAX_VALUES], none, none, none, none
        )
    solid = np.zeros(codes.shape, bool)
    # Where there is no room for noise, every pixel is of an area.
    undoubted = set(values.tolist()) in ({0}, {1}, {0, 1}, {255}, {0, 255}, {0, 65535})
    if undoubted and not decoded.lossy:
        solid[:] = True
    elif min(size) > 2:
        square = np.ones((3, 3), np.uint8)
        highest, lowest = cv2.dilate(codes, square), cv2.erode(codes, square)
        solid[1:-1, 1:-1] = (highest == lowest)[1:-1, 1:-1]
    edge = np.concatenate([codes[0], codes[-1], codes[1:-1, 0], codes[1:-1, -1]])
    middle = codes[height // 3 : -(-2 * height // 3), width // 3 : -(-2 * width // 3)]

    def count(some: NDArray[np.uint16]) -> NDArray[np.int64]:
        return np.bincount(some.ravel(), minlength=len(values))

    return MaskValues(
        kind=found.kind,
        size=size,
        plain=plain,
        lossy=decoded.lossy,
        values=values,
        pixels=count(codes),
        border=count(edge),
        middle=count(middle),
        solid=count(codes[solid]),
    )


def _coded(values: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """The distinct values, sorted, and for each pixel which of them it has."""
    if values.dtype == np.uint8:  # much faster than to sort all pixels
        present = np.bincount(values.ravel(), minlength=256) > 0
        place = (np.cumsum(present) - 1).astype(np.uint16)
        return np.flatnonzero(present).astype(np.int64), place[values]
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct.astype(np.int64), codes.reshape(values.shape).astype(np.uint16)


@dataclasses.dataclass(frozen=True)
class _Pool:
    """All masks of a set together; each array has an entry a value, as in `MaskValues`."""

    kinds: frozenset[str]
    plain: bool
    values: NDArray[np.int64]
    pixels: NDArray[np.int64]
    border: NDArray[np.int64]
    middle: NDArray[np.int64]
    solid: NDArray[np.int64]
    exact: NDArray[np.int64]
    exact_solid: NDArray[np.int64]

    @classmethod
    def of(cls, masks: Iterable[MaskValues]) -> _Pool:
        masks = list(masks)
        values = np.unique(np.concatenate([mask.values for mask in masks]))
        sums = np.zeros((6, len(values)), np.int64)
        for mask in masks:
            place = np.searchsorted(values, mask.values)
            columns = [mask.pixels, mask.border, mask.middle, mask.solid]
            if not mask.lossy:
                columns += [mask.pixels, mask.solid]
            for row, column in zip(sums, columns, strict=False):
                row[place] += column
        kinds = frozenset(mask.kind for mask in masks)
        return cls(kinds, all(mask.plain for mask in masks), values, *sums)

    @property
    def lossy(self) -> bool:
        return not np.array_equal(self.exact, self.pixels)


def resolve_rule(
    masks: Sequence[MaskValues], places: Sequence[str], declared: str, *, choice: str
) -> str:
    """The rule for all masks of a set: the declared one, or for ``auto`` the only one there is.

    Args:
        masks: the values of each.
        places: the file of each, as messages shall name it.
        declared: ``auto``, or a rule of `fishseg.images.mask_rule`.
        choice: how a rule is declared, with ``{}`` in its place: what the user is told to type.

    Raises:
        ParameterError: ``declared`` is neither.
        DataError: the masks have no meaning, or more than one; they seem to be inside out; no mask
            has fish in it.
    """
    pool = _Pool.of(masks)
    if declared != AUTO:
        rule: MaskRule | None = parse_rule(declared)
    else:
        rule = _only_meaning(pool)
    if rule is None:
        raise _ambiguous(masks, places, _choices(pool), choice)
    # Nothing but background is a meaning, too: pictures without fish.
    if pool.values.any() and all(mask.share(rule) == 0 for mask in masks):
        others = [text for text in _choices(pool) if text not in (str(rule), "fish: 0", "<128")]
        raise _no_fish(masks, places, rule, others, choice)
    if declared == AUTO and _inside_out(pool, rule):
        raise _inverted(masks, places, rule, choice)
    return str(rule)


def read_lone_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask of 0 and 255 that somebody may have changed, by the only meaning it has.

    Raises:
        DataError: it cannot be read, or can be in several ways.
    """
    values = read_values(path)
    try:
        rule = resolve_rule([values], [path.name], AUTO, choice="{}")
    except DataError as error:
        raise DataError(
            error.what,
            where=path,
            expected="white (255) on fish and black (0) elsewhere, with next to no greys between",
            remedy="make it black and white in the paint program, and save it as a PNG",
        ) from None
    return read_mask(path, size, rule)


def _only_meaning(pool: _Pool) -> MaskRule | None:
    if not pool.plain:
        return None
    if pool.kinds == {"transparent"}:
        return MaskRule("opaque") if _two_levels(pool) == 255 else None
    if not pool.kinds <= {"grey", "index"}:
        return None
    labels = MaskRule("not", (0,))
    if 0 in pool.values and set(pool.values) <= {0, 1}:
        return labels if not pool.lossy or not pool.values.any() else None
    if pool.kinds == {"grey"} and (white := _two_levels(pool)):
        return MaskRule("above", (white // 2,))
    numbered = np.array_equal(pool.values, np.arange(len(pool.values)))
    solid = (pool.solid >= SOLID_SHARE * pool.pixels).all()
    return labels if numbered and solid and not pool.lossy else None


def _two_levels(pool: _Pool) -> int | None:
    """What white is, 255 or 65535, of masks that are black and white but for edges and noise."""
    values = pool.values
    # Both depths in one set have one threshold only if neither has anything in between.
    if set(values) <= {0, 255, 65535}:
        return 65535 if set(values) == {0, 65535} or set(values) == {65535} else 255
    white = 255 if values.max() <= 255 else 65535
    noise = NOISE * white // 255
    dark, bright = values <= noise, values >= white - noise
    between = ~dark & ~bright
    n_between, n_pixels = int(pool.pixels[between].sum()), int(pool.pixels.sum())
    if not (dark.any() and bright.any()) or n_between > MAX_SOFT_SHARE * n_pixels:
        return None
    if not pool.solid[bright].any():
        return None  # a stray pixel makes no white
    # An area of one value is a class of its own, or compression put it near an end.
    own_area = (pool.solid > 0) & (pool.solid >= SOLID_SHARE * pool.pixels)
    own_exact = (pool.exact_solid > 0) & (pool.exact_solid >= SOLID_SHARE * pool.exact)
    at_end = (values == 0) | (values == white)
    was_lossy = (
        int(between.sum()) >= MIN_SOFT_LEVELS and _fades(pool, dark) and _fades(pool, bright)
    )
    if int(between.sum()) >= MIN_SOFT_LEVELS:
        # Edges that compression blurs pass through all levels; what stays near one is drawn.
        middle = between & (values > white // 4) & (values < white - white // 4)
        near = np.abs(values[middle, None] - values[None, middle]) <= noise // 2
        if 2 * int((near @ pool.pixels[middle]).max(initial=0)) > max(n_between, MIN_DRAWN):
            return None
    # Whatever was black or white all over is of one value still, for better or worse compressed.
    large = own_area & (pool.pixels > LARGE_SHARE * n_pixels)
    if (large & dark).sum() > 1 or (large & bright).sum() > 1:
        return None
    odd = own_area & between
    if not was_lossy:
        # Thin areas have no pixel with eight equals: beside so few levels, a number is no noise.
        number = (pool.exact > 0) & ((values <= noise // 2) | (values >= white - noise // 2))
        odd |= ~at_end & (own_exact | (number & (len(values) < MIN_SOFT_LEVELS)))
    return None if odd.any() else white


def _fades(pool: _Pool, end: NDArray[np.bool_]) -> bool:
    """Whether the values at an end are neighbours of one another, as noise leaves them."""
    values = pool.values[end]
    return bool(np.diff(values).max(initial=1) <= 2)


def _inside_out(pool: _Pool, rule: MaskRule) -> bool:
    fish = rule.is_fish(pool.values)
    border, middle = (
        float(counts[fish].sum() / max(1, counts.sum())) for counts in (pool.border, pool.middle)
    )
    return border > INVERTED_BORDER and middle < border


def _opposite(rule: MaskRule) -> MaskRule:
    other = {"above": "below", "below": "above", "not": "is", "is": "not"}
    if rule.kind in ("opaque", "transparent"):
        return MaskRule("transparent" if rule.kind == "opaque" else "opaque")
    step = {"above": 1, "below": -1}.get(rule.kind, 0)
    return MaskRule(other[rule.kind], tuple(value + step for value in rule.values))


def _choices(pool: _Pool) -> list[str]:
    """Rules by which the values found have fish among them, the likelier first."""
    rules = dict.fromkeys(parse_rule(text) for text in _likely(pool))
    return [str(rule) for rule in rules if rule.is_fish(pool.values).any()]


def _likely(pool: _Pool) -> list[str]:
    values = [int(value) for value in pool.values]
    if "picture" in pool.kinds:
        return []
    if pool.kinds == {"transparent"}:
        return ["opaque", "transparent", *([] if pool.plain else [">127"])]
    if "colour" in pool.kinds:
        colours = sorted(
            (value for value in values if value >= COLOUR),
            key=lambda value: -int(pool.pixels[pool.values == value][0]),
        )
        return [f"fish: {value_text(value)}" for value in colours[:4]]
    choices = []
    if len(values) <= 6:
        if 255 in values and len(values) > 2:
            inner = [value for value in values if value not in (0, 255)]
            choices += [f"fish: {value}; ignore: 255" for value in inner[:3]]
            choices += ["not 0; ignore: 255"] if 0 in values and len(inner) > 1 else []
        choices += [f"fish: {value}" for value in values if value != 0]
    choices += ["not 0"] if 0 in values else []
    choices += ["numbered"] if 0 in values and len(values) > 2 else []
    white = 65535 if max(values) > 255 and max(values) > 255 * 200 else 255
    if max(values) > white // 2:
        choices += [f">{white // 2}", f"<{white // 2 + 1}"]
    choices += ["fish: 0"] if 0 in values and len(values) <= 6 else []
    return choices


def _described(masks: Sequence[MaskValues], places: Sequence[str]) -> str:
    """The values found, each with the share of all pixels and a file that has it."""
    pool = _Pool.of(masks)
    total = max(1, int(pool.pixels.sum()))
    named = list(zip(masks, places, strict=True))
    # Of a file of too many values none is counted.
    counted = np.flatnonzero(pool.pixels)
    order = counted[np.argsort(-pool.pixels[counted], kind="stable")[:8]]
    lines = []
    for number in sorted(order):
        value = pool.values[number]
        having = [place for mask, place in named if mask.pixels[mask.values == value].any()]
        share = pool.pixels[number] / total
        count = pool.pixels[number]
        amount = f"{share:.1%} of the pixels" if share >= 0.001 else f"{count:,} pixels"
        amount = "1 pixel" if count == 1 else amount
        lines.append(f"{value_text(int(value))}: {amount}, in {some(having, 2)}")
    if len(counted) > len(order):
        lines.append(f"and {len(counted) - len(order)} more values")
    pictures = [place for mask, place in named if mask.kind == "picture"]
    if pictures:
        lines.append(f"more values than a mask has, in {some(pictures, 2)}")
    kinds = sorted({_KINDS[mask.kind] for mask in masks if mask.kind != "picture"})
    head = [f"as {', '.join(kinds)}"] if kinds else []
    return "".join(f"\n    {line}" for line in [*head, *lines])


_KINDS = {
    "grey": "grey levels",
    "index": "palette entries",
    "colour": "colours",
    "transparent": "transparency",
}


def _typed(choices: Sequence[str], choice: str) -> str:
    return "".join(f"\n    {choice.format(rule)}" for rule in choices)


def _ambiguous(
    masks: Sequence[MaskValues], places: Sequence[str], choices: list[str], choice: str
) -> DataError:
    if not choices:
        return DataError(
            f"these are no masks, or pictures among them: {_described(masks, places)}",
            expected="few values, one of them fish",
            remedy="export masks of 0 and 255",
        )
    return DataError(
        f"which values of the masks are fish? They can be read in several ways: "
        f"{_described(masks, places)}",
        expected="0 and 255, 0 and 1, 0 and numbered objects, or transparency, in all masks",
        remedy=f"say it, for example one of{_typed(choices, choice)}",
    )


def _inverted(
    masks: Sequence[MaskValues], places: Sequence[str], rule: MaskRule, choice: str
) -> DataError:
    choices = [str(_opposite(rule)), str(rule)]
    return DataError(
        "are the masks inside out? Read as usual, fish is around the edge of the frame and not in "
        f"its middle: {_described(masks, places)}",
        expected="fish in the middle, or a word that it is not so",
        remedy=f"the first of these turns them, the second takes them as they are"
        f"{_typed(choices, choice)}",
    )


def _no_fish(
    masks: Sequence[MaskValues],
    places: Sequence[str],
    rule: MaskRule,
    choices: list[str],
    choice: str,
) -> DataError:
    others = f"; or say which values are fish{_typed(choices, choice)}" if choices else ""
    return DataError(
        f"no mask has any fish in it, read by the rule {str(rule)!r}: {_described(masks, places)}",
        expected="masks with fish, to learn from and to measure against",
        remedy=f"check that these are the right masks{others}",
    )

"""The rule by which the values of a mask become fish, background and pixels that do not count."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from fishseg.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUTO = "auto"
# Masks that this program writes.
ZERO_255 = ">127"

EXPECTED = (
    "auto, or for example '>127', '<128', 'not 0', 'fish: 1; ignore: 255', 'fish: 1, 2', "
    "'not 0; ignore: 255', 'fish: #ff0000', numbered, 'numbered; ignore: 255', opaque, transparent"
)
# Colours are numbers from here on, so that none is mistaken for a level.
COLOUR = 1 << 32


@dataclasses.dataclass(frozen=True)
class MaskRule:
    """Which values are fish, and which count in no metric and no loss; all others are background.

    Attributes:
        kind: ``is`` or ``not`` (any of the values), ``above`` or ``below`` (the one value),
            ``opaque`` or ``transparent`` (no value), ``numbered`` (all but 0, each value a fish of
            its own; no value).
        values: levels, palette entries, or colours as ``COLOUR + 0xRRGGBB``.
        ignored: values that are neither fish nor background.
    """

    kind: str
    values: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()

    @property
    def names_colours(self) -> bool:
        """Whether its values are colours."""
        return any(value >= COLOUR for value in self.values + self.ignored)

    @property
    def numbers_fish(self) -> bool:
        """Whether it tells the fish of a picture apart."""
        return self.kind == "numbered"

    def is_fish(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the values, of any shape, are fish; of opacity for ``opaque``, ``transparent``.

        Colours are given as ``COLOUR + 0xRRGGBB``, or as ``0xRRGGBB`` to a rule without colours.
        """
        if self.kind in ("opaque", "transparent"):
            opaque = values >= 128
            return opaque if self.kind == "opaque" else ~opaque
        if self.kind in ("is", "not", "numbered"):
            named = np.isin(values, 0 if self.numbers_fish else self.values)
            fish = named if self.kind == "is" else ~named
        else:
            fish = values > self.values[0] if self.kind == "above" else values < self.values[0]
        return fish & self.counts(values)

    def counts(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the values are fish or background: not ignored."""
        return np.isin(values, self.ignored, invert=True)

    def __str__(self) -> str:
        listed = ", ".join(map(value_text, self.values))
        fish = {
            "is": f"fish: {listed}",
            "not": f"not {listed}",
            "above": f">{listed}",
            "below": f"<{listed}",
        }.get(self.kind, self.kind)
        if not self.ignored:
            return fish
        return f"{fish}; ignore: {', '.join(map(value_text, self.ignored))}"


def value_text(value: int) -> str:
    """A level as a number, a colour as ``#rrggbb``."""
    return f"#{value - COLOUR:06x}" if value >= COLOUR else str(value)


@functools.cache
def parse_rule(text: str) -> MaskRule:
    """A rule from its text; `str` of it gives the text back.

    Raises:
        ParameterError: that is no rule, or it names a value twice.
    """
    fish, *rest = (part.strip() for part in text.split(";"))
    ignored: tuple[int, ...] = ()
    if rest:
        match = re.fullmatch(r"ignore\s*:(.*)", rest[0])
        if match is None or len(rest) > 1:
            raise _no_rule(text)
        ignored = _values(match[1], text)
    if fish in ("opaque", "transparent") and not ignored:
        return MaskRule(fish)
    if fish == "numbered" and not any(value == 0 or value >= COLOUR for value in ignored):
        return MaskRule(fish, (), ignored)
    if match := re.fullmatch(r"([<>])\s*(\d+)", fish):
        rule = MaskRule("above" if match[1] == ">" else "below", (int(match[2]),), ignored)
    elif match := re.fullmatch(r"(not\s|fish\s*:)(.*)", fish):
        kind = "not" if match[1].startswith("not") else "is"
        rule = MaskRule(kind, _values(match[2], text), ignored)
    else:
        raise _no_rule(text)
    mixed = len({value >= COLOUR for value in rule.values + rule.ignored}) > 1
    if mixed or set(rule.ignored) & set(rule.values):
        raise _no_rule(text)
    return rule


def _values(listed: str, text: str) -> tuple[int, ...]:
    values = []
    for part in listed.split(","):
        if match := re.fullmatch(r"\s*(?:#([0-9a-fA-F]{6})|(\d{1,9}))\s*", part):
            values.append(COLOUR + int(match[1], 16) if match[1] else int(match[2]))
        else:
            raise _no_rule(text)
    return tuple(sorted(set(values)))


def _no_rule(text: str) -> ParameterError:
    return ParameterError(
        f"{text!r} does not say which values of a mask are fish",
        where="data.mask_values or --mask-values",
        expected=EXPECTED,
        remedy="use one of these; the numbers are the masks' own",
    )

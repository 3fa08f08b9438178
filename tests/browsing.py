"""What a page must be in any window and any light: no wider than the window, and legible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from playwright.sync_api import Page

# A telephone and a laptop, in pixels of CSS.
WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
MIN_CONTRAST = 4.5  # WCAG 2, level AA, of text

# Text and what it stands on, as colours between 0 and 1, of all that is shown.
TEXT_AND_GROUND = """
() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [1, 1, 1, 1];
  };
  const seen = { opacityProperty: true, visibilityProperty: true };
  return [...document.querySelectorAll("body *")]
    .filter((one) => [...one.childNodes].some((c) => c.nodeType === 3 && c.data.trim()))
    .filter((one) => one.getClientRects().length > 0 && !["SCRIPT", "OPTION"].includes(one.tagName))
    .filter((one) => one.checkVisibility(seen))
    .map((one) => {
      const style = getComputedStyle(one);
      const colour = one instanceof SVGElement ? style.fill : style.color;
      return [one.textContent.slice(0, 30), rgba(colour).slice(0, 3), ground(one).slice(0, 3)];
    });
}
"""


def overflow_px(page: Page) -> int:
    """By how much the page, or a viewer open on it, is wider than its window."""
    width: int = page.evaluate(
        "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth,"
        "document.getElementById('viewer')?.scrollWidth ?? 0) - innerWidth"
    )
    return width


def hard_to_read(page: Page) -> list[str]:
    """The texts that stand out too little from what they stand on, each with its contrast."""
    texts = page.evaluate(TEXT_AND_GROUND)
    assert texts, "the page shows no text"
    found = ((text, _contrast(colour, ground)) for text, colour, ground in texts)
    return [f"{text!r}: {contrast:.1f}" for text, contrast in found if contrast < MIN_CONTRAST]


def paper_is_dark(page: Page) -> bool:
    """Whether the first text stands on a dark ground."""
    return _luminance(page.evaluate(TEXT_AND_GROUND)[0][2]) < 0.1


def _contrast(one: list[float], other: list[float]) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: list[float]) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))

"""The eight ways to flip and turn a picture by right angles, exactly: no pixel is resampled.

A backbone's features do not turn with the image, so each view is another opinion: something new to
learn from, or to average over when a decoder is in use (test-time augmentation).

View 0 is the picture itself; 1 to 3 are turned by that many right angles, anticlockwise; 4 to 7 are
those four, flipped left to right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fishseg.images.resizing import at_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

N_VIEWS = 8
# How many views test-time augmentation can average over, and which: flips first, which keep the
# picture's format.
TTA_VIEWS = {1: (0,), 2: (0, 4), 4: (0, 4, 2, 6), 8: tuple(range(N_VIEWS))}


def turn(image: NDArray[Any], view: int) -> NDArray[Any]:
    """A view of an image or mask ``(H, W, ...)``."""
    turned = np.rot90(image, view % 4)
    return np.ascontiguousarray(turned[:, ::-1] if view >= 4 else turned)


def turn_back(turned: NDArray[Any], view: int) -> NDArray[Any]:
    """The image of which ``turned (H, W, ...)`` is a view."""
    unflipped = turned[:, ::-1] if view >= 4 else turned
    return np.ascontiguousarray(np.rot90(unflipped, -(view % 4)))


def view_id(sample_id: str, view: int) -> str:
    """What the view of a sample is called where views are samples of their own."""
    return f"{sample_id}~{view}" if view else sample_id


def average(maps_of: Callable[[int], NDArray[np.float32]], tta: int) -> NDArray[np.float32]:
    """The mean over views of what a model says of each pixel, each turned back.

    Args:
        maps_of: gives a map ``(H, W)`` of a view, or several ``(n_maps, H, W)``; turned views may
            come at another resolution.
        tta: over how many: 1, 2, 4 or 8.

    Returns:
        The same, of the size of those of view 0.
    """
    first, *others = TTA_VIEWS[tta]
    total = maps_of(first)
    for view in others:
        total = total + _turned_back(maps_of(view), view, total.shape[-2:])
    return (total / np.float32(tta)).astype(np.float32)


def _turned_back(
    maps: NDArray[np.float32], view: int, size: tuple[int, ...]
) -> NDArray[np.float32]:
    """Maps ``(..., H, W)`` of a view as those of the picture itself, of ``size``."""
    if maps.ndim > 2:
        return np.stack([_turned_back(one, view, size) for one in maps])
    return at_size(turn_back(maps, view), (size[0], size[1]))

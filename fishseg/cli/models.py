"""The model that a command asks: what its options name, else the project's, else what ships."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fishseg.prediction import loading
from fishseg.prediction.light import DECODER
from fishseg.prediction.loading import CARD_NAME, Loaded, about

if TYPE_CHECKING:
    import argparse

log = logging.getLogger("fishseg")

__all__ = ["Loaded", "about", "load_model"]


def load_model(options: argparse.Namespace, *, tta: int = 1, fine: bool | None = None) -> Loaded:
    """The model of ``--model``, or else of ``--decoder`` and ``--backbone``.

    Args:
        options: of the command line, with ``threshold``.
        tta: how many views of a picture to average over.
        fine: whether to look a second time at each fish that was found; unless given, only the
            model that ships does.

    Raises:
        FishsegError: as `fishseg.prediction.loading.load_model`.
    """
    source = options.model or options.decoder
    if source is None:
        source = DECODER if (DECODER / CARD_NAME).is_file() else None
        log.info("decoder: %s", source or "the one that ships")
    return loading.load_model(
        source, options.backbone, tta=tta, threshold=options.threshold, fine=fine
    )

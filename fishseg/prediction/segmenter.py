"""A decoder in use: images in, fish out, at the images' own size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fishseg import devices
from fishseg.backbones.loading import Backbone, load_backbone
from fishseg.decoders.files import DecoderCard, load_decoder
from fishseg.decoders.inference import decode
from fishseg.errors import BackboneError
from fishseg.features.compute import features_of
from fishseg.images.resizing import to_pixels, working_size
from fishseg.metrics.familiarity import Familiarity
from fishseg.prediction.base import BaseSegmenter
from fishseg.prediction.model import THRESHOLD


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segmenter(BaseSegmenter):
    """Backbone and decoder together: from an image to the fish in it."""

    backbone: Backbone
    decoder: nn.Module
    card: DecoderCard
    device: torch.device

    @classmethod
    def load(
        cls,
        decoder_folder: Path,
        backbone_folder: Path,
        device: torch.device,
        dtype: torch.dtype | None = None,
        *,
        load: Callable[..., Backbone] = load_backbone,
        tta: int = 1,
        threshold: float = THRESHOLD,
    ) -> Segmenter:
        """The segmenter that the stages ``backbone`` and ``train`` left behind.

        Args:
            decoder_folder: what the stage ``train`` wrote.
            backbone_folder: what the stage ``backbone`` wrote.
            device: where to compute.
            dtype: what the backbone computes in; `fishseg.devices.precision` unless given.
            load: what loads the backbone; `load_torch_backbone` where torch itself is wanted.
            tta: 1, or 2, 4 or 8 flipped and turned views to average over.
            threshold: the probability from which a pixel is fish, above 0 and below 1.

        Raises:
            CacheError: there is no usable decoder.
            BackboneError: there is no usable backbone, or it is not the one of the decoder.
        """
        decoder, card = load_decoder(decoder_folder, device)
        dtype = dtype or devices.precision(device)
        backbone = load(backbone_folder, card.layers, dtype, device)
        if backbone.weights_sha256 != card.backbone["weights_sha256"]:
            raise BackboneError(
                f"the decoder was trained on other weights: those of {card.backbone['name']}",
                where=backbone_folder,
                expected=f"weights with sha256 {card.backbone['weights_sha256']}",
                remedy="dvc checkout brings the backbone that belongs to the decoder; "
                "dvc repro trains a decoder for this one",
            )
        return cls(
            backbone=backbone,
            decoder=decoder,
            card=card,
            device=device,
            tta=tta,
            threshold=threshold,
            familiarity=Familiarity.load(decoder_folder),
        )

    @property
    def certainty(self) -> float:
        """What the surest pixel of a part must reach, as the card says."""
        return self.card.certainty

    def _one_view(
        self, image: NDArray[np.uint8], *, with_features: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        size = working_size(
            (image.shape[0], image.shape[1]),
            fit=self.card.fit,
            image_size=self.card.image_size,
            megapixels=self.card.megapixels,
            patch_multiple=self.backbone.patch_multiple,
        )
        pixels = torch.from_numpy(to_pixels(image, size)).unsqueeze(0)
        features = features_of(pixels, self.backbone, self.device, self.card.dtype)
        maps = decode(self.decoder, features, pixels, self.card, self.device)
        own = features[0].float().cpu().numpy() if with_features else None
        return maps[0].numpy(), own

    def mask(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The fish ``(H0, W0)`` in an RGB image ``(H0, W0, 3)``."""
        return self.probability(image) >= self.threshold

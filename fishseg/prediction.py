"""A decoder in use: images in, fish out, at the images' own size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fishseg.backbones import Backbone, load_backbone
from fishseg.decoders.inference import at_size, decode
from fishseg.errors import BackboneError
from fishseg.features.extraction import features_of
from fishseg.features.working import to_pixels, working_size
from fishseg.training import DecoderCard, load_decoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segmenter:
    """Backbone and decoder together: from an image to the fish in it."""

    backbone: Backbone
    decoder: nn.Module
    card: DecoderCard
    device: torch.device

    @classmethod
    def load(cls, decoder_folder: Path, backbone_folder: Path, device: torch.device) -> Segmenter:
        """The segmenter that the stages ``backbone`` and ``train`` left behind.

        Raises:
            CacheError: there is no usable decoder.
            BackboneError: there is no usable backbone, or it is not the one of the decoder.
        """
        decoder, card = load_decoder(decoder_folder, device)
        backbone = load_backbone(backbone_folder, card.layers)
        if backbone.weights_sha256 != card.backbone["weights_sha256"]:
            raise BackboneError(
                f"the decoder was trained on other weights: those of {card.backbone['name']}",
                where=backbone_folder,
                expected=f"weights with sha256 {card.backbone['weights_sha256']}",
                remedy="dvc checkout brings the backbone that belongs to the decoder; "
                "dvc repro trains a decoder for this one",
            )
        return cls(backbone=backbone.to(device), decoder=decoder, card=card, device=device)

    def working_probability(self, image: NDArray[np.uint8]) -> Tensor:
        """Probability ``(1, 1, H, W)`` at the working size, of an RGB image ``(H0, W0, 3)``."""
        size = working_size(
            (image.shape[0], image.shape[1]),
            fit=self.card.fit,
            image_size=self.card.image_size,
            patch_multiple=self.backbone.patch_multiple,
        )
        pixels = to_pixels(image, size).unsqueeze(0)
        features = features_of(pixels, self.backbone, self.device)
        return decode(self.decoder, features, pixels, self.device)

    def mask(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The fish ``(H0, W0)`` in an RGB image ``(H0, W0, 3)``."""
        probability = at_size(self.working_probability(image), (image.shape[0], image.shape[1]))
        return probability >= self.card.threshold

"""A trained decoder on the disk: its weights, and the card that says what belongs to them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file

from fishseg import decoders, store
from fishseg.errors import CacheError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

WEIGHTS_NAME = "decoder.safetensors"
CARD_NAME = "decoder.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderCard:
    """All that prediction needs to know beside the weights (``decoder.json``).

    Attributes:
        decoder: the decoder's name.
        in_channels: feature channels it takes.
        backbone: ``name`` and ``weights_sha256`` of the backbone it was trained on.
        layers: the backbone layers that are stacked.
        fit: how images are fitted to the working size.
        image_size: side of the working square in pixels where they are stretched to one.
        megapixels: area of the working size where they are not.
        dtype: what features are stored in; prediction rounds them as the cache does.
        temperature: what the logits are divided by.
        trained_on: how many images of each class it was trained on; empty where nobody has said.
        instances: what tells fish apart that touch, see `fishseg.decoders.build`.
    """

    decoder: str
    in_channels: int
    backbone: dict[str, str]
    layers: tuple[int, ...]
    fit: str
    image_size: int
    megapixels: float
    dtype: str
    temperature: float
    trained_on: dict[str, int] = dataclasses.field(default_factory=dict)
    instances: str = decoders.NONE


def save_decoder(decoder: nn.Module, card: DecoderCard, folder: Path) -> None:
    """Write ``decoder.safetensors`` and ``decoder.json``.

    Raises:
        StorageError: the disk is full, or ``folder`` cannot be written.
    """
    store.make_folder(folder)
    store.save_tensors(decoder.state_dict(), folder / WEIGHTS_NAME)
    text = json.dumps(dataclasses.asdict(card), indent=2)
    with store.write_whole(folder / CARD_NAME) as new:
        new.write_text(text + "\n", encoding="utf-8", newline="\n")


def read_card(folder: Path) -> DecoderCard:
    """What belongs to a decoder.

    Raises:
        CacheError: the card is missing or damaged.
    """
    try:
        tree = json.loads((folder / CARD_NAME).read_text(encoding="utf-8"))
        return DecoderCard(**{**tree, "layers": tuple(tree["layers"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(folder, error) from None


def load_decoder(folder: Path, device: torch.device) -> tuple[nn.Module, DecoderCard]:
    """A decoder in evaluation mode, and its card.

    Raises:
        CacheError: the files are missing or damaged.
    """
    card = read_card(folder)
    try:
        decoder = decoders.build(card.decoder, card.in_channels, card.instances)
        decoder.load_state_dict(load_file(folder / WEIGHTS_NAME))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise _unusable(folder, error) from None
    return decoder.to(device).eval(), card


def _unusable(folder: Path, error: Exception) -> CacheError:
    return CacheError(
        f"there is no usable decoder: {' '.join(str(error).split())[:300]}",
        where=folder,
        expected=f"{CARD_NAME} and {WEIGHTS_NAME}, as the train stage writes them",
        remedy="dvc repro train, or dvc pull where a remote holds them",
    )

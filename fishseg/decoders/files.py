"""A trained decoder on the disk: its weights, and the card that says what belongs to them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file

from fishseg import __version__, decoders, store
from fishseg.errors import CacheError, ParameterError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import torch
    from torch import nn

    from fishseg.features.shards import FeatureCache

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
        guided_radius: of the filter that fits masks to the edges of the picture, in pixels, see
            `fishseg.decoders.guided`; 0 where there is none.
        certainty: what the surest pixel of a part of the mask must reach, see
            `fishseg.metrics.hysteresis`; 0 where nothing is asked.
        trained_on: how many images of each class it was trained on; empty where nobody has said.
        trained_from: the SHA-256 of the ``features`` and of the ``split`` it was trained on, and of
            the weights it went on from (``init_from``), if any; empty where nobody has said.
        weights_sha256: of ``decoder.safetensors``; loading always fills it in.
        version: of the fishseg that trained it; empty where that was not noted.
        instances: what tells fish apart that touch, see `fishseg.decoders.build`.
    """

    decoder: str
    in_channels: int
    backbone: dict[str, str]
    layers: tuple[int, ...]
    fit: Annotated[str, Field(pattern="^(aspect|stretch)$")]
    image_size: int
    megapixels: float
    dtype: str
    temperature: float
    guided_radius: int = 0
    certainty: float = 0.0
    trained_on: dict[str, int] = dataclasses.field(default_factory=dict)
    trained_from: dict[str, str] = dataclasses.field(default_factory=dict)
    weights_sha256: str = ""
    version: str = ""
    instances: str = decoders.NONE

    def provenance(self, threshold: float) -> dict[str, str | float]:
        """Whose numbers are measured: checksums, the version that trained, and the threshold."""
        return {
            "weights_sha256": self.weights_sha256,
            "backbone_sha256": self.backbone["weights_sha256"],
            "version": self.version,
            "threshold": threshold,
        }


_CARD = TypeAdapter(DecoderCard)


def save_decoder(decoder: nn.Module, card: DecoderCard, folder: Path) -> None:
    """Write ``decoder.safetensors`` and ``decoder.json``, which says whose weights they are.

    No commit of the repository is noted, since what a commit's own outputs name would differ in the
    next one: the version and checksums of what is there tell as much.

    Raises:
        StorageError: the disk is full, or ``folder`` cannot be written.
    """
    store.make_folder(folder)
    store.save_tensors(decoder.state_dict(), folder / WEIGHTS_NAME)
    weights_sha256 = store.file_sha256(folder / WEIGHTS_NAME)
    card = dataclasses.replace(card, weights_sha256=weights_sha256, version=__version__)
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
        unknown = sorted(tree.keys() - {field.name for field in dataclasses.fields(DecoderCard)})
        if unknown:
            raise ValueError(f"another version of fishseg wrote {CARD_NAME}: {', '.join(unknown)}")
        return _CARD.validate_python(tree)
    except (OSError, ValueError, AttributeError) as error:
        raise _unusable(folder, error) from None


def load_decoder(folder: Path, device: torch.device) -> tuple[nn.Module, DecoderCard]:
    """A decoder in evaluation mode, and its card.

    Raises:
        CacheError: the files are missing or damaged, or do not belong together.
    """
    card = read_card(folder)
    try:
        weights_sha256 = store.file_sha256(folder / WEIGHTS_NAME)
        if card.weights_sha256 not in ("", weights_sha256):
            raise ValueError(f"{WEIGHTS_NAME} is not the file that {CARD_NAME} belongs to")
        card = dataclasses.replace(card, weights_sha256=weights_sha256)
        decoder = decoders.build(card.decoder, card.in_channels, card.instances)
        decoder.load_state_dict(load_file(folder / WEIGHTS_NAME))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError, ParameterError) as error:
        raise _unusable(folder, error) from None
    return decoder.to(device).eval(), card


def origin(cache: FeatureCache, manifest: pd.DataFrame) -> dict[str, str]:
    """What a decoder is trained from, for its card: SHA-256 of all features, and of the split."""
    texts = {"features": " ".join(cache.digests()), "split": manifest.to_csv(index=False)}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def check_origin(card: DecoderCard, cache: FeatureCache, manifest: pd.DataFrame) -> None:
    """Refuse a decoder that was not trained on these features and this split.

    What it is measured on might be what it has learned from.

    Raises:
        CacheError: it was trained on others.
    """
    for name, digest in origin(cache, manifest).items():
        if card.trained_from.get(name) != digest:
            raise CacheError(
                f"the decoder was trained on other {name} than those that are here",
                where=cache.folder,
                expected=f"{name} with sha256 {card.trained_from.get(name, '(not known)')}",
                remedy="dvc repro",
            )


def decoder_sha256(folder: Path) -> str:
    """SHA-256 over a decoder's weights and card.

    Raises:
        CacheError: one of them is missing.
    """
    try:
        digests = [store.file_sha256(folder / name) for name in (WEIGHTS_NAME, CARD_NAME)]
    except OSError as error:
        raise _unusable(folder, error) from None
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _unusable(folder: Path, error: Exception) -> CacheError:
    return CacheError(
        f"there is no usable decoder: {' '.join(str(error).split())[:300]}",
        where=folder,
        expected=f"{CARD_NAME} and {WEIGHTS_NAME}, as the train stage writes them",
        remedy="dvc repro train, or dvc pull where a remote holds them",
    )

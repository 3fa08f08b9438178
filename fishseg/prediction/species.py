"""Which species a fish is, by the patch features under its mask. Needs no torch, no scikit-learn.

The features of the patches that a mask covers are averaged, each patch with the share of it that is
covered; a multinomial logistic regression turns the average into a probability of each species.
What is far from all species that were learned is called unknown: the distance is the relative
Mahalanobis distance (Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD
Detection", 2021), the squared Mahalanobis distance to the nearest species less that to all species
together. `fishseg.classification` learns both; here they are kept and used.

Shapes: ``N`` fish, ``K`` species, ``C`` feature channels on a grid ``(h, w)``.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import logging
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from fishseg.errors import CacheError
from fishseg.store import make_folder, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fishseg.prediction.instances import Instance

log = logging.getLogger(__name__)

WEIGHTS_NAME = "classifier.safetensors"
CARD_NAME = "classifier.json"
UNKNOWN = "unknown"
# What decides the features of a picture, as cards and indices call it.
FEATURE_KEYS = ("backbone", "layers", "fit", "image_size", "megapixels", "dtype")


class Species(NamedTuple):
    """What a fish is taken for.

    Attributes:
        name: a species that was learned, or ``unknown``.
        probability: of that species among those that were learned; None where it is unknown.
    """

    name: str
    probability: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regression:
    """Multinomial logistic regression on features that are not standardised.

    Attributes:
        weight: ``(K, C)``.
        bias: ``(K,)``.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def probabilities(self, pooled: NDArray[np.floating]) -> NDArray[np.float64]:
        """How probably each of ``(N, C)`` is each species, ``(N, K)``."""
        logits = pooled.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distance:
    """The relative Mahalanobis distance to what was learned.

    Attributes:
        class_whitening: ``(C, C)``, after which the features of one species are spread evenly.
        class_centres: ``(K, C)``, the species' means, whitened.
        whitening: ``(C, C)``, the same for all species together.
        centre: ``(C,)``, their mean, whitened.
    """

    class_whitening: NDArray[np.float32]
    class_centres: NDArray[np.float32]
    whitening: NDArray[np.float32]
    centre: NDArray[np.float32]

    def distances(self, pooled: NDArray[np.floating]) -> NDArray[np.float64]:
        """How far each of ``(N, C)`` is from the nearest species, ``(N,)``; may be below zero."""
        ours = pooled.astype(np.float64) @ self.class_whitening.T.astype(np.float64)
        apart = ((ours[:, None] - self.class_centres) ** 2).sum(axis=2)
        background = pooled.astype(np.float64) @ self.whitening.T.astype(np.float64) - self.centre
        nearest: NDArray[np.float64] = apart.min(axis=1) - (background**2).sum(axis=1)
        return nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeciesClassifier:
    """What the stage ``classify`` has learned.

    Attributes:
        classes: the species, in the order of the regression's rows.
        features: the features it takes: `FEATURE_KEYS` with their values, as JSON knows them.
        regression: gives the probabilities.
        distance: tells what was never learned; None where too few species were, so that nothing is
            ever unknown.
        threshold: the distance beyond which a fish is unknown.
        trained_on: how many images of each species it has learned from.
    """

    classes: tuple[str, ...]
    features: Mapping[str, Any]
    regression: Regression
    distance: Distance | None
    threshold: float | None
    trained_on: Mapping[str, int]

    def name(self, features: NDArray[np.floating], mask: NDArray[np.bool_]) -> Species | None:
        """The species of a fish.

        Args:
            features: of its picture, ``(C, h, w)``.
            mask: the fish in its picture, ``(H, W)`` of any size.

        Returns:
            None where the mask is empty.
        """
        pooled = pool(features, mask)[None]
        if np.isnan(pooled).any():
            return None
        if self.is_unknown(pooled)[0]:
            return Species(UNKNOWN, None)
        probabilities = self.regression.probabilities(pooled)[0]
        best = int(probabilities.argmax())
        return Species(self.classes[best], round(float(probabilities[best]), 4))

    def name_fish(
        self, features: NDArray[np.floating], one: Instance, size: tuple[int, ...]
    ) -> Species | None:
        """The same of one of the fish of a picture of ``size``, (height, width)."""
        whole = np.zeros(size, np.bool_)
        whole[one.box] = one.mask
        return self.name(features, whole)

    def is_unknown(self, pooled: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of ``(N, C)`` are farther from all species than the threshold, ``(N,)``."""
        if self.distance is None or self.threshold is None:
            return np.zeros(len(pooled), np.bool_)
        return self.distance.distances(pooled) > self.threshold

    def fits(self, card: Mapping[str, Any]) -> bool:
        """Whether these features are what a card or an index names, its backbone by its hash."""
        return bool(dict(self.features) == feature_facts(card))

    def _parts(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
        """The card as JSON knows it, and the weights by their names."""
        parts = {"regression": self.regression, "distance": self.distance}
        tensors = {
            f"{part}.{name}": np.ascontiguousarray(tensor)
            for part, owner in parts.items()
            if owner is not None
            for name, tensor in vars(owner).items()
        }
        card = {
            "classes": list(self.classes),
            "features": self.features,
            "threshold": self.threshold,
            "trained_on": self.trained_on,
        }
        return card, tensors

    @classmethod
    def _of_parts(cls, tree: Any, tensors: Mapping[str, Any]) -> SpeciesClassifier:
        """What `_parts` gave.

        Raises:
            ValueError: something is missing.
        """
        try:
            parts: dict[str, dict[str, Any]] = {"regression": {}, "distance": {}}
            for name, tensor in tensors.items():
                part, _, attribute = name.partition(".")
                parts[part][attribute] = tensor
            return cls(
                classes=tuple(tree["classes"]),
                features=tree["features"],
                regression=Regression(**parts["regression"]),
                distance=Distance(**parts["distance"]) if parts["distance"] else None,
                threshold=tree["threshold"],
                trained_on=tree["trained_on"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"it lacks {error}") from None

    def to_bytes(self) -> tuple[str, bytes]:
        """The card as JSON, and the weights as safetensors."""
        from safetensors.numpy import save  # noqa: PLC0415 - where models are used only, it lacks

        card, tensors = self._parts()
        return json.dumps(card, indent=2) + "\n", save(tensors)

    @classmethod
    def of_bytes(cls, card: str, weights: bytes) -> SpeciesClassifier:
        """What `to_bytes` gave.

        Raises:
            ValueError: it is damaged.
        """
        from safetensors import SafetensorError  # noqa: PLC0415
        from safetensors.numpy import load  # noqa: PLC0415

        try:
            return cls._of_parts(json.loads(card), load(weights))
        except SafetensorError as error:
            raise ValueError(str(error)) from None

    def to_metadata(self) -> str:
        """All of it as one line of text, as it travels in an ONNX file: weights as npz, base64.

        numpy alone reads that, and it is the same text for the same weights.
        """
        card, tensors = self._parts()
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **tensors)
        weights = base64.b64encode(file.getvalue()).decode("ascii")
        return json.dumps({"card": card, "weights": weights})

    @classmethod
    def of_metadata(cls, text: str) -> SpeciesClassifier:
        """What `to_metadata` gave.

        Raises:
            ValueError: it is damaged.
        """
        try:
            tree = json.loads(text)
            content = base64.b64decode(tree["weights"], validate=True)
            with np.load(io.BytesIO(content), allow_pickle=False) as tensors:
                return cls._of_parts(tree["card"], tensors)
        except (KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"it is damaged: {error}") from None

    def save(self, folder: Path) -> None:
        """Write ``classifier.safetensors`` and ``classifier.json``.

        Raises:
            StorageError: the disk is full, or ``folder`` cannot be written.
        """
        make_folder(folder)
        card, weights = self.to_bytes()
        with write_whole(folder / WEIGHTS_NAME) as new:
            new.write_bytes(weights)
        with write_whole(folder / CARD_NAME) as new:
            new.write_text(card, encoding="utf-8", newline="\n")


def load_classifier(folder: Path) -> SpeciesClassifier | None:
    """The classifier in a folder; None where there is none.

    Raises:
        CacheError: its files are damaged.
    """
    if not (folder / CARD_NAME).is_file():
        return None
    try:
        card = (folder / CARD_NAME).read_text(encoding="utf-8")
        return SpeciesClassifier.of_bytes(card, (folder / WEIGHTS_NAME).read_bytes())
    except (OSError, ValueError) as error:
        raise CacheError(
            f"the species classifier cannot be read: {' '.join(str(error).split())[:300]}",
            where=folder,
            expected=f"{CARD_NAME} and {WEIGHTS_NAME}, as the classify stage writes them",
            remedy="dvc repro classify; or remove the folder, and no species are named",
        ) from None


def classifier_beside(decoder: Path, card: Mapping[str, Any]) -> SpeciesClassifier | None:
    """The classifier in the folder ``classifier`` beside a decoder's, if it takes its features.

    Args:
        decoder: the decoder's folder.
        card: its card.

    Raises:
        CacheError: there is one, and it is damaged.
    """
    folder = decoder.absolute().parent / "classifier"
    classifier = load_classifier(folder)
    if classifier is not None and not classifier.fits(card):
        log.warning(
            "no species are named: the classifier in %s has learned from other features than those "
            "of the decoder (dvc repro classify)",
            folder,
        )
        return None
    return classifier


def feature_facts(card: Mapping[str, Any]) -> dict[str, Any]:
    """Of a decoder's card or a cache's index, what decides the features, as JSON knows it."""
    facts: dict[str, Any] = json.loads(json.dumps({key: card[key] for key in FEATURE_KEYS}))
    return facts


def pool(features: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mean feature of the patches that a mask covers, each weighted by how much of it is.

    Args:
        features: ``(C, h, w)``.
        mask: ``(H, W)`` of any size.

    Returns:
        ``(C,)``, not a number where the mask is empty.
    """
    height, width = features.shape[1:]
    covered = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    total = covered.sum()
    if total == 0:
        return np.full(len(features), np.nan, np.float32)
    pooled: NDArray[np.float32] = np.tensordot(features.astype(np.float32), covered / total, 2)
    return pooled

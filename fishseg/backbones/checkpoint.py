"""A backbone on disk: four files in a folder, in the layout of the Hugging Face hub.

``config.json``               the architecture and its sizes
``model.safetensors``         the weights
``preprocessor_config.json``  mean and standard deviation of the pixels it was trained on
``source.json``               its name, where it came from, and the checksums of the other three
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from fishseg.errors import BackboneError
from fishseg.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PREPROCESSOR = "preprocessor_config.json"
SOURCE = "source.json"
HASHED = (CONFIG, WEIGHTS, PREPROCESSOR)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

REFETCH = "dvc repro --force backbone"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a backbone folder says about itself."""

    folder: Path
    name: str
    config: Mapping[str, Any]
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    weights_sha256: str


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read the small files of a backbone folder and check all of it against its checksums.

    Raises:
        BackboneError: a file is missing, is not JSON, or is not the one that was fetched.
    """
    source = read_json(folder / SOURCE, remedy=REFETCH)
    name, checksums = source.get("name"), source.get("sha256")
    if not isinstance(name, str) or not isinstance(checksums, dict):
        raise BackboneError(
            "this does not say which backbone lies beside it",
            where=folder / SOURCE,
            expected="the keys name and sha256",
            remedy=REFETCH,
        )
    found = _checksums(folder)
    for file in HASHED:
        if found[file] != checksums.get(file):
            raise BackboneError(
                "this file is not the one that was fetched: its checksum differs",
                where=folder / file,
                expected=f"sha256 {checksums.get(file)}",
                remedy=REFETCH,
            )
    mean, std = normalisation(
        read_json(folder / PREPROCESSOR, remedy=REFETCH), folder / PREPROCESSOR
    )
    return Checkpoint(
        folder=folder,
        name=name,
        config=read_json(folder / CONFIG, remedy=REFETCH),
        image_mean=mean,
        image_std=std,
        weights_sha256=_fingerprint(found),
    )


def weights_hash(folder: Path) -> str:
    """SHA-256 over everything that turns pixels into features: sizes, weights, normalisation.

    Raises:
        BackboneError: a file is missing or cannot be read.
    """
    return _fingerprint(_checksums(folder))


def write_source(folder: Path, facts: Mapping[str, str]) -> None:
    """Write ``source.json``: the facts, and the checksums of the files that now lie there."""
    write_json(folder / SOURCE, {**facts, "sha256": _checksums(folder)})


def read_json(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        BackboneError: the file is missing, or is no such JSON; with ``remedy``.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BackboneError(
            f"a backbone without {path.name}: {error.strerror}", where=path, remedy=remedy
        ) from None
    except ValueError as error:
        raise BackboneError(f"this is not JSON: {error}", where=path, remedy=remedy) from None
    if not isinstance(content, dict):
        raise BackboneError(
            "this JSON is not an object", where=path, expected="{...}", remedy=remedy
        )
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that is the same bytes for the same content."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def normalisation(
    preprocessor: Mapping[str, Any], where: Path
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of RGB in [0, 1]; ImageNet's where a preprocessor names none.

    Most backbones use ImageNet's, but not all: DINOv3's satellite models have their own.

    Raises:
        BackboneError: other than three numbers, or a standard deviation that is not positive.
    """
    mean = preprocessor.get("image_mean", IMAGENET_MEAN)
    std = preprocessor.get("image_std", IMAGENET_STD)
    for key, values in (("image_mean", mean), ("image_std", std)):
        numeric = isinstance(values, (list, tuple)) and all(
            isinstance(value, (int, float)) for value in values
        )
        if not numeric or len(values) != 3 or (key == "image_std" and min(values) <= 0):
            raise BackboneError(
                f"{key} is {values!r}",
                where=where,
                expected="three numbers for red, green and blue; standard deviations above 0",
            )
    return tuple(map(float, mean)), tuple(map(float, std))


def _checksums(folder: Path) -> dict[str, str]:
    try:
        return {file: file_sha256(folder / file) for file in HASHED}
    except OSError as error:
        raise BackboneError(
            f"the backbone is incomplete: {error.strerror}",
            where=error.filename,
            expected=f"{', '.join(HASHED)} in {folder}",
            remedy=REFETCH,
        ) from None


def _fingerprint(checksums: Mapping[str, str]) -> str:
    lines = "".join(f"{checksums[file]}  {file}\n" for file in HASHED)
    return hashlib.sha256(lines.encode()).hexdigest()

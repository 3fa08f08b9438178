"""A converted backbone without its weights: small enough to ship, filled where it is used.

What `fishseg.backbones.openvino_model` converts is a description of the network (OpenVINO's IR, as
XML) and a file of all constants, nearly all of whose bytes are the weights themselves. Here the
description is kept, which bytes are which tensor, and the few bytes that are none. With the tensors
at hand the file of constants is put together again, to the bit: its checksum says so. Neither torch
nor transformers is needed for that, and the features have the bits that converting would give.

A folder holds it as three files:

``backbone.xml.gz`` the description
``backbone.json``   `Weightless`: where each tensor goes
``backbone.rest``   the other bytes, one after the other
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fishseg.backbones.runtime import core
from fishseg.errors import BackboneError
from fishseg.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[np.float32]]

DESCRIPTION, PLACES, REST = "backbone.xml.gz", "backbone.json", "backbone.rest"
WHOLE, GRID = "whole", "grid"
_POSITIONS = "embeddings.position_embeddings"
_MIN_BYTES = 1024  # smaller constants are not worth a line of their own


class Part(NamedTuple):
    """A tensor among the constants.

    Attributes:
        start: of its first byte.
        tensor: its name in the checkpoint.
        form: ``whole``, or ``grid``: position embeddings ``(1, 1 + cells, D)`` without those of the
            class token, channels first.
    """

    start: int
    tensor: str
    form: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weightless:
    """What belongs to the description of a network whose weights are elsewhere.

    Attributes:
        name: the backbone's name, as in ``source.json``.
        weights_sha256: `fishseg.backbones.weights_hash` of its folder.
        layers: the layers that are stacked, counted from 1 or from -1 backwards.
        channels: of all of them together.
        patch_multiple: height and width in pixels must be multiples of it.
        n_bytes: of the file of constants.
        sha256: of that file.
        parts: the tensors in it, in its order.
    """

    name: str
    weights_sha256: str
    layers: tuple[int, ...]
    channels: int
    patch_multiple: int
    n_bytes: int
    sha256: str
    parts: tuple[Part, ...]

    @classmethod
    def read(cls, folder: Path) -> Weightless:
        """What `write` wrote.

        Raises:
            BackboneError: the file is missing or damaged.
        """
        try:
            tree = json.loads((folder / PLACES).read_text(encoding="utf-8"))
            parts = tuple(Part(*part) for part in tree.pop("parts"))
            return cls(**{**tree, "layers": tuple(tree["layers"])}, parts=parts)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackboneError(
                f"the description of a backbone cannot be read: {error}",
                where=folder / PLACES,
                remedy="install fishseg again",
            ) from None

    def filled(self, folder: Path, tensors: Tensors) -> bytes:
        """The file of constants.

        Args:
            folder: where ``backbone.rest`` lies.
            tensors: of the backbone, by their names in its checkpoint.

        Raises:
            BackboneError: these are not the tensors that it was made of.
        """
        content = bytearray(self.n_bytes)
        rest = (folder / REST).read_bytes()
        position = taken = 0
        try:
            for part in self.parts:
                gap = part.start - position
                content[position : part.start] = rest[taken : taken + gap]
                taken += gap
                values = _in_form(tensors[part.tensor], part.form).tobytes()
                position = part.start + len(values)
                content[part.start : position] = values
            content[position:] = rest[taken:]
            found = hashlib.sha256(content).hexdigest()
        except KeyError as error:
            found = f"no tensor {error}"
        if found != self.sha256:
            raise BackboneError(
                f"these are not the weights of {self.name} that belong to this decoder ({found})",
                where=folder,
                expected=f"constants with sha256 {self.sha256}",
                remedy="leave out --backbone, and they are fetched",
            )
        return bytes(content)

    def load(self, folder: Path, constants: bytes) -> Any:
        """OpenVINO's model of the description in ``folder`` and the constants of `filled`."""
        description = gzip.decompress((folder / DESCRIPTION).read_bytes())
        return core().read_model(description, constants)


def write(converted: tuple[Path, Path], tensors: Tensors, facts: dict[str, Any], out: Path) -> None:
    """Write the three files of a converted backbone.

    Args:
        converted: the XML file of OpenVINO's IR, and its file of constants.
        tensors: of the backbone, by their names in its checkpoint.
        facts: ``name``, ``weights_sha256``, ``layers``, ``channels`` and ``patch_multiple``.
        out: a folder.
    """
    description, constants = converted
    content = constants.read_bytes()
    known = {values.tobytes(): (name, WHOLE) for name, values in sorted(tensors.items())}
    if _POSITIONS in tensors:
        known[_in_form(tensors[_POSITIONS], GRID).tobytes()] = (_POSITIONS, GRID)
    parts, rest, position = [], [], 0
    for start, n_bytes in _constants(description):
        found = known.get(content[start : start + n_bytes])
        if n_bytes >= _MIN_BYTES and found is not None and start >= position:
            parts.append(Part(start, *found))
            rest.append(content[position:start])
            position = start + n_bytes
    weightless = Weightless(
        **facts,
        n_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        parts=tuple(parts),
    )
    text = json.dumps(dataclasses.asdict(weightless))
    with write_whole(out / PLACES) as new:
        new.write_text(text + "\n", encoding="utf-8", newline="\n")
    with write_whole(out / REST) as new:
        new.write_bytes(b"".join([*rest, content[position:]]))
    with write_whole(out / DESCRIPTION) as new:
        new.write_bytes(gzip.compress(description.read_bytes(), mtime=0))


def _constants(description: Path) -> list[tuple[int, int]]:
    """First byte and number of bytes of every constant, in their order."""
    layers = ET.parse(description).getroot().iter("layer")  # noqa: S314 - OpenVINO wrote it
    places = [layer.find("data") for layer in layers if layer.get("type") == "Const"]
    return sorted(
        {(int(one.get("offset", 0)), int(one.get("size", 0))) for one in places if one is not None}
    )


def _in_form(values: NDArray[np.float32], form: str) -> NDArray[np.float32]:
    return np.ascontiguousarray(values[0, 1:].T) if form == GRID else np.ascontiguousarray(values)

"""The backbone on CPUs: converted for OpenVINO once, kept in the store, compiled for each run.

Shapes: C channels of all selected layers together; h x w cells of the feature map.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import threading
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fishseg import store
from fishseg.backbones.checkpoint import Checkpoint, read_checkpoint
from fishseg.backbones.model import (
    LIBRARIES,
    TorchBackbone,
    check_pixels,
    first_line,
    load_torch_backbone,
    quiet_transformers,
)
from fishseg.backbones.runtime import BF16, F32, Compiled, core, openvino

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

MODEL, WEIGHTS, FACTS = "model.xml", "model.bin", "facts.json"
PRECISIONS = {torch.bfloat16: BF16, torch.float32: F32}


class OpenVinoBackbone:
    """A frozen network on the CPU that turns images into one feature map each.

    An image gives the same bits whatever computes it: all cores or one, alone or among others.

    Attributes:
        name: the backbone's name, as in ``source.json``.
        weights_sha256: `fishseg.backbones.weights_hash` of its folder.
        channels: C.
        patch_multiple: height and width in pixels must be multiples of it.
        dtype: what its matrix products are computed in.
        n_threads: how many threads it may use.
        model: OpenVINO's, not compiled yet.
    """

    def __init__(
        self, checkpoint: Checkpoint, model: Any, facts: dict[str, Any], dtype: torch.dtype
    ) -> None:
        self.name = checkpoint.name
        self.weights_sha256 = checkpoint.weights_sha256
        self.channels: int = facts["channels"]
        self.patch_multiple: int = facts["patch_multiple"]
        self.dtype = dtype
        self.n_threads = torch.get_num_threads()
        self.model = model
        self._compiled: dict[int, Compiled] = {}
        self._compiling = threading.Lock()

    def __call__(self, pixels: Tensor) -> Tensor:
        """The feature map of each image; all threads work on one image at a time.

        Args:
            pixels: ``(B, 3, H, W)`` uint8, RGB; H and W are multiples of ``patch_multiple``.

        Returns:
            ``(B, C, h, w)`` float32 on the grid of the finest selected layer.

        Raises:
            BackboneError: pixels of another type or shape.
        """
        return self._compute(pixels, n_streams=1)

    def on_one_thread(self, pixels: Tensor) -> Tensor:
        """The same, with one thread. ``n_threads`` threads may call it at once."""
        return self._compute(pixels, n_streams=self.n_threads)

    def _compute(self, pixels: Tensor, *, n_streams: int) -> Tensor:
        check_pixels(pixels, self.name, self.patch_multiple)
        compiled = self._on(n_streams)
        images = pixels.contiguous().numpy()
        return torch.cat(
            [torch.from_numpy(compiled(images[i : i + 1])) for i in range(len(images))]
        )

    def _on(self, n_streams: int) -> Compiled:
        with self._compiling:
            if n_streams not in self._compiled:
                self._compiled[n_streams] = Compiled(
                    self.model,
                    PRECISIONS[self.dtype],
                    n_streams=n_streams,
                    n_threads=self.n_threads,
                )
            return self._compiled[n_streams]


def load_openvino_backbone(
    folder: Path, layers: tuple[int, ...], dtype: torch.dtype
) -> OpenVinoBackbone | None:
    """The backbone in ``folder``, or None, with a line in the log, where OpenVINO cannot take it.

    Converted the first time, which takes seconds; one that is damaged is converted again.

    Raises:
        BackboneError: as `load_torch_backbone`.
        StorageError: the store cannot be written.
    """
    checkpoint = read_checkpoint(folder)
    found = _converted(checkpoint, layers)
    if found is None:
        return None
    place, facts = found
    return OpenVinoBackbone(checkpoint, core().read_model(place / MODEL), facts, dtype)


def converted_files(folder: Path, layers: tuple[int, ...]) -> tuple[Path, Path] | None:
    """The description and the constants of the converted backbone, as `load_openvino_backbone`."""
    found = _converted(read_checkpoint(folder), layers)
    return None if found is None else (found[0] / MODEL, found[0] / WEIGHTS)


def _converted(
    checkpoint: Checkpoint, layers: tuple[int, ...]
) -> tuple[Path, dict[str, Any]] | None:
    """Where the converted backbone lies in the store, and what is known of it."""
    if openvino() is None:
        log.warning("OpenVINO is not installed: torch computes the features, more slowly")
        return None
    name = store.fingerprint(
        {"weights": checkpoint.weights_sha256, "layers": list(layers)},
        modules=[__name__],
        libraries=LIBRARIES,
    )
    try:
        place = store.folder("converted") / name
        facts = _intact(place)
        if facts is None:
            network = load_torch_backbone(checkpoint.folder, layers)
            facts = _keep(_convert(network), network, place)
        store.mark_used(place)
    except _ConversionError as error:
        log.warning("%s; torch computes the features, more slowly", error)
        return None
    return place, facts


def _convert(network: TorchBackbone) -> Any:
    """One model for images of any size; normalisation is part of it."""
    log.info("converting %s for OpenVINO, once", network.name)
    side = 2 * network.patch_multiple
    example = torch.zeros(1, 3, side, side + network.patch_multiple, dtype=torch.uint8)
    try:
        with _quiet():
            model = openvino().convert_model(
                _Pixels(network), example_input=example, input=[(1, 3, -1, -1)]
            )
    except Exception as error:  # it raises whatever the network makes it
        raise _ConversionError(
            f"OpenVINO cannot convert {network.name}: {first_line(error)}"
        ) from error
    for node in model.get_ops():
        if node.get_type_name() == "Interpolate":
            # What is converted takes the first of several for a side of one patch; torch does not.
            node.set_attribute("coordinate_transformation_mode", "half_pixel")
    return model


class _ConversionError(Exception):
    """OpenVINO does not know a part of the network."""


class _Pixels(nn.Module):
    """What is converted: the network without checks, which depend on the image's size."""

    def __init__(self, network: TorchBackbone) -> None:
        super().__init__()
        self._network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """``(1, 3, H, W)`` uint8 to ``(1, C, h, w)`` float32."""
        return self._network.feature_map(pixels)


def _keep(model: Any, network: TorchBackbone, place: Path) -> dict[str, Any]:
    with store.write_whole(place) as new:
        new.mkdir()
        openvino().save_model(model, new / MODEL, compress_to_fp16=False)
        facts = {
            "channels": network.channels,
            "patch_multiple": network.patch_multiple,
            "sha256": {name: store.file_sha256(new / name) for name in (MODEL, WEIGHTS)},
        }
        (new / FACTS).write_text(json.dumps(facts), encoding="utf-8", newline="\n")
    return facts


def _intact(place: Path) -> dict[str, Any] | None:
    """What was kept with a model; None where it is missing or damaged, and then it goes."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        facts: dict[str, Any] = json.loads((place / FACTS).read_text(encoding="utf-8"))
        if facts["sha256"] == {name: store.file_sha256(place / name) for name in (MODEL, WEIGHTS)}:
            return facts
    shutil.rmtree(place, ignore_errors=True)
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No remarks on what happens inside these libraries while a network is traced."""
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

"""Image files to what a feature shard holds of them: read, resized, computed, rounded.

Shapes: H x W pixels of an image at its working size; C channels, h x w cells of its feature map.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from fishseg.backbones.openvino_model import OpenVinoBackbone
from fishseg.errors import CacheError
from fishseg.features.quantisation import dequantise, quantise
from fishseg.images.decoding import read_image
from fishseg.images.resizing import to_pixels
from fishseg.parallel import ordered_map

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fishseg.backbones.loading import Backbone

log = logging.getLogger(__name__)

# Where params.yaml leaves the batch size open; halved until it fits. On a CPU, images are computed
# one by one, as prediction computes them, to the last bit.
LARGEST_BATCH = {"cuda": 128, "cpu": 1}

# What a shard holds of one image, on the CPU: ``pixels (3, H, W)`` uint8, ``features (C, h, w)``
# float16, or int8 with ``scales``.
Row = dict[str, Tensor]


class ImageFile(NamedTuple):
    """An image file, and the working size ``(H, W)`` it is to be read at."""

    path: Path
    size: tuple[int, int]

    def read(self) -> NDArray[np.uint8]:
        """Its pixels, ``(3, H, W)`` RGB."""
        return to_pixels(read_image(self.path), self.size)


def compute_rows(
    images: Iterable[ImageFile],
    backbone: Backbone,
    device: torch.device,
    dtype: str,
    batch_size: int = 0,
) -> Iterator[Row]:
    """What is stored of each image, in order.

    Images are read ahead by threads, and a bounded number of rows wait, however many there are.

    Args:
        images: those of one size after one another, where batches shall be full.
        backbone: on ``device``.
        device: where to compute.
        dtype: what features are stored in, ``float16`` or ``int8``.
        batch_size: images in one pass of a GPU; 0 for as many as fit, up to 128.

    Raises:
        CacheError: not even one image fits into memory.
        DataError: an image that can no longer be read.
    """
    if isinstance(backbone, OpenVinoBackbone):
        return _an_image_a_thread(images, backbone, dtype)
    return _Batches(backbone, device, dtype, batch_size or LARGEST_BATCH[device.type]).run(images)


def _an_image_a_thread(
    images: Iterable[ImageFile], backbone: OpenVinoBackbone, dtype: str
) -> Iterator[Row]:
    """Each thread reads and computes images of its own: nobody waits for anybody."""

    def row(image: ImageFile) -> Row:
        pixels = torch.from_numpy(image.read())
        try:
            features = backbone.on_one_thread(pixels[None])
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise _too_large(torch.device("cpu")) from error
        stored = _rounded(features, dtype)
        return {"pixels": pixels, **{name: tensor[0] for name, tensor in stored.items()}}

    def be_alone() -> None:
        torch.set_num_threads(1)  # else each thread would have more of its own, to round numbers

    try:
        yield from ordered_map(row, images, workers=backbone.n_threads, initializer=be_alone)
    finally:
        torch.set_num_threads(backbone.n_threads)  # what threads that are yet to start will have


@dataclasses.dataclass(frozen=True, eq=False)
class _Batch:
    """Images of one size, and room for their pixels ``(B, 3, H, W)`` uint8."""

    images: list[ImageFile]
    pixels: Tensor

    def read(self, position: int) -> None:
        # Copied by numpy: torch would start threads of its own in each of these.
        self.pixels[position].numpy()[:] = self.images[position].read()


@dataclasses.dataclass
class _Batches:
    """Torch at work; its batches shrink where memory runs out."""

    backbone: Backbone
    device: torch.device
    dtype: str
    batch_size: int

    def run(self, images: Iterable[ImageFile]) -> Iterator[Row]:
        """What is stored of each image. A GPU computes the next batch while one is handed out."""
        waiting: deque[_Copied] = deque()
        for batch in self._read_ahead(images):
            waiting.append(self._copied(batch.pixels, self._compute(batch.pixels)))
            if len(waiting) > 1:
                yield from waiting.popleft().rows()
        while waiting:
            yield from waiting.popleft().rows()

    def _read_ahead(self, images: Iterable[ImageFile]) -> Iterator[_Batch]:
        places = (
            (batch, position)
            for batch in self._batches(images)
            for position in range(len(batch.images))
        )
        arrivals = ordered_map(_read, places, ahead=2 * self.batch_size)
        for batch, arrived in itertools.groupby(arrivals):
            deque(arrived, maxlen=0)  # wait for all of them
            yield batch

    def _batches(self, images: Iterable[ImageFile]) -> Iterator[_Batch]:
        pinned = self.device.type == "cuda"
        for size, same in itertools.groupby(images, key=lambda image: image.size):
            # The batch size may shrink on the way.
            while some := list(itertools.islice(same, self.batch_size)):
                shape = (len(some), 3, *size)
                yield _Batch(some, torch.empty(shape, dtype=torch.uint8, pin_memory=pinned))

    def _compute(self, pixels: Tensor) -> dict[str, Tensor]:
        parts = []
        start = 0
        while start < len(pixels):
            # The batch size may be smaller than when the batch was dealt.
            part = pixels[start : start + self.batch_size]
            stored = self._try(part)
            if stored is None:
                self._shrink(len(part))
            else:
                parts.append(stored)
                start += len(part)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _try(self, pixels: Tensor) -> dict[str, Tensor] | None:
        """What is stored of pixels, or None where the memory runs out."""
        try:
            return compute(pixels, self.backbone, self.device, self.dtype)
        except RuntimeError as error:  # that is what torch.OutOfMemoryError is, too
            if not _is_out_of_memory(error):
                raise
            return None

    def _shrink(self, n_failed: int) -> None:
        if n_failed == 1:
            raise _too_large(self.device)
        self.batch_size = min(self.batch_size, n_failed // 2)
        log.warning("out of memory; going on with batches of %d", self.batch_size)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _copied(self, pixels: Tensor, stored: dict[str, Tensor]) -> _Copied:
        if self.device.type != "cuda":
            return _Copied({"pixels": pixels, **stored}, None)
        host = {name: tensor.to("cpu", non_blocking=True) for name, tensor in stored.items()}
        # Of the device that copies, which need not be the current one.
        event: torch.cuda.Event = torch.cuda.current_stream(self.device).record_event()
        return _Copied({"pixels": pixels, **host}, event)


class _Copied(NamedTuple):
    """A batch on the CPU, and the event after which a GPU has copied it, if one has to."""

    tensors: dict[str, Tensor]
    event: torch.cuda.Event | None

    def rows(self) -> Iterator[Row]:
        if self.event is not None:
            self.event.synchronize()
        for position in range(len(self.tensors["pixels"])):
            yield {name: tensor[position] for name, tensor in self.tensors.items()}


def _read(place: tuple[_Batch, int]) -> _Batch:
    batch, position = place
    batch.read(position)
    return batch


def _is_out_of_memory(error: RuntimeError) -> bool:
    # On the CPU neither torch nor OpenVINO has a class of its own for it.
    signs = ("not enough memory", "bad_alloc")
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)


def _too_large(device: torch.device) -> CacheError:
    return CacheError(
        "one image at a time is too much for the memory",
        where=f"the device {device}",
        remedy="dvc exp run -S features.megapixels=…, half of what it is; or close what else uses "
        "the memory",
    )


def compute(
    pixels: Tensor, backbone: Backbone, device: torch.device, dtype: str
) -> dict[str, Tensor]:
    """What a feature shard holds of pixels ``(B, 3, H, W)`` uint8: features, and scales if int8."""
    return _rounded(backbone(pixels.to(device, non_blocking=True)), dtype)


def _rounded(features: Tensor, dtype: str) -> dict[str, Tensor]:
    if dtype == "int8":
        steps, scales = quantise(features)
        return {"features": steps, "scales": scales}
    return {"features": features.to(torch.float16)}


def features_of(
    pixels: Tensor, backbone: Backbone, device: torch.device, dtype: str = "float16"
) -> Tensor:
    """Features ``(B, C, h, w)`` float16 on the CPU, of pixels ``(B, 3, H, W)`` uint8.

    The same numbers as the cache gives, where ``dtype`` is that of its index.
    """
    stored = compute(pixels, backbone, device, dtype)
    features = stored["features"]
    if dtype == "int8":
        features = dequantise(features, stored["scales"])
    return features.cpu()

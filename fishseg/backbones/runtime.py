"""OpenVINO, which computes networks on CPUs: numpy arrays in, numpy arrays out, no torch.

Nothing is reported to anybody: the package by which OpenVINO tells its makers of every import and
conversion is kept from being imported, installed or not.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import warnings
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from fishseg.errors import ModelError, ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REPORTER = "openvino_telemetry"
BF16, F32 = "bf16", "f32"  # what OpenVINO calls the types that matrix products are computed in


_importing = threading.Lock()


@functools.cache
def openvino() -> Any:
    """The library, or None where it is not installed."""
    with _importing:
        return _imported()


def _imported() -> Any:
    # It imports this where it can, and has a stub of its own where it cannot.
    sys.modules[REPORTER] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import openvino as library  # noqa: PLC0415 (slow to import, and may be absent)
    except ImportError:
        return None
    # The first call makes a table of types. Two threads that make it at once wait for each other
    # for ever: one for the other's table, the other for Python's lock, which the first one holds.
    library.Type.u8.to_dtype()
    return library


@functools.cache
def core() -> Any:
    """OpenVINO's own core, one for the whole process.

    Raises:
        ModelError: OpenVINO is not installed.
    """
    if openvino() is None:
        raise ModelError("OpenVINO is not installed", remedy="pip install openvino")
    return openvino().Core()


def read_model(model: Path | bytes) -> Any:
    """OpenVINO's model, not compiled yet, of an ONNX file, of its content, or of an IR's XML file.

    Raises:
        ModelError: OpenVINO is not installed; the file is missing or no model.
    """
    where = model if isinstance(model, Path) else "the exported model"
    if isinstance(model, Path) and not model.is_file():
        raise ModelError(
            "there is no such file", where=where, remedy="fishseg export --out model.onnx"
        )
    library = core()
    try:
        return library.read_model(model)
    except Exception as error:  # RuntimeError and others, whatever the file makes it
        raise unusable(where, error) from None


def metadata_of(model: Any, key: str) -> str | None:
    """What the metadata of an ONNX file say under a key; None where they do not have it."""
    place = ["framework", key]
    return str(model.get_rt_info(place).value) if model.has_rt_info(place) else None


def precision() -> str:
    """What a network is computed in: ``bf16`` where the CPU is made for it, else ``f32``.

    ``FISHSEG_PRECISION`` may say ``bf16`` or ``fp32`` instead.

    Raises:
        ParameterError: it says something else.
    """
    wanted = os.environ.get("FISHSEG_PRECISION")
    if not wanted:
        chosen = core().get_property("CPU", "INFERENCE_PRECISION_HINT")
        return BF16 if chosen == openvino().Type.bf16 else F32
    if wanted not in ("bf16", "fp32"):
        raise ParameterError(
            f"there is no precision {wanted!r}",
            where="the environment variable FISHSEG_PRECISION",
            expected="bf16 or fp32",
            remedy="unset FISHSEG_PRECISION to let fishseg choose",
        )
    return BF16 if wanted == "bf16" else F32


def n_threads() -> int:
    """How many threads ``OMP_NUM_THREADS`` allows; 0, OpenVINO's own choice, where it is silent."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() else 0


def compile_model(model: Any, dtype: str, n_streams: int, n_threads: int) -> Any:
    """OpenVINO's compiled model for this CPU, its threads dealt to streams; 0 threads: its choice.

    Raises:
        RuntimeError: of OpenVINO: it cannot run the model, or memory is short.
    """
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": dtype,
        "NUM_STREAMS": n_streams,
        # Pinned, each process begins at the first core: two at once would share it, and be half as
        # fast as the system makes them.
        "ENABLE_CPU_PINNING": False,
    }
    if n_threads:
        options["INFERENCE_NUM_THREADS"] = n_threads
    return core().compile_model(model, "CPU", options)


class Compiled:
    """A model made ready for this CPU, and a place to compute for each of its streams.

    Args:
        model: of `read_model`.
        dtype: ``bf16`` or ``f32``, of its matrix products.
        n_streams: how many calls may run at once.
        n_threads: of all streams together; 0 for OpenVINO's own choice.
    """

    def __init__(self, model: Any, dtype: str, *, n_streams: int = 1, n_threads: int = 0) -> None:
        compiled = compile_model(model, dtype, n_streams, n_threads)
        # A result may have several names, or none.
        self._names = [output.get_names() for output in compiled.outputs]
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(n_streams):
            self._free.put(compiled.create_infer_request())

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The first result of C-contiguous inputs, in the order of the model's."""
        return self.results(*inputs)[0]

    def named(self, *inputs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """All results by the model's names for them, of C-contiguous inputs in its order."""
        found = zip(self._names, self.results(*inputs), strict=True)
        return {name: result for names, result in found for name in names}

    def results(self, *inputs: NDArray[Any]) -> list[NDArray[np.float32]]:
        """All results of C-contiguous inputs, both in the order of the model's."""
        request = self._free.get()
        try:
            request.infer(dict(enumerate(inputs)), share_inputs=True)
            # The next call overwrites what is copied here.
            return [tensor.data.copy() for tensor in request.output_tensors]
        finally:
            self._free.put(request)


def unusable(where: object, error: Exception) -> ModelError:
    """The error of a model that OpenVINO refuses."""
    # Its messages begin with the place in its own sources, a line each.
    lines = [line for line in str(error).splitlines() if line and "Exception from" not in line]
    reason = " ".join(" ".join(lines).split())[:300] or type(error).__name__
    return ModelError(
        f"this is no model that OpenVINO can run: {reason}",
        where=where,
        expected="a file that fishseg export wrote, whole",
        remedy="copy or export it again; a newer OpenVINO may know more",
    )

"""Where a run happens: the environment's business, never a parameter's."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import psutil
import torch

from fishseg.errors import ParameterError

log = logging.getLogger(__name__)

PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}
KINDS = ("cpu", "cuda")  # AMD's GPUs are called cuda, too
THREADS = 2  # of stages whose sums depend on how many threads share them
MEMORY_SHARE = 0.6  # the rest is for what a step needs, and for the system's page cache


def select() -> torch.device:
    """The device to compute on (see `find`), and torch set up for it; once, before all else.

    Torch is asked for algorithms that give the same bits twice. Where there are several GPUs, the
    one that computes also becomes the current one.

    Raises:
        ParameterError: as `find`.
    """
    # cuBLAS reads this when CUDA starts; without it its matrix products are not reproducible.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # MKL chooses by the maker of a processor how it adds up a matrix product, unless told to do it
    # in the way that all of them can. It reads this at its first product.
    os.environ.setdefault("MKL_CBWR", "COMPATIBLE")
    device = find()
    torch.use_deterministic_algorithms(True)
    # Else every `torch.empty` is filled, in case somebody reads what was never written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    if device.type == "cuda":
        torch.cuda.set_device(device)
    log.info("running on %s with %d CPU threads", device, torch.get_num_threads())
    return device


def fix_threads(device: torch.device) -> None:
    """Compute with `THREADS` threads on a CPU, however many cores it has: the bits are the same.

    ``OMP_NUM_THREADS`` overrules it.
    """
    if device.type == "cpu" and not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(THREADS)
        log.info("%d CPU threads, as on every machine", THREADS)


def find() -> torch.device:
    """The device of ``FISHSEG_DEVICE``, or a GPU where there is one, else the CPU.

    Of several GPUs, the first; a worker of Ray's (`fishseg.cluster`) sees its own alone.

    Raises:
        ParameterError: ``FISHSEG_DEVICE`` names no device, or one that fishseg does not know, or
            that this machine does not have.
    """
    name = os.environ.get("FISHSEG_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda":
        name = "cuda:0"  # with a number: the one that becomes the current one
    try:
        device = torch.device(name)
        if device.type not in KINDS:
            raise RuntimeError(f"fishseg was never run on {device.type}")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ParameterError(
            f"the device {name!r} cannot be used: {str(error).splitlines()[0]}",
            where="the environment variable FISHSEG_DEVICE",
            expected="cpu, cuda or cuda:NUMBER",
            remedy="unset FISHSEG_DEVICE to let fishseg choose",
        ) from None
    return device


def precision(device: torch.device) -> torch.dtype:
    """The type the frozen backbone computes in.

    bfloat16 on a GPU and on a CPU with bfloat16 dot products, float32 elsewhere, unless
    ``FISHSEG_PRECISION`` says ``bf16`` or ``fp32``. What a CPU has decides, never a measurement:
    the same machine must give the same bits twice.

    Raises:
        ParameterError: ``FISHSEG_PRECISION`` names something else.
    """
    wanted = os.environ.get("FISHSEG_PRECISION")
    if wanted:
        if wanted not in PRECISIONS:
            raise ParameterError(
                f"there is no precision {wanted!r}",
                where="the environment variable FISHSEG_PRECISION",
                expected=" or ".join(PRECISIONS),
                remedy="unset FISHSEG_PRECISION to let fishseg choose",
            )
        return PRECISIONS[wanted]
    fast = device.type == "cuda" or (device.type == "cpu" and _has_bfloat16_products())
    return torch.bfloat16 if fast else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """The context in which a decoder computes while it is trained: `precision` where it is safe."""
    dtype = precision(device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def _has_bfloat16_products() -> bool:
    """Whether the CPU has AVX512-BF16 or AMX; without, bfloat16 is emulated and slow."""
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def memory_budget(device: torch.device) -> int:
    """Bytes of a device's memory that data may fill for good.

    A good half of what is free, or ``FISHSEG_MEMORY_GB`` where that is less.

    Raises:
        ParameterError: ``FISHSEG_MEMORY_GB`` is no number.
    """
    if device.type == "cuda":
        free: float = torch.cuda.mem_get_info(device)[0]
    else:
        free = min(psutil.virtual_memory().available, _free_in_container())
    limit = os.environ.get("FISHSEG_MEMORY_GB") or "inf"
    try:
        return int(min(MEMORY_SHARE * free, float(limit) * 1e9))
    except (ValueError, OverflowError):
        raise ParameterError(
            f"{limit!r} is no number of gigabytes",
            where="the environment variable FISHSEG_MEMORY_GB",
            expected="for example 8, or 0 to keep nothing in memory",
        ) from None


def _free_in_container() -> float:
    """What the memory limit of a container leaves free, in bytes; without a limit, infinite."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text("ascii").strip()
        used = int((group / "memory.current").read_text("ascii"))
    except (OSError, ValueError):
        return math.inf
    return math.inf if limit == "max" else max(0, int(limit) - used)

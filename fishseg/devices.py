"""Where a run happens: the environment's business, never a parameter's."""

from __future__ import annotations

import logging
import os

import torch

from fishseg.errors import ParameterError

log = logging.getLogger(__name__)


def select() -> torch.device:
    """The device of ``FISHSEG_DEVICE``, or a GPU where there is one, else the CPU.

    Also asks torch for deterministic algorithms, so that one seed gives one result on one machine.

    Raises:
        ParameterError: ``FISHSEG_DEVICE`` names no device, or one this machine does not have.
    """
    # cuBLAS reads this when CUDA starts; without it its matrix products are not reproducible.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    name = os.environ.get("FISHSEG_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ParameterError(
            f"the device {name!r} cannot be used: {str(error).splitlines()[0]}",
            where="the environment variable FISHSEG_DEVICE",
            expected="cpu, cuda or cuda:NUMBER",
            remedy="unset FISHSEG_DEVICE to let fishseg choose",
        ) from None
    log.info("running on %s with %d CPU threads", device, torch.get_num_threads())
    return device


def precision(device: torch.device) -> torch.dtype:
    """The type the frozen backbone computes in: bfloat16 on a GPU, float32 elsewhere."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32

"""Choosing a device, which also decides how torch computes; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

SELECT = """
import torch
from fishseg import devices
device = devices.select()
print(device, torch.are_deterministic_algorithms_enabled())
print(torch.utils.deterministic.fill_uninitialized_memory)
"""


def select(device: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FISHSEG_DEVICE": device}
    return subprocess.run(
        [sys.executable, "-c", SELECT], capture_output=True, check=False, text=True, env=environment
    )


def test_algorithms_are_deterministic_and_no_memory_is_filled_in_vain() -> None:
    done = select("cpu")
    assert done.stdout.splitlines() == ["cpu True", "False"], done.stderr


def test_a_device_that_does_not_exist_is_one_clear_error() -> None:
    error = select("abacus").stderr
    assert "the device 'abacus' cannot be used" in error
    assert "FISHSEG_DEVICE" in error

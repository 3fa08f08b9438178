"""Choosing a device, which also decides how torch computes; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from fishseg import devices
from fishseg.errors import ParameterError
from fishseg.parallel import n_cpus

SELECT = """
import torch
from fishseg import devices
print(devices.find(), torch.are_deterministic_algorithms_enabled())
device = devices.select()
print(device, torch.are_deterministic_algorithms_enabled())
print(torch.utils.deterministic.fill_uninitialized_memory)
"""


def select(device: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FISHSEG_DEVICE": device}
    return subprocess.run(
        [sys.executable, "-c", SELECT], capture_output=True, check=False, text=True, env=environment
    )


def test_selecting_sets_torch_up_and_finding_does_not() -> None:
    done = select("cpu")
    assert done.stdout.splitlines() == ["cpu False", "cpu True", "False"], done.stderr


def test_the_gpu_that_computes_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(devices, "find", lambda: torch.device("cuda:1"))
    before = torch.are_deterministic_algorithms_enabled()
    try:
        assert devices.select() == torch.device("cuda:1")
    finally:
        torch.use_deterministic_algorithms(before)
    assert current == [torch.device("cuda:1")]


def test_cuda_is_the_first_gpu_that_this_process_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(torch, "empty", lambda _, device: asked.append(device))
    for name, number in (("cuda", 0), ("cuda:1", 1)):
        monkeypatch.setenv("FISHSEG_DEVICE", name)
        assert devices.find() == torch.device("cuda", number)
    assert asked == [torch.device("cuda:0"), torch.device("cuda:1")]


def test_mps_says_that_it_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHSEG_DEVICE", "mps")
    with pytest.raises(ParameterError, match=r"(?s)'mps' cannot be used: fishseg was never run on"):
        devices.find()


def test_only_processors_that_this_process_may_use_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 5, 7}, raising=False)
    assert n_cpus() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert n_cpus() == 6


def test_a_device_that_does_not_exist_is_one_clear_error() -> None:
    error = select("abacus").stderr
    assert "the device 'abacus' cannot be used" in error
    assert "FISHSEG_DEVICE" in error

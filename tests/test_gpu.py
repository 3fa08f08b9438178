"""What only a CUDA device can show; skipped where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fishseg.backbones import load_backbone
from fishseg.decoders.upsampling import upsample
from fishseg.features.compute import features_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_bfloat16_features_are_those_of_the_cpu_to_a_hundredth(tiny_backbone: Path) -> None:
    pixels = torch.randint(0, 256, (4, 3, 56, 84), dtype=torch.uint8)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    expected = features_of(pixels, load_backbone(tiny_backbone, (-1,)), cpu).float()
    backbone = load_backbone(tiny_backbone, (-1,), torch.bfloat16, gpu)
    found = features_of(pixels, backbone, gpu).float()
    assert float((found - expected).norm() / expected.norm()) < 0.01


def test_upsampling_has_a_deterministic_backward_pass() -> None:
    # In a process of its own: cuBLAS reads its setting once, when CUDA starts.
    program = """
import torch
from fishseg import devices
from fishseg.decoders.upsampling import upsample
devices.select()
maps = torch.randn(8, 1, 32, 42, device="cuda", requires_grad=True)
weight = torch.randn(8, 1, 448, 588, device="cuda")
gradients = [torch.autograd.grad((upsample(maps, (448, 588)) * weight).sum(), maps)[0]
             for _ in range(5)]
assert all(torch.equal(gradients[0], gradient) for gradient in gradients)
"""
    environment = {**os.environ, "FISHSEG_DEVICE": "cuda"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_upsampling_agrees_with_the_cpu() -> None:
    maps = torch.randn(2, 3, 8, 9)
    torch.testing.assert_close(upsample(maps.cuda(), (30, 40)).cpu(), upsample(maps, (30, 40)))


def test_every_decoder_and_loss_trains_with_the_same_bits_twice() -> None:
    program = """
import torch
from fishseg import decoders, devices
from fishseg.training.augmentation import jitter_colors
from fishseg.training.losses import LOSSES
device = devices.select()
features = torch.randn(4, 16, 8, 9, device=device)
pixels = torch.randint(0, 256, (4, 3, 112, 126), dtype=torch.uint8, device=device)
target = (torch.rand(4, 1, 112, 126, device=device) > 0.5).float()
for name in decoders.DECODERS:
    for loss in LOSSES.values():
        states = []
        for _ in range(2):
            torch.manual_seed(0)
            decoder = decoders.build(name, 16).to(device)
            optimizer = torch.optim.AdamW(decoder.parameters(), fused=True)
            for _ in range(3):
                with devices.autocast(device):
                    logits = decoder(features, jitter_colors(pixels, 0.3))
                optimizer.zero_grad()
                loss(logits, target).backward()
                optimizer.step()
            states.append(decoder.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(*map(dict.values, states))), name
"""
    environment = {**os.environ, "FISHSEG_DEVICE": "cuda"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)

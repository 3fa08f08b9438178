"""What only a CUDA device can show; skipped where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fishseg.backbones import load_backbone
from fishseg.decoders.files import WEIGHTS_NAME
from fishseg.decoders.upsampling import upsample
from fishseg.features.compute import features_of
from fishseg.features.shards import FeatureCache
from fishseg.params import FeaturesParams, TrainParams

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def run(program: str, *arguments: object, device: str = "cuda", **environment: str) -> str:
    """What a program writes to standard error, its log.

    In a process of its own: cuBLAS reads its setting once, when CUDA starts.
    """
    process = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        check=False,
        env=os.environ | {"FISHSEG_DEVICE": device} | environment,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stderr


def test_bfloat16_features_are_those_of_the_cpu_to_a_hundredth(tiny_backbone: Path) -> None:
    pixels = torch.randint(0, 256, (4, 3, 56, 84), dtype=torch.uint8)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    expected = features_of(pixels, load_backbone(tiny_backbone, (-1,)), cpu).float()
    backbone = load_backbone(tiny_backbone, (-1,), torch.bfloat16, gpu)
    found = features_of(pixels, backbone, gpu).float()
    assert float((found - expected).norm() / expected.norm()) < 0.01


def test_upsampling_has_a_deterministic_backward_pass() -> None:
    run("""
import torch
from fishseg import devices
from fishseg.decoders.upsampling import upsample
devices.select()
maps = torch.randn(8, 1, 32, 42, device="cuda", requires_grad=True)
weight = torch.randn(8, 1, 448, 588, device="cuda")
gradients = [torch.autograd.grad((upsample(maps, (448, 588)) * weight).sum(), maps)[0]
             for _ in range(5)]
assert all(torch.equal(gradients[0], gradient) for gradient in gradients)
""")


def test_upsampling_agrees_with_the_cpu() -> None:
    maps = torch.randn(2, 3, 8, 9)
    torch.testing.assert_close(upsample(maps.cuda(), (30, 40)).cpu(), upsample(maps, (30, 40)))


def test_every_decoder_and_loss_trains_with_the_same_bits_twice() -> None:
    run("""
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
""")


EXTRACT = """
import logging, sys
from pathlib import Path
import pandas as pd
import torch
from fishseg import devices
from fishseg.backbones import load_torch_backbone
from fishseg.features.extraction import extract
from fishseg.params import FeaturesParams
logging.basicConfig(level=logging.INFO)
folder, wanted, out, megabytes = sys.argv[1:]
device = devices.select()
if float(megabytes):
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(float(megabytes) * 1e6 / total, device)
backbone = load_torch_backbone(Path(folder), (-1,), devices.precision(device), device)
table = pd.read_csv("inventory.csv", dtype={"mask_rule": str})
extract(table, backbone, FeaturesParams.model_validate_json(wanted), Path(out), device)
"""


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_files_become_the_same_shards_twice_and_nearly_those_of_the_cpu(
    inventory: pd.DataFrame, tiny_backbone: Path, features_params: FeaturesParams
) -> None:
    inventory.to_csv("inventory.csv", index=False)
    wanted = features_params.model_dump_json()
    for name in ("one", "two"):
        run(EXTRACT, tiny_backbone, wanted, name, 0, FISHSEG_STORE=f"store-{name}")
    run(EXTRACT, tiny_backbone, wanted, "cpu", 0, device="cpu", FISHSEG_PRECISION="fp32")
    assert contents("one") == contents("two")
    gpu, cpu = (FeatureCache(Path(name)) for name in ("one", "cpu"))
    samples = list(inventory["sample_id"])
    found, expected = gpu.batch(samples), cpu.batch(samples)
    assert torch.equal(found.pixels, expected.pixels)
    error = (found.features.float() - expected.features.float()).norm()
    assert float(error / expected.features.float().norm()) < 0.01


def test_batches_shrink_until_they_fit_into_the_memory(
    inventory: pd.DataFrame, tiny_backbone: Path, features_params: FeaturesParams
) -> None:
    for path in [*inventory["image_path"], *inventory["mask_path"]]:
        Image.open(path).resize((1180, 880), Image.Resampling.NEAREST).save(path)
    inventory.assign(width=1180, height=880).to_csv("inventory.csv", index=False)
    large = features_params.model_copy(
        update={"megapixels": 1.0, "batch_size": 0, "shard_size": 8}
    ).model_dump_json()
    run(EXTRACT, tiny_backbone, large, "free", 0, FISHSEG_STORE="store-free")
    log = run(EXTRACT, tiny_backbone, large, "tight", 120, FISHSEG_STORE="store-tight")
    assert "out of memory; going on with batches of" in log
    free, tight = (FeatureCache(Path(name)) for name in ("free", "tight"))
    samples = list(inventory["sample_id"])
    expected = free.batch(samples).features.float()
    error = (tight.batch(samples).features.float() - expected).norm()
    assert float(error / expected.norm()) < 0.01


TRAIN = """
import logging, sys
from pathlib import Path
import pandas as pd
from fishseg import devices
from fishseg.decoders.files import save_decoder
from fishseg.features.shards import FeatureCache
from fishseg.params import TrainParams
from fishseg.training import loop
logging.basicConfig(level=logging.INFO)
params = TrainParams.model_validate_json(sys.argv[1])
run_epoch, last = loop._run_epoch, int(sys.argv[3])
def until(run, progress, epoch):
    if epoch == last:
        sys.exit()
    return run_epoch(run, progress, epoch)
loop._run_epoch = until
device = devices.select()
cache, manifest = FeatureCache(Path("features")), pd.read_csv("manifest.csv")
result = loop.train(cache, manifest, params, device)
save_decoder(result.decoder, result.card, Path(sys.argv[2]))
"""


@pytest.fixture
def features(cache: FeatureCache) -> Path:
    """The folder of the cache, with ``manifest.csv`` beside it."""
    samples = [name for shard in cache.index.shards for name in shard.sample_ids]
    splits = ["val" if number % 4 == 0 else "train" for number in range(len(samples))]
    pd.DataFrame({"sample_id": samples, "split": splits}).to_csv("manifest.csv", index=False)
    return cache.folder


@pytest.mark.usefixtures("features")
@pytest.mark.parametrize("decoder", ["detail", "linear"])
def test_from_memory_from_shards_or_after_a_kill_training_ends_with_the_same_bits(
    train_params: TrainParams, decoder: str
) -> None:
    params = train_params.model_copy(update={"decoder": decoder, "ema_decay": 0.9})
    wanted = params.model_dump_json()
    run(TRAIN, wanted, "memory", 0, FISHSEG_STORE="store-memory")
    run(TRAIN, wanted, "shards", 0, FISHSEG_STORE="store-shards", FISHSEG_MEMORY_GB="0")
    run(TRAIN, wanted, "killed", 3, FISHSEG_STORE="store-killed")
    assert not Path("killed").exists()
    log = run(TRAIN, wanted, "killed", 0, FISHSEG_STORE="store-killed")
    assert "resuming after epoch 2" in log
    expected = load_file(Path("memory") / WEIGHTS_NAME)
    for name in ("shards", "killed"):
        found = load_file(Path(name) / WEIGHTS_NAME)
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name


PREDICT = """
import sys
import numpy as np
import fishseg
model = fishseg.load("decoder", backbone=sys.argv[1])
np.save(sys.argv[2], np.stack([result.probability for result in model(sys.argv[3:])]))
"""


@pytest.mark.usefixtures("features")
def test_predictions_are_nearly_those_of_the_cpu(
    inventory: pd.DataFrame, tiny_backbone: Path, train_params: TrainParams
) -> None:
    run(TRAIN, train_params.model_dump_json(), "decoder", 0)
    images = list(inventory["image_path"].head(3))
    for device in ("cpu", "cuda"):
        run(PREDICT, tiny_backbone, f"{device}.npy", *images, device=device)
    np.testing.assert_allclose(np.load("cuda.npy"), np.load("cpu.npy"), atol=0.03)

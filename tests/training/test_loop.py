from __future__ import annotations

import dataclasses
import errno
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fishseg import __version__, splits, store
from fishseg.decoders.files import WEIGHTS_NAME, load_decoder, save_decoder
from fishseg.decoders.inference import decode
from fishseg.errors import CacheError, ParameterError, StorageError, TrainingError
from fishseg.features.shards import FeatureCache
from fishseg.metrics.hysteresis import CANDIDATES, keep_certain
from fishseg.metrics.masks import batch_counts, iou, overlap_counts
from fishseg.params import SplitParams, TrainParams
from fishseg.training import loop, losses

CPU = torch.device("cpu")


@pytest.fixture
def manifest(cache: FeatureCache, split_params: SplitParams) -> pd.DataFrame:
    samples = [name for shard in cache.index.shards for name in shard.sample_ids]
    table = pd.DataFrame({"sample_id": samples, "group_id": samples, "mask_status": "ok"})
    table["class_name"] = table["sample_id"].str.split("/").str[0]
    return splits.make_manifest(table, split_params.model_copy(update={"test_fraction": 0}))


TRAIN = """
import os, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
from pathlib import Path
import pandas as pd
from fishseg import devices
from fishseg.decoders.files import save_decoder
from fishseg.features.shards import FeatureCache
from fishseg.params import TrainParams
from fishseg.training import loop
device = devices.select()
devices.fix_threads(device)
params = TrainParams.model_validate_json(sys.argv[2])
result = loop.train(FeatureCache(Path("features")), pd.read_csv("manifest.csv"), params, device)
save_decoder(result.decoder, result.card, Path(sys.argv[3]))
"""


def test_another_machine_gives_the_same_bits(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams
) -> None:
    """One core and smaller vectors here, all cores and the largest ones there."""
    manifest.to_csv("manifest.csv", index=False)
    params = train_params.model_copy(update={"decoder": "detail", "epochs": 1, "batch_size": 4})
    smaller = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    found = set()
    for name, n_cores, settings in (("small", 1, smaller), ("large", 64, {})):
        environment = os.environ | {"FISHSEG_STORE": f"store-{name}"} | settings
        environment.pop("OMP_NUM_THREADS", None)
        subprocess.run(
            [sys.executable, "-c", TRAIN, str(n_cores), params.model_dump_json(), name],
            env=environment,
            check=True,
        )
        found.add((Path(name) / WEIGHTS_NAME).read_bytes())
    assert len(found) == 1


def decoder_bytes(result: loop.TrainingResult, folder: Path) -> bytes:
    save_decoder(result.decoder, result.card, folder)
    return (folder / WEIGHTS_NAME).read_bytes()


def test_it_learns_and_keeps_the_best_epoch(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams
) -> None:
    result = loop.train(cache, manifest, train_params.model_copy(update={"epochs": 15}), CPU)
    epochs = result.epochs
    assert epochs["train_loss"].iloc[-1] < epochs["train_loss"].iloc[0] / 2
    assert epochs["train_iou"].iloc[-1] > 0.6
    best = epochs[epochs["best"] == 1]
    assert len(best) == 1
    assert float(best["val_iou"].iloc[0]) == epochs["val_iou"].max()
    assert result.summary["best_epoch"] == int(best["epoch"].iloc[0])
    assert result.summary["n_train"] == 6
    assert result.summary["n_val"] == 2


def test_the_kept_weights_are_those_of_the_best_epoch(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams
) -> None:
    result = loop.train(cache, manifest, train_params.model_copy(update={"epochs": 8}), CPU)
    val = list(manifest.loc[manifest["split"] == "val", "sample_id"])
    batch = cache.batch(val)
    with torch.inference_mode():
        logits = result.decoder.eval()(batch.features.float(), batch.pixels)
    prediction, target = logits > 0, batch.target().bool()
    iou = (prediction & target).sum((1, 2, 3)) / (prediction | target).sum((1, 2, 3))
    assert float(iou.mean()) == pytest.approx(result.epochs["val_iou"].max(), abs=1e-6)


def test_one_seed_one_result(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams, workspace: Path
) -> None:
    first = loop.train(cache, manifest, train_params, CPU)
    again = loop.train(cache, manifest, train_params, CPU)
    other = loop.train(cache, manifest, train_params.model_copy(update={"seed": 2}), CPU)
    assert decoder_bytes(first, workspace / "a") == decoder_bytes(again, workspace / "b")
    assert decoder_bytes(first, workspace / "a") != decoder_bytes(other, workspace / "c")
    pd.testing.assert_frame_equal(first.steps, again.steps)


def killed_in_epoch(
    epoch: int, cache: FeatureCache, manifest: pd.DataFrame, params: TrainParams
) -> None:
    """Train until an epoch begins, and no further."""
    run_epoch = loop._run_epoch

    def die(*args: Any) -> Any:
        if args[-1] == epoch:
            raise KeyboardInterrupt
        return run_epoch(*args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(loop, "_run_epoch", die)
        loop.train(cache, manifest, params, CPU)


# linear and detail draw random numbers as they train.
@pytest.mark.parametrize("decoder", ["cnn3", "linear", "detail"])
def test_a_run_killed_after_an_epoch_ends_with_the_same_bits(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    decoder: str,
) -> None:
    params = train_params.model_copy(
        update={"decoder": decoder, "epochs": 4, "ema_decay": 0.9, "feature_noise": 0.1}
    )
    undisturbed = loop.train(cache, manifest, params, CPU)

    killed_in_epoch(3, cache, manifest, params)
    assert len(list(Path("data/.store/training").iterdir())) == 1
    told: list[int] = []
    resumed = loop.train(
        cache, manifest, params, CPU, on_epoch=lambda row: told.append(row["epoch"])
    )
    assert told == list(range(1, params.epochs + 1))
    assert list(Path("data/.store/training").iterdir()) == []
    assert decoder_bytes(undisturbed, workspace / "a") == decoder_bytes(resumed, workspace / "b")
    pd.testing.assert_frame_equal(undisturbed.steps, resumed.steps)
    pd.testing.assert_frame_equal(undisturbed.epochs, resumed.epochs)


def test_a_run_killed_after_its_last_epoch_trains_no_epoch_again(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams, workspace: Path
) -> None:
    def die(*_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_find_certainty", die)
        with pytest.raises(KeyboardInterrupt):
            loop.train(cache, manifest, train_params, CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_run_epoch", die)
        resumed = loop.train(cache, manifest, train_params, CPU)
    undisturbed = loop.train(cache, manifest, train_params, CPU)
    assert decoder_bytes(undisturbed, workspace / "a") == decoder_bytes(resumed, workspace / "b")


def test_the_average_follows_the_weights() -> None:
    decoder = torch.nn.Linear(1, 1, bias=False)
    average = torch.nn.Linear(1, 1, bias=False)
    progress = loop.Progress(decoder, average, torch.optim.AdamW(decoder.parameters()))
    torch.nn.init.constant_(average.weight, 0)
    torch.nn.init.constant_(decoder.weight, 1)
    progress.update_average(0.9, n_steps=0)  # 1/10 of the old, 9/10 of the new
    assert average.weight.item() == pytest.approx(0.9)
    progress.update_average(0.9, n_steps=10_000)
    assert average.weight.item() == pytest.approx(0.91)


def test_the_averaged_weights_are_kept(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams
) -> None:
    plain = loop.train(cache, manifest, train_params, CPU)
    averaged = loop.train(cache, manifest, train_params.model_copy(update={"ema_decay": 0.9}), CPU)
    # The same steps were taken, but other weights measured.
    trained = plain.steps["split"] == "train"
    pd.testing.assert_frame_equal(plain.steps[trained], averaged.steps[trained])
    assert not plain.steps.equals(averaged.steps)


def test_a_run_goes_on_from_another_decoder(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams, workspace: Path
) -> None:
    first = loop.train(cache, manifest, train_params.model_copy(update={"epochs": 15}), CPU)
    save_decoder(first.decoder, first.card, workspace / "first")
    onward = train_params.model_copy(
        update={"epochs": 1, "learning_rate": 1e-9, "init_from": str(workspace / "first")}
    )
    result = loop.train(cache, manifest, onward, CPU)
    assert result.epochs["train_loss"][0] < first.epochs["train_loss"][3]
    with pytest.raises(ParameterError, match="the decoder to start from is a cnn3"):
        loop.train(cache, manifest, onward.model_copy(update={"decoder": "linear"}), CPU)
    with pytest.raises(ParameterError, match="no decoder to go on from in 'nowhere'"):
        loop.train(cache, manifest, onward.model_copy(update={"init_from": "nowhere"}), CPU)
    assert "init_from" not in first.card.trained_from
    save_decoder(first.decoder, first.card, workspace / "first")
    _, card = load_decoder(workspace / "first", CPU)
    assert result.card.trained_from["init_from"] == card.weights_sha256


@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_the_start_keeps_its_share_of_the_weights(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    workspace: Path,
    ema_decay: float,
) -> None:
    first = loop.train(cache, manifest, train_params.model_copy(update={"epochs": 2}), CPU)
    save_decoder(first.decoder, first.card, workspace / "first")
    onward = train_params.model_copy(
        update={
            "epochs": 3,
            "keep": "last",
            "ema_decay": ema_decay,
            "seed": 7,
            "init_from": str(workspace / "first"),
        }
    )
    wholly = loop.train(cache, manifest, onward, CPU)
    partly = loop.train(cache, manifest, onward.model_copy(update={"wise_ft_alpha": 0.75}), CPU)
    weights = partly.decoder.state_dict()
    for name, start in first.decoder.state_dict().items():
        end = wholly.decoder.state_dict()[name]
        if start.is_floating_point():
            torch.testing.assert_close(weights[name], end + 0.25 * (start - end))
    # The same steps were taken; what is measured on val is what is kept.
    trained = wholly.steps["split"] == "train"
    pd.testing.assert_frame_equal(wholly.steps[trained], partly.steps[trained])
    names = list(manifest.loc[manifest["split"] == "val", "sample_id"])
    batch = cache.batch(names)
    with torch.inference_mode():
        logits = partly.decoder.eval()(batch.features.float(), batch.pixels)
    intersection, union = batch_counts(logits, batch.target())
    assert partly.epochs["val_iou"].iloc[-1] == pytest.approx(float((intersection / union).mean()))


def test_what_val_asks_of_parts_does_not_lower_its_iou(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams
) -> None:
    result = loop.train(cache, manifest, train_params, CPU)
    assert result.summary["certainty"] == result.card.certainty
    assert result.card.certainty in CANDIDATES
    means = {}
    for certainty in (0.0, result.card.certainty):
        ious = []
        for sample_id in manifest.loc[manifest["split"] == "val", "sample_id"]:
            batch = cache.batch([sample_id])
            maps = decode(result.decoder, batch.features, batch.pixels, result.card, CPU)
            mask = keep_certain(maps[0].numpy(), certainty, 0.5)[0] >= 0.5
            ious.append(iou(overlap_counts(mask, batch.target()[0, 0].numpy() > 0)))
        means[certainty] = np.mean(ious)
    assert means[result.card.certainty] >= means[0.0]


def test_the_temperature_lowers_the_loss_on_val(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams
) -> None:
    result = loop.train(
        cache, manifest, train_params.model_copy(update={"loss": "bce", "epochs": 15}), CPU
    )
    batch = cache.batch(list(manifest.loc[manifest["split"] == "val", "sample_id"]))
    with torch.inference_mode():
        logits = result.decoder.eval()(batch.features.float(), batch.pixels)
    calibrated = losses.bce(logits / result.card.temperature, batch.target())
    assert result.card.temperature != 1
    assert calibrated < losses.bce(logits, batch.target())


def first_epoch(result: loop.TrainingResult) -> pd.DataFrame:
    return result.steps[result.steps["epoch"] == 1].reset_index(drop=True)


@pytest.mark.parametrize("file", ["state.pt", "00002.json"])
@pytest.mark.parametrize("damage", ["cut off", "missing", "another"])
def test_a_damaged_checkpoint_is_left_aside(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    caplog: pytest.LogCaptureFixture,
    file: str,
    damage: str,
) -> None:
    undisturbed = loop.train(cache, manifest, train_params, CPU)
    killed_in_epoch(3, cache, manifest, train_params)
    (folder,) = Path("data/.store/training").iterdir()
    if damage == "cut off":
        (folder / file).write_bytes((folder / file).read_bytes()[:-20])
    elif damage == "another":
        (folder / file).write_bytes(b"not a checkpoint")
    else:
        (folder / file).unlink()
    result = loop.train(cache, manifest, train_params, CPU)
    pd.testing.assert_frame_equal(result.steps, undisturbed.steps)
    for name, weights in undisturbed.decoder.state_dict().items():
        assert torch.equal(result.decoder.state_dict()[name], weights)
    # Without the state nothing says that there was a checkpoint.
    assert ("starting afresh" in caplog.text) == ((file, damage) != ("state.pt", "missing"))


def test_changed_code_goes_on_from_no_old_checkpoint(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    sources = workspace / "sources"
    shutil.copytree(store.SOURCES / "fishseg", sources / "fishseg")
    monkeypatch.setattr(store, "SOURCES", sources)
    killed_in_epoch(3, cache, manifest, train_params)

    bce_dice = losses.LOSSES["bce_dice"]
    monkeypatch.setitem(losses.LOSSES, "bce_dice", lambda *args: 2 * bce_dice(*args))
    file = sources / "fishseg/training/losses.py"
    text = file.read_text()
    line = "    return bce(logits, target, valid) + soft_dice("
    assert line in text
    file.write_text(text.replace(line, line.replace("return ", "return 2 * ")))
    store._code_sha256.cache_clear()  # as another run would begin
    changed = loop.train(cache, manifest, train_params, CPU)
    assert "resuming" not in caplog.text

    # The old checkpoint is still there, for the old code; a docstring makes no other code of it.
    monkeypatch.setitem(losses.LOSSES, "bce_dice", bce_dice)
    file.write_text(text.replace('"""', '"""Said otherwise: ', 1))
    store._code_sha256.cache_clear()
    resumed = loop.train(cache, manifest, train_params, CPU)
    assert "resuming after epoch 2" in caplog.text
    before, after = first_epoch(resumed)["loss"], first_epoch(changed)["loss"]
    assert after[0] == pytest.approx(2 * before[0])


@pytest.mark.parametrize(
    ("change", "other_name"),
    [("elsewhere", False), ("other weights", True), ("precision", True), ("torch", True)],
)
def test_what_makes_another_run(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    other_name: bool,
) -> None:
    first = loop.train(cache, manifest, train_params.model_copy(update={"epochs": 1}), CPU)
    save_decoder(first.decoder, first.card, workspace / "first")
    params = train_params.model_copy(update={"init_from": "first"})
    monkeypatch.setenv("FISHSEG_PRECISION", "fp32")
    killed_in_epoch(2, cache, manifest, params)
    if change == "elsewhere":
        shutil.move(workspace / "first", workspace / "moved")
        params = params.model_copy(update={"init_from": str(workspace / "moved")})
    elif change == "other weights":
        weights = {name: 2 * value for name, value in first.decoder.state_dict().items()}
        first.decoder.load_state_dict(weights)
        save_decoder(first.decoder, first.card, workspace / "first")
    elif change == "precision":
        monkeypatch.setenv("FISHSEG_PRECISION", "bf16")
    else:
        monkeypatch.setattr(store, "_version", lambda name: f"{name} 0")
    killed_in_epoch(2, cache, manifest, params)
    assert len(list(Path("data/.store/training").iterdir())) == 1 + other_name


def test_what_is_written_after_an_epoch_does_not_grow(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams
) -> None:
    sizes = []
    for epoch in (3, 9):
        params = train_params.model_copy(update={"decoder": "linear", "epochs": 9})
        killed_in_epoch(epoch, cache, manifest, params)
        (folder,) = Path("data/.store/training").iterdir()
        assert len(list(folder.glob("*.json"))) == epoch - 1
        sizes.append((folder / "state.pt").stat().st_size)
    assert sizes[0] == sizes[1]
    lengths = [path.stat().st_size for path in sorted(folder.glob("*.json"))]
    assert max(lengths) < 1.1 * min(lengths)


@pytest.mark.parametrize("failing", [1, 5])  # before there is a checkpoint, and after
def test_where_memory_runs_out_samples_are_read_and_the_bits_stay(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    monkeypatch: pytest.MonkeyPatch,
    failing: int,
) -> None:
    undisturbed = loop.train(cache, manifest, train_params, CPU)
    train_step, n_steps, kept = loop._train_step, 0, []

    def small_memory(run: loop.Run, *args: Any) -> Any:
        nonlocal n_steps
        n_steps += 1
        kept.append(any(group.resident for group in run.loaders["train"]._groups))
        if n_steps == failing:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train_step(run, *args)

    monkeypatch.setattr(loop, "_train_step", small_memory)
    told: list[int] = []
    result = loop.train(
        cache, manifest, train_params, CPU, on_epoch=lambda row: told.append(row["epoch"])
    )
    assert kept == [number < failing for number in range(n_steps)]
    assert told == [1, 2, 3]
    pd.testing.assert_frame_equal(result.steps, undisturbed.steps)
    for name, weights in undisturbed.decoder.state_dict().items():
        assert torch.equal(result.decoder.state_dict()[name], weights)


def test_a_step_that_never_fits_says_what_to_change(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "_train_step", no_memory)
    with pytest.raises(TrainingError, match=r"(?s)too much for the memory.*train\.batch_size"):
        loop.train(cache, manifest, train_params, CPU)


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    params = train_params.model_copy(update={"epochs": 4})
    undisturbed = loop.train(cache, manifest, params, CPU)
    fsync, calls = os.fsync, 0

    def full_for_a_while(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls in (2, 3):  # the weights after epoch 1, the numbers of epoch 2
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_for_a_while)
    killed_in_epoch(4, cache, manifest, params)
    assert caplog.text.count("no checkpoint of epoch") == 2
    assert caplog.text.count("No space left") == 2
    caplog.set_level("INFO")
    resumed = loop.train(cache, manifest, params, CPU)  # all epochs are there by now
    assert "resuming after epoch 3" in caplog.text
    pd.testing.assert_frame_equal(resumed.steps, undisturbed.steps)
    pd.testing.assert_frame_equal(resumed.epochs, undisturbed.epochs)


def test_a_store_that_cannot_be_used_is_said_before_training(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (workspace / "file").touch()
    monkeypatch.setenv("FISHSEG_STORE", str(workspace / "file"))
    with pytest.raises(StorageError, match=r"(?s)Not a directory.*FISHSEG_STORE"):
        loop.train(cache, manifest, train_params, CPU)


def test_a_decoder_is_written_whole_or_not_at_all(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = loop.train(cache, manifest, train_params.model_copy(update={"epochs": 1}), CPU)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"(?s)No space left.*decoder\.safetensors"):
            save_decoder(result.decoder, result.card, workspace / "decoder")
    assert list((workspace / "decoder").iterdir()) == []
    (workspace / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        save_decoder(result.decoder, result.card, workspace / "file" / "decoder")


def test_a_loss_that_is_not_finite_stops_with_a_remedy(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    train_params: TrainParams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(losses.LOSSES, "bce", lambda logits, *_: (logits * float("nan")).mean())
    with pytest.raises(TrainingError, match=r"(?s)loss is nan in epoch 1, step 1.*learning_rate"):
        loop.train(cache, manifest, train_params.model_copy(update={"loss": "bce"}), CPU)


def test_unknown_names_and_missing_features_are_refused_before_training(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams
) -> None:
    with pytest.raises(ParameterError, match=r"train\.loss"):
        loop.train(cache, manifest, train_params.model_copy(update={"loss": "mse"}), CPU)
    with pytest.raises(ParameterError, match=r"train\.decoder"):
        loop.train(cache, manifest, train_params.model_copy(update={"decoder": "x"}), CPU)
    stranger = manifest.replace({"sample_id": {manifest["sample_id"][0]: "Trout/99999"}})
    with pytest.raises(CacheError, match="Trout/99999"):
        loop.train(cache, stranger, train_params, CPU)


def test_the_learning_rate_warms_up_and_falls(train_params: TrainParams) -> None:
    params = train_params.model_copy(update={"warmup_fraction": 0.1, "learning_rate": 1.0})
    rates = [loop.learning_rate(step, 100, params) for step in range(100)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5 * (1 + math.cos(math.pi * 45 / 90)))
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    constant = params.model_copy(update={"schedule": "constant", "warmup_fraction": 0})
    assert {loop.learning_rate(step, 100, constant) for step in range(100)} == {1.0}


def test_the_decoder_survives_the_files_and_damage_is_said(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams, workspace: Path
) -> None:
    result = loop.train(cache, manifest, train_params, CPU)
    save_decoder(result.decoder, result.card, workspace / "decoder")
    decoder, card = load_decoder(workspace / "decoder", CPU)
    digest = store.file_sha256(workspace / "decoder" / WEIGHTS_NAME)
    assert card == dataclasses.replace(result.card, version=__version__, weights_sha256=digest)
    batch = cache.batch([manifest["sample_id"][0]])
    result.decoder.eval()
    with torch.inference_mode():
        expected = result.decoder(batch.features.float(), batch.pixels)
        assert torch.equal(decoder(batch.features.float(), batch.pixels), expected)
    (workspace / "decoder" / WEIGHTS_NAME).write_bytes(b"\0" * 40)
    with pytest.raises(CacheError, match="dvc repro train"):
        load_decoder(workspace / "decoder", CPU)

"""Train a decoder on cached features: loop and schedule.

Shapes: ``B`` samples of a batch; ``C`` feature channels on a grid ``(h, w)``; working size
``(H, W)``. IoU is that of each image at the working resolution, of the pixels that are more likely
fish than not, whatever the temperature will be; a step's IoU is the mean over its batch.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from fishseg import decoders, devices, store
from fishseg.decoders.files import WEIGHTS_NAME, DecoderCard, load_decoder, origin
from fishseg.decoders.inference import decode, filtered
from fishseg.errors import ParameterError, TrainingError
from fishseg.features.loading import Loader
from fishseg.features.shards import Batch, FeatureCache
from fishseg.metrics.calibration import LogitHistogram
from fishseg.metrics.hysteresis import CertaintySearch
from fishseg.metrics.masks import batch_counts
from fishseg.params import TrainParams, choose, typed_path
from fishseg.tables import write_csv
from fishseg.training.augmentation import add_noise, jitter_colors
from fishseg.training.checkpoints import Checkpoint, Epoch
from fishseg.training.interior import interior_loss
from fishseg.training.losses import LOSSES, Loss

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Progress:
    """Everything a run needs to go on where it stopped.

    ``average`` is the moving average of ``decoder``; without one it is ``decoder`` itself.
    ``start`` are the weights that training goes on from, if it does.
    """

    decoder: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    start: dict[str, Tensor] | None = None
    best_state: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    steps: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    epochs: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """What training goes on from, without what was measured."""
        return {
            "decoder": self.decoder.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_state": self.best_state,
        }

    def history(self) -> list[Epoch]:
        """Each epoch's row and steps so far."""
        steps: dict[int, list[dict[str, Any]]] = {}
        for step in self.steps:
            steps.setdefault(step["epoch"], []).append(step)
        return [{"row": row, "steps": steps[row["epoch"]]} for row in self.epochs]

    def restore(self, state: dict[str, Any], history: Sequence[Epoch]) -> None:
        """Go back to a saved state and its history."""
        self.decoder.load_state_dict(state["decoder"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_state = state["best_state"]
        self.steps = [step for epoch in history for step in epoch["steps"]]
        self.epochs = [epoch["row"] for epoch in history]

    def update_average(self, decay: float, n_steps: int) -> None:
        """Let the average follow the weights; faster in the first steps, when it knows little."""
        if self.average is self.decoder:
            return
        keep = min(decay, (n_steps + 1) / (n_steps + 10))
        _move(self.average, self.decoder.state_dict(), 1 - keep)

    def to_keep(self, wise_ft_alpha: float) -> nn.Module:
        """The decoder that is measured and kept: the average, or between it and the start.

        ``wise_ft_alpha`` is the share of the average, the rest is the start's: 1 is the average.

        Weights halfway between those before and after fine-tuning often do better than either, on
        what was learned as on what was known (Wortsman et al., "Robust fine-tuning of zero-shot
        models", CVPR 2022).
        """
        if self.start is None or wise_ft_alpha == 1:
            return self.average
        between = copy.deepcopy(self.average)
        _move(between, self.start, 1 - wise_ft_alpha)
        return between


def _move(decoder: nn.Module, towards: Mapping[str, Tensor], share: float) -> None:
    """Move the weights of a decoder a share of the way towards others; what is counted, wholly."""
    with torch.no_grad():
        for name, value in decoder.state_dict().items():
            if value.is_floating_point():
                value.lerp_(towards[name], share)
            else:
                value.copy_(towards[name])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What stays the same from the first step to the last.

    Attributes:
        cache: where features and masks come from.
        sample_ids: the samples of ``train`` and of ``val``.
        loaders: their batches.
        params: how to train.
        loss: of the mask's logits, target and which pixels count, all ``(B, 1, H, W)``.
        device: where to train.
    """

    cache: FeatureCache
    sample_ids: dict[str, list[str]]
    loaders: dict[str, Loader]
    params: TrainParams
    loss: Loss
    device: torch.device


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """A trained decoder and how it came about.

    Attributes:
        decoder: the decoder with the weights of the best epoch.
        card: what prediction needs to know of it.
        steps: a row a step and split: ``split, epoch, step, loss, iou``.
        epochs: a row an epoch: means and spreads of loss and IoU, learning rate, ``best``.
        summary: the numbers of ``metrics/train.json``.
    """

    decoder: nn.Module
    card: DecoderCard
    steps: pd.DataFrame
    epochs: pd.DataFrame
    summary: dict[str, Any]


def train(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    params: TrainParams,
    device: torch.device,
    *,
    on_epoch: Callable[[Mapping[str, Any]], None] = lambda _row: None,
) -> TrainingResult:
    """Train a decoder and keep the epoch with the best mean IoU on val, or the last.

    A checkpoint is left in the store after each epoch; a run with the same parameters, samples,
    features and code goes on from it and ends with the same bits as one that was never interrupted.

    Args:
        cache: features and masks.
        manifest: which samples are ``train`` and ``val``.
        params: how to train.
        device: where to train.
        on_epoch: called with the row of each epoch as it ends, those before a resumption first.

    Raises:
        ParameterError: an unknown decoder or loss; or fish are to be told apart, and no mask
            numbers them.
        CacheError: a sample of the manifest has no features.
        StorageError: the store cannot be used.
        TrainingError: the loss is no longer finite; or not even one batch fits into memory.
    """
    sample_ids = {
        split: list(manifest.loc[manifest["split"] == split, "sample_id"])
        for split in ("train", "val")
    }
    run = Run(
        cache=cache,
        sample_ids=sample_ids,
        loaders={
            split: Loader(cache, names, params.batch_size, device)
            for split, names in sample_ids.items()
        },
        params=params,
        loss=choose(LOSSES, params.loss, "train.loss"),
        device=device,
    )
    if params.instances != decoders.NONE and not cache.has_objects:
        raise _no_numbers(params.instances)
    checkpoint = Checkpoint(_name(run, manifest))
    progress = _resume(run, checkpoint)

    n_told = 0
    with tqdm(total=params.epochs, desc="train", unit="epoch") as bar:
        while True:
            for row in progress.epochs[n_told:]:
                on_epoch(row)
                bar.set_postfix(val_iou=f"{row['val_iou']:.4f}", loss=f"{row['train_loss']:.4f}")
                bar.update()
            n_told = max(n_told, len(progress.epochs))
            if len(progress.epochs) == params.epochs:
                break
            ended = _try_epoch(run, progress, len(progress.epochs) + 1)
            if ended is None:
                _make_room(run)
                progress = _resume(run, checkpoint)
                continue
            row, decoder = ended
            best_iou = max((past["val_iou"] for past in progress.epochs), default=-1.0)
            if params.keep == "last" or row["val_iou"] > best_iou:
                progress.best_state = copy.deepcopy(decoder.state_dict())
            progress.epochs.append(row)
            checkpoint.save(progress.state(), progress.history())

    decoder = progress.average
    decoder.load_state_dict(progress.best_state)
    logits = _count_logits(run, decoder)
    card = _card(run, manifest, logits.fit_temperature())
    card = dataclasses.replace(card, certainty=_find_certainty(run, decoder, card))
    result = _result(run, progress, logits, card)
    checkpoint.remove()  # not before all is there that takes long
    return result


def _no_numbers(instances: str) -> ParameterError:
    return ParameterError(
        f"train.instances is {instances}, but no mask says which fish is which",
        where="train.instances, data.mask_values",
        expected="masks in which each fish has a value of its own, read by the rule numbered",
        remedy="dvc exp run -S data.mask_values=numbered, if these are such masks; "
        "else -S train.instances=none",
    )


def _name(run: Run, manifest: pd.DataFrame) -> str:
    """Of a run: the fingerprint of everything that determines its course."""
    facts = {
        # Wherever the folder lies, what is in it counts.
        "params": run.params.model_dump() | {"init_from": None, **_start_sha256(run)},
        "manifest": manifest.to_csv(index=False),
        "shards": run.cache.digests(),
        "device": run.device.type,
        "precision": str(devices.precision(run.device)),
    }
    return store.fingerprint(facts, modules=[__name__], libraries=["torch", "numpy"])


def _start_sha256(run: Run) -> dict[str, str]:
    """That of the weights to go on from; empty where there are none, as loading them will say."""
    if not run.params.init_from:
        return {}
    weights = typed_path(run.params.init_from) / WEIGHTS_NAME
    return {"init_from": store.file_sha256(weights) if weights.is_file() else ""}


def _resume(run: Run, checkpoint: Checkpoint) -> Progress:
    """Where a run of this name was interrupted, or the beginning."""
    progress = _begin(run)
    try:
        found = checkpoint.load(run.device)
        if found is not None:
            progress.restore(*found)
            log.info("resuming after epoch %d", len(progress.epochs))
    except Exception as error:  # a damaged file may raise anything
        log.warning("the checkpoint cannot be used (%s); starting afresh", error)
        checkpoint.remove()
        return _begin(run)  # some of it may be restored
    return progress


def _begin(run: Run) -> Progress:
    params = run.params
    torch.manual_seed(params.seed)
    channels = run.cache.index.channels
    decoder = decoders.build(params.decoder, channels, params.instances).to(run.device)
    start = None
    if params.init_from:
        start = _start_state(run, decoder.state_dict())
        decoder.load_state_dict(start)
    average = decoder
    if params.ema_decay:
        average = copy.deepcopy(decoder).requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(
        decoder.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay, fused=True
    )
    return Progress(decoder, average, optimizer, start)


def _start_state(run: Run, fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the decoder to go on from.

    One without a second map lends what it has, and the second map starts from ``fresh``.

    Raises:
        CacheError: it is damaged.
        ParameterError: there is none; it is another decoder, or takes other features.
    """
    run.params.require_start()
    folder = typed_path(run.params.init_from)
    decoder, card = load_decoder(folder, run.device)
    index = run.cache.index
    theirs = (card.decoder, card.backbone["weights_sha256"], card.layers)
    ours = (run.params.decoder, index.backbone["weights_sha256"], index.layers)
    maps = {card.instances, run.params.instances}
    if theirs != ours or (card.instances != decoders.NONE and len(maps) > 1):
        raise ParameterError(
            f"the decoder to start from is a {card.decoder} on the layers {list(card.layers)} of "
            f"{card.backbone['name']}, for instances {card.instances}",
            where=folder,
            expected=f"a {run.params.decoder} on the layers {list(index.layers)} of "
            f"{index.backbone['name']}, with the same weights, for instances "
            f"{run.params.instances}",
            remedy="set train.decoder, train.instances, backbone.name and features.layers as they "
            "were there",
        )
    return {name: _grown(value, fresh[name]) for name, value in decoder.state_dict().items()}


def _grown(value: Tensor, fresh: Tensor) -> Tensor:
    """Weights, and behind them those of fresh ones that they are too few for: maps come in turn."""
    return torch.cat([value, fresh[len(value) :]]) if value.shape != fresh.shape else value


def _try_epoch(run: Run, progress: Progress, epoch: int) -> tuple[dict[str, Any], nn.Module] | None:
    """What `_run_epoch` gives, or None where the memory runs out."""
    try:
        return _run_epoch(run, progress, epoch)
    except torch.OutOfMemoryError:
        return None


def _make_room(run: Run) -> None:
    """Read samples from the shards from now on, which gives the same bits.

    Raises:
        TrainingError: none were kept in memory.
    """
    released = [loader.release() for loader in run.loaders.values()]
    if not any(released):
        raise TrainingError(
            "a training step is too much for the memory",
            where=f"the device {run.device}",
            remedy="dvc exp run -S train.batch_size=…, half of what it is; or close what else uses "
            "the memory",
        )
    log.warning("out of memory; samples are read from the shards from here on")
    if run.device.type == "cuda":
        torch.cuda.empty_cache()


def _run_epoch(run: Run, progress: Progress, epoch: int) -> tuple[dict[str, Any], nn.Module]:
    """Train one pass, measure val, record the steps; the epoch's row and the decoder measured."""
    params = run.params
    # Seeded anew each epoch, so that a resumed run draws what an undisturbed one draws.
    torch.manual_seed(params.seed * 1_000_003 + epoch)
    steps_per_epoch = len(run.loaders["train"])
    n_steps, first_step = params.epochs * steps_per_epoch, (epoch - 1) * steps_per_epoch
    progress.decoder.train()
    trained = []
    for step, batch in enumerate(run.loaders["train"].batches(shuffle=True), first_step):
        rate = learning_rate(step, n_steps, params)
        for group in progress.optimizer.param_groups:
            group["lr"] = rate
        trained.append(_train_step(run, progress, batch))
        progress.update_average(params.ema_decay, step)
    train_row = _record(progress, "train", epoch, trained)

    decoder = progress.to_keep(params.wise_ft_alpha).eval()
    measured = []
    with torch.inference_mode():
        for batch in run.loaders["val"].batches():
            logits = decoder(batch.features.float(), batch.pixels)
            target, valid = batch.target(), batch.counted()
            value = _loss(run, logits, target, valid, batch.objects)
            measured.append(_measure(value, logits[:, :1], target, valid))
    val_row = _record(progress, "val", epoch, measured)
    return {"epoch": epoch, **train_row, **val_row, "learning_rate": rate}, decoder


def _train_step(run: Run, progress: Progress, batch: Batch) -> tuple[Tensor, Tensor]:
    """One step of the optimiser; loss and IoUs as `_measure` gives them."""
    features, pixels = batch.features.float(), batch.pixels
    target, valid = batch.target(), batch.counted()
    if run.params.feature_noise:
        features = add_noise(features, run.params.feature_noise)
    if run.params.color_jitter:
        pixels = jitter_colors(pixels, run.params.color_jitter)
    with devices.autocast(run.device):
        logits = progress.decoder(features, pixels)
    value = _loss(run, logits, target, valid, batch.objects)
    progress.optimizer.zero_grad(set_to_none=True)
    value.backward()
    progress.optimizer.step()
    return _measure(value, logits[:, :1], target, valid)


def _loss(
    run: Run, logits: Tensor, target: Tensor, valid: Tensor | None, objects: Tensor | None
) -> Tensor:
    """That of the mask and, where fish are told apart, of the second map."""
    value = run.loss(logits[:, :1], target, valid)
    if run.params.instances == decoders.NONE or objects is None:
        return value
    return value + interior_loss(logits[:, 1:], objects, run.params.instances)


def _count_logits(run: Run, decoder: nn.Module) -> LogitHistogram:
    """The logits of val, counted: how its temperature is found."""
    decoder.eval()
    histogram = LogitHistogram(run.device)
    with torch.inference_mode():
        for batch in run.loaders["val"].batches():
            logits = decoder(batch.features.float(), batch.pixels)
            logits = filtered(logits, batch.pixels, run.params.guided_radius)
            histogram.add(logits[:, :1], batch.target(), batch.counted())
    return histogram


def _find_certainty(run: Run, decoder: nn.Module, card: DecoderCard) -> float:
    """What val asks of a part's surest pixel."""
    search = CertaintySearch()
    for batch in run.loaders["val"].batches():
        maps = decode(decoder, batch.features, batch.pixels, card, run.device)
        truths, counted = batch.target().cpu().numpy() > 0, batch.counted()
        for number, (probability, *_) in enumerate(maps.numpy()):
            valid = None if counted is None else counted[number, 0].cpu().numpy()
            search.add(probability, truths[number, 0], valid)
    return search.best()


def learning_rate(step: int, n_steps: int, params: TrainParams) -> float:
    """The rate of a step counted from 0: linear warm-up, then constant or half a cosine to zero."""
    n_warmup = round(params.warmup_fraction * n_steps)
    if step < n_warmup:
        return params.learning_rate * (step + 1) / n_warmup
    if params.schedule == "constant":
        return params.learning_rate
    done = (step - n_warmup) / max(1, n_steps - n_warmup)
    return params.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _measure(
    loss: Tensor, logits: Tensor, target: Tensor, valid: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Loss, and IoU of each image ``(B,)``, left on the device: no step waits for the numbers."""
    intersection, union = batch_counts(logits.detach(), target, valid)
    iou = torch.where(union > 0, intersection / union.clamp(min=1), 1.0)
    return loss.detach(), iou


def _record(
    progress: Progress, split: str, epoch: int, measured: list[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Append the steps of one pass; the mean and spread over its images.

    Raises:
        TrainingError: a loss is not finite.
    """
    losses = torch.stack([loss for loss, _ in measured]).tolist()
    ious = [iou.tolist() for _, iou in measured]
    first_step = (epoch - 1) * len(measured) + 1
    for number, (loss, iou) in enumerate(zip(losses, ious, strict=True)):
        if not math.isfinite(loss):
            raise TrainingError(
                f"the {split} loss is {loss} in epoch {epoch}, step {first_step + number}",
                where="params.yaml: train",
                expected="a finite loss",
                remedy="dvc exp run -S train.learning_rate=…, a tenth of what it is",
            )
        progress.steps.append(
            {
                "split": split,
                "epoch": epoch,
                "step": first_step + number,
                "loss": loss,
                "iou": sum(iou) / len(iou),
            }
        )
    weights = torch.tensor([len(iou) for iou in ious], dtype=torch.float64)
    loss_values = torch.tensor(losses, dtype=torch.float64)
    loss_mean = (loss_values * weights).sum() / weights.sum()
    loss_variance = (weights * (loss_values - loss_mean) ** 2).sum() / weights.sum()
    iou_values = torch.tensor([value for iou in ious for value in iou], dtype=torch.float64)
    return {
        f"{split}_loss": float(loss_mean),
        f"{split}_loss_std": float(loss_variance.sqrt()),
        f"{split}_iou": float(iou_values.mean()),
        f"{split}_iou_std": float(iou_values.std(correction=0)),
    }


def _card(run: Run, manifest: pd.DataFrame, temperature: float) -> DecoderCard:
    index = run.cache.index
    return DecoderCard(
        decoder=run.params.decoder,
        in_channels=index.channels,
        backbone=dict(index.backbone),
        layers=index.layers,
        fit=index.fit,
        image_size=index.image_size,
        megapixels=index.megapixels,
        dtype=index.dtype,
        temperature=temperature,
        guided_radius=run.params.guided_radius,
        instances=run.params.instances,
        # A sample is called CLASS/STEM.
        trained_on=dict(sorted(Counter(map(_class_of, run.sample_ids["train"])).items())),
        trained_from=origin(run.cache, manifest) | _start_sha256(run),
    )


def _result(
    run: Run, progress: Progress, logits: LogitHistogram, card: DecoderCard
) -> TrainingResult:
    epochs = pd.DataFrame(progress.epochs)
    last = run.params.keep == "last"
    kept = len(epochs) - 1 if last else int(epochs["val_iou"].to_numpy().argmax())
    epochs["best"] = [int(number == kept) for number in range(len(epochs))]
    row = epochs.iloc[kept]
    summary = {
        "best_epoch": int(row["epoch"]),
        "n_epochs": len(epochs),
        **{
            key: round(float(row[key]), 6)
            for key in ("train_loss", "val_loss", "train_iou", "val_iou")
        },
        "temperature": card.temperature,
        "certainty": card.certainty,
        "val_ece": round(logits.ece(card.temperature), 6),
        "val_ece_uncalibrated": round(logits.ece(1.0), 6),
        "n_train": len(run.sample_ids["train"]),
        "n_val": len(run.sample_ids["val"]),
        "n_parameters": sum(parameter.numel() for parameter in progress.decoder.parameters()),
    }
    return TrainingResult(progress.average, card, pd.DataFrame(progress.steps), epochs, summary)


def _class_of(sample_id: str) -> str:
    return sample_id.rpartition("/")[0]


def write_curves(result: TrainingResult, folder: Path) -> None:
    """Write ``steps.csv`` and ``epochs.csv``, which DVC overlays between experiments."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("steps", result.steps), ("epochs", result.epochs)):
        write_csv(table.round(6), folder / f"{name}.csv")

"""Typed parameters: one frozen dataclass for each section of ``params.yaml``.

``params.yaml`` holds every value; there are no defaults here. A field says what it means, its
unit and what is allowed, and `load` refuses everything else.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from fishseg.errors import ParameterError

DEFAULT_PATH = Path("params.yaml")
MAX_SEED = 2**31 - 1  # what every generator takes


def _field(
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A field with its meaning and range; ``low``/``high`` include, ``above``/``below`` exclude."""
    limits = {"low": low, "high": high, "above": above, "below": below, "choices": choices}
    return dataclasses.field(metadata={"meaning": meaning, **limits})


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataParams:
    """Where the images and masks come from."""

    section: ClassVar[str] = "data"

    source: str = _field("a data source: sample, kaggle or local")
    path: str = _field("source local: a folder or a zip of images and masks; else empty")
    seed: int = _field("source sample: seed of the renderer", low=0, high=MAX_SEED)
    photos_per_class: int = _field("source sample: photographs of each species", low=1, high=1000)
    copies_per_photo: int = _field(
        "source sample: flipped and rotated copies of each photograph", low=1, high=1000
    )
    wrong_mask_share: float = _field(
        "source sample: share of copies whose mask was given another transform than its image",
        low=0,
        high=1,
    )

    def __post_init__(self) -> None:
        if self.source == "local" and not self.path:
            raise ParameterError(
                "data.source is local, but data.path is empty",
                where="data.path",
                expected="the path of a folder or a zip of images and masks",
                remedy="dvc exp run -S data.source=local -S data.path=FOLDER",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneParams:
    """Which frozen network turns pixels into features."""

    section: ClassVar[str] = "backbone"

    name: str = _field("a name of the registry, a hub id (owner/model), or a local folder")
    revision: str = _field("hub ids: the commit, tag or branch to take; else empty")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditParams:
    """How images and masks are checked."""

    section: ClassVar[str] = "audit"

    max_broken_share: float = _field(
        "share of the images that may be unusable before the stage refuses to go on",
        low=0,
        high=1,
    )
    masks: str = _field(
        "what becomes of a mask that does not fit its image",
        choices=("keep", "reject", "repair"),
    )
    min_likeness: float = _field(
        "correlation of two aligned pictures from which they show the same photograph",
        above=0,
        below=1,
    )
    min_mask_agreement: float = _field(
        "IoU with its siblings' consensus below which a mask is wrong", above=0, below=1
    )
    min_agreeing_masks: int = _field(
        "masks of one photograph that must agree before they prove another wrong", low=2, high=1000
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitParams:
    """Who trains and who is tested."""

    section: ClassVar[str] = "split"

    strategy: str = _field(
        "grouped keeps every copy of a photograph on one side; random does not (leaky, only to "
        "compare with published numbers)",
        choices=("grouped", "random"),
    )
    val_fraction: float = _field("share of the samples in val, where folds is 0", low=0, below=1)
    test_fraction: float = _field("share of the samples in test", low=0, below=1)
    folds: int = _field("0, or the number of folds that train and val are made of", low=0, high=100)
    fold: int = _field("which fold is val, counted from 0; only where folds is not 0", low=0)
    held_out_class: str = _field(
        "a class that is val as a whole while the others are trained on; else empty"
    )
    train_photos_per_class: int = _field(
        "photographs of each class that may be trained on; 0 for all", low=0
    )
    seed: int = _field("seed of the shuffle", low=0, high=MAX_SEED)

    def __post_init__(self) -> None:
        if self.folds == 1:
            raise ParameterError(
                "one fold leaves nothing to train on",
                where="split.folds",
                expected="0 (use the fractions) or at least 2",
                remedy="dvc exp run -S split.folds=5",
            )
        if self.folds and self.fold >= self.folds:
            raise ParameterError(
                f"there is no fold {self.fold} of {self.folds}",
                where="split.fold",
                expected=f"0 to {self.folds - 1}",
                remedy=f"dvc exp run -S split.fold={self.folds - 1}",
            )
        if not self.folds and self.val_fraction == 0:
            raise ParameterError(
                "without a val split the best epoch cannot be chosen",
                where="split.val_fraction",
                expected="above 0, or split.folds of at least 2",
                remedy="dvc exp run -S split.val_fraction=0.2",
            )
        if not self.folds and self.val_fraction + self.test_fraction >= 1:
            raise ParameterError(
                f"val and test together take {self.val_fraction + self.test_fraction:g} of the "
                "samples and leave none to train on",
                where="split.val_fraction, split.test_fraction",
                expected="a sum below 1",
                remedy="dvc exp run -S split.val_fraction=0.2 -S split.test_fraction=0.2",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeaturesParams:
    """What is computed once and cached."""

    section: ClassVar[str] = "features"

    fit: str = _field(
        "aspect keeps the image's proportions; stretch makes it a square",
        choices=("aspect", "stretch"),
    )
    image_size: int = _field(
        "working height in pixels, rounded to the patch size", low=32, high=4096
    )
    layers: tuple[int, ...] = _field(
        "layers to keep: 1 is the first block, -1 the last; several are stacked"
    )
    dtype: str = _field(
        "what features are kept in: float16, or int8 with a scale for each channel: half the "
        "space, a little less exact",
        choices=("float16", "int8"),
    )
    batch_size: int = _field(
        "images in one backbone pass; 0 finds it by itself; halved where memory runs out",
        low=0,
        high=4096,
    )
    shard_size: int = _field("samples in one shard at most", low=1, high=4096)

    def __post_init__(self) -> None:
        if not self.layers or 0 in self.layers or len(set(self.layers)) != len(self.layers):
            raise ParameterError(
                f"{list(self.layers)} names no layers, layer 0, or a layer twice",
                where="features.layers",
                expected="distinct layers counted from 1, or from -1 backwards",
                remedy="dvc exp run -S 'features.layers=[-1]'",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainParams:
    """How the decoder learns."""

    section: ClassVar[str] = "train"

    decoder: str = _field("the decoder, by its name in fishseg.decoders")
    loss: str = _field("the loss, by its name in fishseg.training.losses")
    epochs: int = _field("passes over the train split", low=1, high=100_000)
    batch_size: int = _field("samples in one step", low=1, high=65_536)
    learning_rate: float = _field("peak learning rate of AdamW", above=0, high=10)
    weight_decay: float = _field("weight decay of AdamW", low=0, high=10)
    schedule: str = _field("the learning rate's course", choices=("constant", "cosine"))
    warmup_fraction: float = _field(
        "share of the steps over which the learning rate rises from zero", low=0, below=1
    )
    color_jitter: float = _field(
        "largest relative change of brightness, contrast and saturation of the pixels the decoder "
        "sees beside the features",
        low=0,
        high=1,
    )
    feature_noise: float = _field(
        "Gaussian noise added to the features, in standard deviations of each channel",
        low=0,
        high=10,
    )
    ema_decay: float = _field(
        "decay of the moving average of the weights, a step; 0 for no average", low=0, below=1
    )
    keep: str = _field(
        "the weights to keep: those of the epoch with the best val IoU, or of the last",
        choices=("best", "last"),
    )
    start_from: str = _field(
        "folder of a trained decoder to go on from (data/decoder of another run); else empty"
    )
    start_share: float = _field(
        "how far the trained weights are moved back to those of start_from: 0 not at all, 0.5 half "
        "way, for few pictures",
        low=0,
        below=1,
    )
    threshold: float = _field("probability from which a pixel is fish", above=0, below=1)
    seed: int = _field("seed of the weights and of the order of samples", low=0, high=MAX_SEED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateParams:
    """How the decoder is measured and shown."""

    section: ClassVar[str] = "evaluate"

    bootstrap_samples: int = _field("resamples of the confidence interval", low=1, high=1_000_000)
    gallery_best: int = _field("images in the gallery of the best", low=0, high=100)
    gallery_random: int = _field("images in the random gallery", low=0, high=100)
    gallery_worst: int = _field("images in the gallery of the worst", low=0, high=100)
    seed: int = _field("seed of the bootstrap and of the random gallery", low=0, high=MAX_SEED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobustnessParams:
    """How the decoder is tried on corrupted photographs."""

    section: ClassVar[str] = "robustness"

    images: int = _field(
        "val photographs to corrupt, at most; spread over the classes", low=1, high=100_000
    )
    corruptions: int = _field(
        "corruptions of each photograph, at least; together they meet all kinds and degrees",
        low=1,
        high=33,
    )
    seed: int = _field("seed of the choice and of the corruptions", low=0, high=MAX_SEED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportParams:
    """How large the pictures of the report are, and when they lie beside it."""

    section: ClassVar[str] = "report"

    picture_px: int = _field("longer side of a picture, at most", low=64, high=8192)
    thumbnail_px: int = _field("longer side of a thumbnail, at most", low=32, high=1024)
    quality: int = _field("quality of the WebP pictures", low=1, high=100)
    max_embedded: int = _field(
        "images that the page itself may hold; more lie in a folder beside it", low=0, high=2000
    )


Section = TypeVar(
    "Section",
    DataParams,
    BackboneParams,
    AuditParams,
    SplitParams,
    FeaturesParams,
    TrainParams,
    EvaluateParams,
    RobustnessParams,
    ReportParams,
)
SECTIONS: tuple[type[Any], ...] = (
    DataParams,
    BackboneParams,
    AuditParams,
    SplitParams,
    FeaturesParams,
    TrainParams,
    EvaluateParams,
    RobustnessParams,
    ReportParams,
)


def load(section: type[Section], path: Path = DEFAULT_PATH) -> Section:
    """Read one section of a parameter file and check every value.

    Raises:
        ParameterError: the file cannot be read, or the section is missing, has unknown or missing
            keys, or holds a value of the wrong type or out of range.
    """
    name: str = section.section
    tree = _read(path)
    found = tree.get(name)
    if not isinstance(found, dict):
        raise ParameterError(
            f"there is no section {name!r}",
            where=path,
            expected=f"a section {name!r} with the keys {', '.join(_keys(section))}",
            remedy=f"git checkout -- {path}",
        )
    known = _keys(section)
    for key in found:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            raise ParameterError(
                f"unknown parameter {name}.{key}",
                where=path,
                expected=f"one of {', '.join(known)}",
                remedy=f"write {name}.{close[0]}" if close else f"remove {name}.{key}",
            )
    values = {}
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        if field.name not in found:
            raise ParameterError(
                f"{name}.{field.name} is missing",
                where=path,
                expected=f"{field.metadata['meaning']} ({_allowed(field, hints[field.name])})",
                remedy=f"add {field.name} to the section {name}, or git checkout -- {path}",
            )
        values[field.name] = _check(path, name, field, hints[field.name], found[field.name])
    try:
        return section(**values)
    except ParameterError as error:
        raise ParameterError(
            error.what,
            where=f"{path}: {error.where}",
            expected=error.expected,
            remedy=error.remedy,
        ) from None


Entry = TypeVar("Entry")


def choose(registry: Mapping[str, Entry], name: str, key: str) -> Entry:
    """The entry of a registry that a parameter names.

    Raises:
        ParameterError: the registry has no such entry; the message lists those it has.
    """
    if name in registry:
        return registry[name]
    close = difflib.get_close_matches(name, registry, n=1)
    raise ParameterError(
        f"{key} is {name!r}, which does not exist",
        where=key,
        expected=f"one of {', '.join(registry)}",
        remedy=f"dvc exp run -S {key}={close[0] if close else next(iter(registry))}",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(
            f"the parameters cannot be read: {error.strerror}",
            where=path.absolute(),
            remedy="run from the root of the repository, where params.yaml lies",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ParameterError(
            f"this is not YAML: {problem}", where=path, remedy=f"git diff {path} shows the change"
        ) from None
    if not isinstance(tree, dict):
        raise ParameterError("the file holds no sections", where=path, remedy="git checkout it")
    return tree


def _keys(section: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(section)]


def _allowed(field: dataclasses.Field[Any], hint: Any) -> str:
    limits = field.metadata
    if limits["choices"]:
        return "one of " + ", ".join(limits["choices"])
    kind = {int: "a whole number", float: "a number", str: "text"}.get(
        hint, "a list of whole numbers"
    )
    words = {"low": "at least", "above": "above", "high": "at most", "below": "below"}
    bounds = [f"{word} {limits[key]:g}" for key, word in words.items() if limits[key] is not None]
    return " ".join([kind, " and ".join(bounds)]).strip()


def _check(
    path: Path, section: str, field: dataclasses.Field[Any], hint: Any, found: object
) -> Any:
    """The value as the field's type, or a ParameterError that says what is allowed."""

    def refuse() -> ParameterError:
        return ParameterError(
            f"{section}.{field.name} is {found!r}, which is not allowed",
            where=path,
            expected=f"{field.metadata['meaning']}: {_allowed(field, hint)}",
            remedy=f"dvc exp run -S {section}.{field.name}=VALUE, or edit {path}",
        )

    value: Any
    if typing.get_origin(hint) is tuple or isinstance(hint, types.GenericAlias):
        if not isinstance(found, list) or any(_as_int(item) is None for item in found):
            raise refuse()
        return tuple(_as_int(item) for item in found)
    if hint is int:
        value = _as_int(found)
    elif hint is float:
        value = _as_float(found)
    else:
        value = found if isinstance(found, str) else None
    if value is None:
        raise refuse()
    limits = field.metadata
    if limits["choices"] and value not in limits["choices"]:
        raise refuse()
    if (
        (limits["low"] is not None and value < limits["low"])
        or (limits["high"] is not None and value > limits["high"])
        or (limits["above"] is not None and value <= limits["above"])
        or (limits["below"] is not None and value >= limits["below"])
    ):
        raise refuse()
    return value


def _as_int(found: object) -> int | None:
    if isinstance(found, bool):
        return None
    if isinstance(found, int):
        return found
    return int(found) if isinstance(found, float) and found.is_integer() else None


def _as_float(found: object) -> float | None:
    # `dvc exp run -S train.learning_rate=1e-5` writes 1e-05, which YAML 1.1 reads as a string.
    if isinstance(found, bool) or not isinstance(found, (int, float, str)):
        return None
    try:
        value = float(found)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

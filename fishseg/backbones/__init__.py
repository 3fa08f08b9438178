"""Names to weights on disk, and pixels to feature maps with a frozen network.

The only place that knows transformers.
"""

from fishseg.backbones.checkpoint import weights_hash
from fishseg.backbones.model import Backbone, load_backbone
from fishseg.backbones.weights import materialise

__all__ = ["Backbone", "load_backbone", "materialise", "weights_hash"]

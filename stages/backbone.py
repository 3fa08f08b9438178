"""Stage ``backbone``: bring the frozen weights to ``data/backbone/``."""

from fishseg import backbones, params
from stages import BACKBONE, run


def main() -> None:
    """Fetch the weights."""
    backbones.materialise(params.load(params.BackboneParams), BACKBONE)


if __name__ == "__main__":
    run(main)

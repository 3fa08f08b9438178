"""Stage ``features``: inventory, images and backbone to the shards in ``data/features/``."""

from functools import partial

from fishseg import devices, params
from fishseg.backbones import load_backbone
from fishseg.features.extraction import extract
from fishseg.tables import read_inventory
from stages import BACKBONE, FEATURES, INVENTORY, run


def main() -> None:
    """Run the frozen backbone over every sample, once."""
    wanted = params.load(params.FeaturesParams)
    device = devices.select()
    load = partial(load_backbone, BACKBONE, wanted.layers, devices.precision(device), device)
    extract(read_inventory(INVENTORY), load(), wanted, FEATURES, device, reload=load)


if __name__ == "__main__":
    run(main)

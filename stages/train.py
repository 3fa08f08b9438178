"""Stage ``train``: cached features to ``data/decoder/``, with its course in ``metrics/``."""

from fishseg import devices, params
from fishseg.decoders.files import save_decoder
from fishseg.features.shards import FeatureCache
from fishseg.tables import read_manifest
from fishseg.training import loop
from fishseg.training.familiarity import fit_familiarity
from fishseg.training.live import growing_curves
from stages import DECODER, FEATURES, MANIFEST, METRICS, run, write_metrics


def main() -> None:
    """Train the decoder."""
    manifest = read_manifest(MANIFEST)
    wanted = params.load(params.TrainParams)
    cache, device = FeatureCache(FEATURES), devices.select()
    devices.fix_threads(device)
    with growing_curves(METRICS / "train" / "epochs.csv") as show:
        result = loop.train(cache, manifest, wanted, device, on_epoch=show)
    save_decoder(result.decoder, result.card, DECODER)
    if familiarity := fit_familiarity(result.decoder, result.card, cache, manifest, device):
        familiarity.save(DECODER)
    loop.write_curves(result, METRICS / "train")
    write_metrics("train", result.summary)


if __name__ == "__main__":
    run(main)

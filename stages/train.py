"""Stage ``train``: cached features to ``data/decoder/``, with ``metrics/`` and ``plots/``."""

from fishseg import devices, params, plots, splits
from fishseg.decoders.files import save_decoder
from fishseg.features.shards import FeatureCache
from fishseg.training import loop
from fishseg.training.live import growing_curves
from stages import DECODER, FEATURES, MANIFEST, PLOTS, run, write_metrics


def main() -> None:
    """Train the decoder."""
    manifest = splits.read_manifest(MANIFEST)
    wanted = params.load(params.TrainParams)
    cache, device = FeatureCache(FEATURES), devices.select()
    with growing_curves(PLOTS / "train" / "epochs.csv") as show:
        result = loop.train(cache, manifest, wanted, device, on_epoch=show)
    save_decoder(result.decoder, result.card, DECODER)
    loop.write_curves(result, PLOTS / "train")
    plots.training_curves(result.steps, result.epochs, PLOTS / "train" / "curves")
    write_metrics("train", result.summary)


if __name__ == "__main__":
    run(main)

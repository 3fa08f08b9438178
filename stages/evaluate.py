"""Stage ``evaluate``: the decoder's scores in ``metrics/evaluate.json`` and ``plots/evaluate/``."""

from fishseg import devices, params
from fishseg.decoders.files import load_decoder
from fishseg.evaluation import files
from fishseg.evaluation.scoring import with_rejected
from fishseg.features.shards import FeatureCache
from fishseg.splits import read_manifest
from fishseg.tables import read_inventory
from stages import DECODER, FEATURES, INVENTORY, MANIFEST, PLOTS, run, write_metrics


def main() -> None:
    """Measure the decoder on every split."""
    device = devices.select()
    decoder, card = load_decoder(DECODER, device)
    summary = files.evaluate_cached(
        samples=with_rejected(read_manifest(MANIFEST), read_inventory(INVENTORY)),
        cache=FeatureCache(FEATURES),
        decoder=decoder,
        card=card,
        params=params.load(params.EvaluateParams),
        device=device,
        folder=PLOTS / "evaluate",
    )
    write_metrics("evaluate", summary)


if __name__ == "__main__":
    run(main)

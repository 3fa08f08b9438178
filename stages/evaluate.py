"""Stage ``evaluate``: what the decoder says of every sample, and what that is worth.

Features, decoder and masks to ``data/predictions/``, ``data/pooled/`` and ``metrics/``.
"""

from fishseg import devices, params
from fishseg.decoders.files import check_origin, decoder_sha256, load_decoder
from fishseg.evaluation.files import evaluate_cached, headline
from fishseg.evaluation.predicting import with_rejected
from fishseg.features.shards import FeatureCache
from fishseg.tables import read_inventory, read_manifest
from stages import DECODER, FEATURES, INVENTORY, MANIFEST, METRICS, PREDICTIONS, run, write_metrics


def main() -> None:
    """Measure the decoder on every split."""
    device = devices.select()
    devices.fix_threads(device)
    cache, manifest = FeatureCache(FEATURES), read_manifest(MANIFEST)
    decoder, card = load_decoder(DECODER, device)
    check_origin(card, cache, manifest)
    scores = evaluate_cached(
        samples=with_rejected(manifest, read_inventory(INVENTORY)),
        cache=cache,
        decoder=decoder,
        card=card,
        params=params.load(params.EvaluateParams),
        device=device,
        decoder_sha256=decoder_sha256(DECODER),
        predictions=PREDICTIONS,
        pooled=PREDICTIONS.with_name("pooled"),
        tables=METRICS / "evaluate",
    )
    write_metrics("evaluate", scores)
    write_metrics("summary", headline(scores))


if __name__ == "__main__":
    run(main)

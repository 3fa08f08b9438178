"""Stage ``report``: the numbers, curves and pictures of all stages as a page, ``data/report/``."""

from fishseg import devices, params, report
from fishseg.decoders.files import load_decoder
from fishseg.evaluation.scoring import predict_cached, with_rejected
from fishseg.features.shards import FeatureCache
from fishseg.splits import read_manifest
from fishseg.tables import read_inventory
from stages import DECODER, FEATURES, INVENTORY, MANIFEST, METRICS, PLOTS, REPORT, run


def main() -> None:
    """Write the page."""
    device = devices.select()
    threshold = params.load(params.EvaluateParams).threshold
    decoder, card = load_decoder(DECODER, device)
    samples = with_rejected(read_manifest(MANIFEST), read_inventory(INVENTORY))
    shown = samples[samples["split"].isin(report.SHOWN_SPLITS)]
    report.write_report(
        metrics=METRICS,
        plots=PLOTS,
        setup=report.describe(card, threshold),
        predictions=predict_cached(
            shown, FeatureCache(FEATURES), decoder, card, device, threshold=threshold
        ),
        params=params.load(params.ReportParams),
        folder=REPORT,
    )


if __name__ == "__main__":
    run(main)

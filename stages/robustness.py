"""Stage ``robustness``: the decoder on corrupted photographs, in ``metrics/`` and ``plots/``."""

from fishseg import devices, params, plots
from fishseg.prediction.segmenter import Segmenter
from fishseg.robustness import measure
from fishseg.tables import read_inventory, read_manifest
from stages import BACKBONE, DECODER, INVENTORY, MANIFEST, METRICS, PLOTS, run, write_metrics


def main() -> None:
    """Measure what the decoder keeps of its quality."""
    folder = PLOTS / "robustness"
    result = measure.measure(
        inventory=read_inventory(INVENTORY),
        manifest=read_manifest(MANIFEST),
        model=Segmenter.load(
            DECODER,
            BACKBONE,
            devices.select(),
            threshold=params.load(params.EvaluateParams).threshold,
        ),
        params=params.load(params.RobustnessParams),
    )
    measure.write_table(result.table, METRICS / "robustness")
    plots.severity_curves(result.table, folder / "severity.png")
    plots.contact_sheet(result.examples, folder / "contact_sheet.png")
    write_metrics("robustness", result.summary)


if __name__ == "__main__":
    run(main)

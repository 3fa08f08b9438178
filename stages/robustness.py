"""Stage ``robustness``: the decoder on corrupted photographs, in ``metrics/`` and ``plots/``."""

from fishseg import devices, params, plots, robustness
from fishseg.audit.table import read_inventory
from fishseg.prediction import Segmenter
from fishseg.splits import read_manifest
from stages import BACKBONE, DECODER, INVENTORY, MANIFEST, PLOTS, run, write_metrics


def main() -> None:
    """Measure what the decoder keeps of its quality."""
    folder = PLOTS / "robustness"
    result = robustness.measure(
        inventory=read_inventory(INVENTORY),
        manifest=read_manifest(MANIFEST),
        model=Segmenter.load(DECODER, BACKBONE, devices.select()),
        params=params.load(params.RobustnessParams),
    )
    robustness.write_table(result.table, folder)
    plots.severity_curves(result.table, folder / "pictures" / "severity.png")
    plots.contact_sheet(result.examples, folder / "pictures" / "contact_sheet.png")
    write_metrics("robustness", result.summary)


if __name__ == "__main__":
    run(main)

"""Stage ``robustness``: the decoder on corrupted photographs, in ``metrics/``.

Examples of what it saw and found lie in ``data/robustness/``.
"""

from fishseg import devices, params
from fishseg.prediction.segmenter import Segmenter
from fishseg.robustness import measure
from fishseg.tables import read_inventory, read_manifest
from stages import BACKBONE, DECODER, INVENTORY, MANIFEST, METRICS, ROBUSTNESS, run, write_metrics


def main() -> None:
    """Measure what the decoder keeps of its quality."""
    threshold = params.load(params.EvaluateParams).threshold
    result = measure.measure(
        inventory=read_inventory(INVENTORY),
        manifest=read_manifest(MANIFEST),
        model=Segmenter.load(DECODER, BACKBONE, devices.select(), threshold=threshold),
        params=params.load(params.RobustnessParams),
    )
    measure.write_table(result.table, METRICS / "robustness")
    measure.write_examples(result.examples, ROBUSTNESS)
    write_metrics("robustness", result.summary)


if __name__ == "__main__":
    run(main)

"""Stage ``robustness``: the decoder on corrupted photographs, in ``metrics/``.

Examples of what it saw and found lie in ``data/robustness/``.
"""

from fishseg import devices, params
from fishseg.decoders.files import decoder_sha256
from fishseg.prediction.segmenter import Segmenter
from fishseg.prediction.stored import Predictions
from fishseg.robustness import measure
from stages import BACKBONE, DECODER, METRICS, PREDICTIONS, ROBUSTNESS, run, write_metrics


def main() -> None:
    """Measure what the decoder keeps of its quality."""
    threshold = params.load(params.EvaluateParams).threshold
    predictions = Predictions(PREDICTIONS)
    predictions.check_decoder(decoder_sha256(DECODER))
    segmenter = Segmenter.load(DECODER, BACKBONE, devices.select(), threshold=threshold)
    result = measure.measure(predictions.samples, segmenter, params.load(params.RobustnessParams))
    measure.write_table(result.table, METRICS / "robustness")
    measure.write_examples(result.examples, ROBUSTNESS)
    decoder = segmenter.card.provenance(threshold)
    write_metrics("robustness", {**result.summary, "decoder": decoder})
    write_metrics("robustness_summary", measure.headline(result.summary))


if __name__ == "__main__":
    run(main)

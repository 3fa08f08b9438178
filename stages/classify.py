"""Stage ``classify``: the features under the masks to ``data/classifier/``, which names species.

How well it does, by given and by predicted masks, in ``metrics/``.
"""

from fishseg import params
from fishseg.classification.files import classify, headline
from fishseg.prediction.pooled import Pooled
from stages import CLASSIFIER, METRICS, POOLED, run, write_metrics


def main() -> None:
    """Learn the species, and measure that."""
    result = classify(Pooled.read(POOLED), params.load(params.ClassifyParams))
    result.write(CLASSIFIER, METRICS / "classify")
    write_metrics("classify", result.metrics)
    write_metrics("classify_summary", headline(result.metrics))


if __name__ == "__main__":
    run(main)

"""Stage ``report``: the pictures under ``plots/``, and all results as a page, ``data/report/``."""

from fishseg import params
from fishseg.prediction.stored import Predictions
from fishseg.report.figures import draw_figures
from fishseg.report.page import write_page
from stages import AUDIT, METRICS, PLOTS, PREDICTIONS, RAW, REPORT, ROBUSTNESS, run


def main() -> None:
    """Draw the figures and write the page."""
    wanted = params.load(params.ReportParams)
    predictions = Predictions(PREDICTIONS)
    draw_figures(
        predictions,
        metrics=METRICS,
        audit=AUDIT,
        raw=RAW,
        robustness=ROBUSTNESS,
        params=wanted,
        folder=PLOTS,
    )
    write_page(
        predictions,
        metrics=METRICS,
        plots=PLOTS,
        params=wanted,
        parameters=params.load_all(),
        folder=REPORT,
    )


if __name__ == "__main__":
    run(main)

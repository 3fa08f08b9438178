"""What `fishseg predict` and `fishseg measure` have in common: a folder is filled with results."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
from typing import TYPE_CHECKING

from tqdm import tqdm

from fishseg import cluster
from fishseg.cli.arguments import conclude, one_line
from fishseg.cli.decisions import DECISIONS, read_decisions
from fishseg.cli.results import Results, Wanted
from fishseg.cli.scales import Scales, scales_of
from fishseg.cli.streaming import Predicting, outcomes
from fishseg.cli.tables import write_tables
from fishseg.errors import FishsegError, ParameterError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fishseg.cli.inputs import Found
    from fishseg.cli.models import Loaded
    from fishseg.prediction.model import ProbabilityModel

log = logging.getLogger("fishseg")


def wanted_of(options: argparse.Namespace) -> tuple[Wanted, Scales]:
    """What the options of `fishseg.cli.arguments.add_results` ask for.

    Raises:
        ParameterError: a number is out of its range, or the scale is not clear.
        DataError: the file of the scales cannot be used.
    """
    if not 0 <= options.min_share <= 1:
        raise ParameterError(
            f"the smallest share cannot be {options.min_share:g}",
            where="--min-share",
            expected="0 to 1",
            remedy="--min-share 0.03",
        )
    if options.excel and importlib.util.find_spec("openpyxl") is None:
        raise ParameterError(
            "a sheet needs openpyxl, which is not installed",
            where="--excel",
            remedy="pip install '.[excel]' in a copy of the repository, or pip install openpyxl",
        )
    wanted = Wanted(
        model="",
        min_share=options.min_share,
        probability_bits=0,
        coco=options.coco,
        excel=options.excel,
        min_confidence=0,
        scales={},
        ruler=options.scale == "ruler",
        forget_scales=options.scale == "none",
    )
    return wanted, scales_of(options)


def fill(
    folder: Path,
    found: Found,
    source: ProbabilityModel | Mapping[Path, Path],
    wanted: Wanted,
    scales: Scales,
    *,
    reload: Callable[[], Loaded] | None = None,
) -> int:
    """Work through pictures, put the tables together, and say what was used and what was not.

    Args:
        folder: where to.
        found: the pictures, and what else to say of the arguments.
        source: a model, or the mask of each picture.
        wanted: what to make of them.
        scales: of the pictures.
        reload: loads the model in another process; where it is given and ``FISHSEG_RAY`` is set,
            Ray's workers predict.

    Returns:
        The exit status, 1 where a picture could not be used.
    """
    problems: list[FishsegError] = []
    remarks: list[str] = []
    n_used = 0
    read_decisions(folder / DECISIONS)  # a damaged file is better known before hours of work
    with Results(folder) as results:
        pictures = results.named(found.pictures)
        of_each, useless = scales.of_each(pictures)
        remarks += useless
        remarks += [
            f"{picture.path.name}: the picture that was {picture.source}, and is called so still"
            for picture in pictures
            if picture.path.name != picture.source.rpartition("/")[2]
        ]
        wanted = dataclasses.replace(wanted, scales=of_each)
        try:
            if reload is not None and cluster.asked():
                predicting = Predicting(reload=reload, folder=folder, wanted=wanted)
                done = cluster.spread(predicting, pictures, each="device")
            else:
                done = outcomes(pictures, source, results, wanted)
            for outcome in tqdm(done, total=len(pictures), desc="measure", unit="image"):
                if isinstance(outcome.settled, FishsegError):
                    problems.append(outcome.settled)
                else:
                    n_used += 1
                if outcome.remark:
                    remarks.append(f"{outcome.picture.source}: {outcome.remark}")
        finally:
            # Also of a run that was interrupted: what is finished is in the tables.
            remarks += write_tables(results, wanted)
    log.info("the results are in %s", folder)
    lines = [one_line(problem) for problem in [*problems, *found.problems]]
    return conclude(n_used, lines, remarks + found.remarks)

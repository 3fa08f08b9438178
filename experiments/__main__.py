"""Run the studies of ``experiments/studies.yaml`` and write ``docs/results.md``.

Examples:
  python -m experiments                    every run that is missing, then tables and plots
  python -m experiments decoders losses    these studies only
  python -m experiments --list             what there is, and how many runs are missing
  python -m experiments --queue layers     the same runs as DVC experiments: dvc queue start

The parameters are those of params.yaml but for what a study says. A run that is in
``experiments/results/`` with the same parameters is not done again; one interrupted is lost alone.
"""

from __future__ import annotations

import argparse
import logging
import subprocess

from experiments import report
from experiments.study import Study, complete, declared, missing, runs
from fishseg.errors import one_message


def main() -> None:
    """Do what the command line says."""
    studies = declared()
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", nargs="*", choices=[[], *studies], help="default: all")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="only say what there is")
    instead.add_argument("--queue", action="store_true", help="queue as DVC experiments instead")
    instead.add_argument("--report", action="store_true", help="only write docs/results.md")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    chosen = [studies[name] for name in options.study or studies]
    with one_message("interrupted; the runs that are finished are kept"):
        for study in chosen:
            if options.list:
                print(f"{study.name}: {study.question} ({len(missing(study))} runs missing)")
            elif options.queue:
                queue(study)
            elif not options.report:
                complete(study)
        if not (options.list or options.queue):
            report.write([study for study in studies.values() if study.results.exists()])


def queue(study: Study) -> None:
    """Queue every run of a study as a DVC experiment, named after it."""
    for run in runs(study):
        changes = [argument for override in run.overrides for argument in ("-S", override)]
        name = f"{study.name}-{run.arm}-fold{run.fold}-seed{run.seed}".replace(" ", "-")
        subprocess.run(["dvc", "exp", "run", "--queue", "--name", name, *changes], check=True)


if __name__ == "__main__":
    main()

"""Stage ``audit``: ``data/raw/`` to ``data/inventory.csv``, with ``metrics/``."""

import dataclasses

from fishseg import params
from fishseg.audit.inventory import build_inventory, summary
from fishseg.audit.table import write_inventory
from stages import INVENTORY, RAW, run, write_metrics


def main() -> None:
    """Pair, check and hash the files."""
    inventory = build_inventory(RAW, params.load(params.AuditParams))
    write_inventory(inventory.table, INVENTORY)
    problems = [dataclasses.asdict(problem) for problem in inventory.problems]
    write_metrics("problems", {"problems": problems})
    write_metrics("audit", summary(inventory))


if __name__ == "__main__":
    run(main)

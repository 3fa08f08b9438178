"""Stage ``audit``: ``data/raw/`` to ``data/inventory.csv`` and ``metrics/audit.json``."""

from fishseg import params
from fishseg.audit import inventory
from fishseg.audit.table import write_inventory
from fishseg.datasets.layout import write_problems
from stages import INVENTORY, PLOTS, RAW, run, write_metrics


def main() -> None:
    """Pair, check and hash the files."""
    audited = inventory.build_inventory(RAW, params.load(params.AuditParams))
    write_inventory(audited.table, INVENTORY)
    (PLOTS / "audit").mkdir(parents=True, exist_ok=True)
    write_problems(audited.problems, PLOTS / "audit" / "problems.csv")
    write_metrics("audit", inventory.summary(audited))


if __name__ == "__main__":
    run(main)

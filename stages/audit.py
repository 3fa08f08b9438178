"""Stage ``audit``: ``data/raw/`` to ``data/inventory.csv`` and ``data/audit/``."""

import dataclasses
import logging

from fishseg import params
from fishseg.audit import inventory
from fishseg.audit.mask_values import DVC_CHOICE
from fishseg.audit.provenance import audit, write_tables
from fishseg.images.folders import use_listed
from fishseg.tables import write_inventory
from stages import AUDIT, INVENTORY, RAW, run, write_metrics

log = logging.getLogger(__name__)


def main() -> None:
    """Check the files, find each copy's photograph, and the masks that do not fit."""
    wanted = params.load(params.AuditParams)
    found = inventory.build_inventory(
        RAW,
        max_broken_share=wanted.max_broken_share,
        mask_values=params.load(params.DataParams).mask_values,
        choice=DVC_CHOICE,
    )
    found.require_fish()
    log.info("%s", use_listed(*found.use()))
    audited = audit(found.table, RAW, wanted, AUDIT / "masks")
    write_inventory(audited.table, INVENTORY, AUDIT / "inventory.parquet")
    write_tables(audited, AUDIT)
    problems = [dataclasses.asdict(problem) for problem in found.problems + audited.problems]
    write_metrics("problems", {"problems": problems})
    write_metrics("audit", {"files": inventory.summary(found), **audited.metrics})


if __name__ == "__main__":
    run(main)

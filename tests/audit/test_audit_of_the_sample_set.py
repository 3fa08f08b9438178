"""The audit against what the renderer knows; the pipeline never reads ``truth.csv``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fishseg.audit.inventory import build_inventory
from fishseg.audit.provenance import audit
from fishseg.datasets import sample
from fishseg.params import AuditParams, DataParams


@pytest.mark.slow
def test_rendered_copies_are_traced_and_wrong_masks_repaired(workspace: Path) -> None:
    raw = workspace / "data/raw"
    raw.mkdir(parents=True)
    sample.download(
        DataParams(
            source="sample",
            path="",
            seed=3,
            photos_per_class=1,
            copies_per_photo=5,
            scene="market",
            wrong_mask_share=0.1,
            mask_values="auto",
        ),
        raw,
    )
    params = AuditParams(
        max_broken_share=0.0,
        masks="repair",
        min_likeness=0.4,
        min_mask_agreement=0.9,
        min_agreeing_masks=3,
    )
    table = build_inventory(raw, max_broken_share=0).table
    found = audit(table, raw, params, workspace / "masks", workers=2)
    truth = pd.read_csv(raw / "truth.csv").set_index("sample_id").loc[table["sample_id"]]
    copies = found.copies.set_index("sample_id")
    assert (copies["source"] == truth["photo"]).all()
    assert (copies["flipped"] == truth["flipped"]).all()
    off = (copies["rotation_degrees"] - truth["rotation_degrees"] + 180) % 360 - 180
    assert off.abs().max() < 0.5
    wrong = copies["mask_status"] == "repaired"
    assert wrong.sum() >= 3
    assert (wrong == (truth["mask_wrong"] == 1)).all()
    assert set(found.table["group_id"]) == set(truth["photo"])

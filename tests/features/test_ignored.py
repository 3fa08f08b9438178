"""From a mask with ignored pixels to batches: a second bit plane, only where it is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from fishseg.audit.inventory import build_inventory
from fishseg.backbones import load_backbone
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.params import FeaturesParams, TrainParams
from fishseg.training import loop

CPU = torch.device("cpu")
RAW = Path("data/raw")


def test_ignored_pixels_reach_training_as_such(
    fish_folder: Path,
    tiny_backbone: Path,
    features_params: FeaturesParams,
    train_params: TrainParams,
) -> None:
    backbone = load_backbone(tiny_backbone, (-1,))
    plain = build_inventory(RAW, max_broken_share=0).table
    extract(plain, backbone, features_params, Path("plain"), CPU)
    # The right third is not known; what was 255 is 1.
    for path in RAW.rglob("* GT/*.png"):
        values = (np.asarray(Image.open(path)) > 0).astype(np.uint8)
        values[:, 40:] = 255
        Image.fromarray(values).save(path)
    declared = build_inventory(RAW, max_broken_share=0, mask_values="fish: 1; ignore: 255").table
    assert set(declared["mask_rule"]) == {"fish: 1; ignore: 255"}
    extract(declared, backbone, features_params, Path("partly"), CPU)
    before, after = FeatureCache(Path("plain")), FeatureCache(Path("partly"))
    for sample_id in declared["sample_id"]:
        whole, part = before.batch([sample_id]), after.batch([sample_id])
        assert whole.counted() is None
        valid = part.counted()
        assert valid is not None
        width = valid.shape[-1]
        known = round(width * 40 / 59)
        assert valid[..., : known - 1].all()
        assert not valid[..., known + 1 :].any()
        assert not (part.target().bool() & ~valid).any()
        same = part.target()[..., : known - 1] == whole.target()[..., : known - 1]
        assert same.all()
    manifest = pd.DataFrame(
        {
            "sample_id": declared["sample_id"],
            "class_name": declared["class_name"],
            "group_id": declared["group_id"],
            "split": ["train", "train", "train", "val"] * 2,
        }
    )
    result = loop.train(after, manifest, train_params, CPU)
    assert np.isfinite(result.epochs["val_loss"]).all()

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fishseg.metrics.panoptic import (
    ImageMatches,
    Panoptic,
    average_precision,
    match_image,
    summarise_instances,
)


def labels(*boxes: Sequence[int]) -> np.ndarray:
    """Boxes ``left, top, width, height``, numbered in turn, the later ones over the earlier."""
    found = np.zeros((40, 60), np.int32)
    for number, (left, top, width, height) in enumerate(boxes, start=1):
        found[top : top + height, left : left + width] = number
    return found


def test_panoptic_quality_by_hand() -> None:
    # The first is found but for a tenth, the second is missed, one more is found that is none.
    truth = labels((0, 0, 10, 10), (20, 0, 10, 10))
    predicted = labels((0, 0, 9, 10), (20, 20, 5, 5))
    found = Panoptic.of([match_image(predicted, [0.9, 0.8], truth)])
    assert (found.n_matched, found.n_predicted, found.n_true) == (1, 2, 2)
    assert found.segmentation == pytest.approx(0.9)
    assert found.recognition == 0.5
    # Kirillov et al.: the sum of the IoUs over TP + FP / 2 + FN / 2.
    assert found.quality == pytest.approx(0.9 / (1 + 0.5 + 0.5))


def test_two_fish_taken_for_one_are_one_too_few() -> None:
    truth = labels((0, 0, 10, 10), (10, 0, 10, 10))
    as_one = [match_image(labels((0, 0, 20, 10)), [0.9], truth)]
    apart = [match_image(truth, [0.9, 0.9], truth)]
    assert Panoptic.of(as_one).quality == 0  # an IoU of one half is not above it
    assert Panoptic.of(apart).quality == 1
    assert summarise_instances(as_one)["count_error"] == 1
    assert summarise_instances(as_one)["count_exact"] == 0
    assert summarise_instances(apart)["count_error"] == 0
    assert summarise_instances(apart)["ap75"] == 1


def test_numbers_may_be_left_out_and_come_in_any_order() -> None:
    truth = labels((0, 0, 10, 10), (20, 0, 10, 10))
    other = np.where(truth == 1, 7, np.where(truth == 2, 3, 0)).astype(np.int32)
    for one in (truth, other):
        assert match_image(truth, [1, 1], one).ious.shape == (2, 2)
        assert Panoptic.of([match_image(truth, [1, 1], one)]).quality == 1


def test_what_does_not_count_is_in_nobodys_way() -> None:
    truth = labels((0, 0, 10, 10))
    valid = np.ones(truth.shape, bool)
    valid[20:] = False
    valid[:, 5:10] = False
    predicted = labels((0, 0, 7, 10), (30, 25, 10, 10))  # the second lies where nothing is known
    match = match_image(predicted, [0.5, 0.9], truth, valid)
    assert match.ious.tolist() == [[1.0]]
    assert match.confidences.tolist() == [0.5]


def test_nothing_found_where_nothing_is() -> None:
    empty = [match_image(labels(), [], labels())]
    assert Panoptic.of(empty).quality == 1
    assert average_precision(empty, 0.5) == 1
    missed = [match_image(labels(), [], labels((0, 0, 5, 5)))]
    assert Panoptic.of(missed).quality == 0
    assert average_precision(missed, 0.5) == 0
    invented = [match_image(labels((0, 0, 5, 5)), [0.9], labels())]
    assert Panoptic.of(invented).quality == 0
    assert average_precision(invented, 0.5) == 0
    assert summarise_instances([]) == {"n_fish": 0, "n_predicted": 0}


def coco_ap(images: list[tuple[np.ndarray, list[float], np.ndarray]], iou: float) -> float:
    """The same by pycocotools."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, (predicted, confidences, truth) in enumerate(images, start=1):
        for value in np.unique(truth[truth > 0]):
            runs = mask_api.encode(np.asfortranarray(truth == value, np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": int((truth == value).sum()),
                    "bbox": mask_api.toBbox(runs).tolist(),
                    "segmentation": runs,
                }
            )
        for value, confidence in enumerate(confidences, start=1):
            runs = mask_api.encode(np.asfortranarray(predicted == value, np.uint8))
            entry = {"image_id": number, "category_id": 1, "score": confidence}
            results.append({**entry, "segmentation": runs})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [
                {"id": number, "height": 40, "width": 60} for number in range(1, len(images) + 1)
            ],
            "categories": [{"id": 1, "name": "fish"}],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.params.iouThrs = np.array([iou])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, 0, 0, -1]
    return float(precision.mean())


@pytest.mark.parametrize("iou", [0.5, 0.75])
@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_that_of_pycocotools(seed: int, iou: float) -> None:
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(5):
        boxes = [
            tuple(int(v) for v in rng.integers((0, 0, 8, 8), (45, 25, 15, 15))) for _ in "abcd"
        ]
        truth = labels(*boxes)
        moved = [(x + int(rng.integers(-3, 4)) % 45, y, w, h) for x, y, w, h in boxes[:3]]
        predicted = labels(*moved, (50, 30, 6, 6))
        present = np.unique(predicted[predicted > 0])
        predicted = np.searchsorted(np.concatenate([[0], present]), predicted).astype(np.int32)
        # Some are as sure as others.
        images.append((predicted, rng.choice(8, len(present)).tolist(), truth))
    ours = [match_image(*image) for image in images]
    expected = coco_ap(images, iou)
    assert 0 < expected < 1 or iou > 0.5
    assert average_precision(ours, iou) == pytest.approx(expected, abs=1e-9)


def test_images_are_pooled_before_ratios() -> None:
    good = ImageMatches(np.array([[0.8]]), np.array([0.9]))
    many = ImageMatches(np.zeros((0, 3)), np.zeros(0))
    found = summarise_instances([good, many])
    assert found["panoptic_quality"] == pytest.approx(0.8 / (1 + 1.5))
    assert found["count_error"] == 1.5
    assert (found["n_fish"], found["n_predicted"]) == (4, 1)

from __future__ import annotations

import numpy as np
import pytest

from fishseg.metrics.confidence import confidence_of, selective_risk, stability


def blurred_fish(softness: float) -> np.ndarray:
    """Probabilities ``(100, 100)`` of a disc with an outline as soft as asked for, in pixels."""
    y, x = np.ogrid[:100, :100]
    return np.asarray(1 / (1 + np.exp((np.hypot(y - 50, x - 50) - 30) / softness)))


def test_a_sure_right_mask_is_certain() -> None:
    mask = blurred_fish(1) >= 0.5
    assert stability(mask.astype(np.float32), 0.5) == 1.0


@pytest.mark.parametrize("level", [0.0, 1e-9, 0.2])
def test_finding_nothing_is_never_confident(level: float) -> None:
    nothing = np.full((10, 10), level)
    assert stability(nothing, 0.5) == 0.0


def test_stability_counts_between_thresholds_of_equal_odds() -> None:
    probability = np.array([0.95, 0.71, 0.69, 0.31, 0.29, 0.0])
    assert stability(probability, 0.5) == 2 / 4
    # 0.8 are odds of 4: 4 * 7/3 and 4 / (7/3) are 0.903 and 0.632.
    assert stability(probability, 0.8) == 1 / 3


def test_what_two_looks_do_not_agree_on_is_less_certain() -> None:
    probability = np.zeros((4, 10), np.float32)
    probability[1, :8] = 1
    first = np.zeros((4, 10), np.bool_)
    first[1, 2:10] = True
    assert confidence_of(probability, 0.5) == 1
    assert confidence_of(probability, 0.5, probability > 0) == 1
    assert confidence_of(probability, 0.5, first) == pytest.approx(6 / 10)
    assert confidence_of(np.zeros_like(probability), 0.5, ~first & False) == 0


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_a_softer_outline_is_less_certain(threshold: float) -> None:
    values = [stability(blurred_fish(softness), threshold) for softness in (0.1, 1, 3, 9)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


def test_the_risk_of_a_case_worked_by_hand() -> None:
    iou = [0.9, 0.5, 0.8]
    assert selective_risk([0.3, 0.2, 0.1], iou) == pytest.approx([0.1, 0.3, 0.8 / 3])
    assert selective_risk(iou, iou) == pytest.approx([0.1, 0.15, 0.8 / 3])


def test_no_order_is_better_than_that_of_the_iou_and_all_end_alike() -> None:
    rng = np.random.default_rng(0)
    iou = rng.random(50)
    best = selective_risk(iou, iou)
    for _ in range(20):
        curve = selective_risk(rng.random(50), iou)
        assert (curve >= best - 1e-12).all()
        assert curve[-1] == pytest.approx(1 - iou.mean())


def test_equal_confidences_keep_their_order() -> None:
    assert selective_risk([1, 1, 1], [0.0, 0.5, 1.0]) == pytest.approx([1, 0.75, 0.5])

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from fishseg.metrics.calibration import TEMPERATURE_RANGE, LevelCounts, LogitHistogram


def drawn(
    temperature: float, *, n: int = 400_000, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are too large by a factor, and truths drawn with the right probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, n)
    target = rng.random(n) < expit(logits)
    return torch.from_numpy(logits * temperature).float(), torch.from_numpy(target).float()


def filled(logits: torch.Tensor, target: torch.Tensor) -> LogitHistogram:
    histogram = LogitHistogram()
    histogram.add(logits, target)
    return histogram


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    histogram = filled(*drawn(temperature))
    assert histogram.fit_temperature() == pytest.approx(temperature, rel=0.02)


def test_the_temperature_is_that_of_the_likelihood_of_every_pixel() -> None:
    logits, target = drawn(1.7, n=20_000)
    found = filled(logits, target).fit_temperature()
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    candidates = torch.linspace(found - 0.1, found + 0.1, 201)
    costs = [loss(logits.double() / value, target.double()) for value in candidates]
    best = float(candidates[int(torch.stack(costs).argmin())])
    assert found == pytest.approx(best, abs=0.003)


def test_calibration_lowers_the_error_and_a_calibrated_decoder_has_next_to_none() -> None:
    histogram = filled(*drawn(2.5))
    assert histogram.ece(1.0) > 0.03
    assert histogram.ece(2.5) < 0.003


def test_the_error_of_a_case_worked_by_hand() -> None:
    # Eight pixels of probability 0.9, half of them fish: a gap of 0.4. Two of 0.5, one of them
    # fish: none. 0.8 * 0.4 + 0.2 * 0 = 0.32.
    logits = torch.tensor([np.log(9)] * 8 + [0.0] * 2)
    target = torch.tensor([1.0] * 4 + [0.0] * 4 + [1.0, 0.0])
    histogram = filled(logits, target)
    assert histogram.ece(1.0) == pytest.approx(0.32, abs=2e-3)
    table = histogram.reliability(1.0)
    assert list(table["n_pixels"][table["n_pixels"] > 0]) == [2, 8]
    assert list(table["fish_fraction"].dropna()) == [0.5, 0.5]
    assert table["probability"].dropna().to_list() == pytest.approx([0.5, 0.9], abs=2e-3)


def test_batches_add_up() -> None:
    logits, target = drawn(1.0, n=1000)
    whole, parts = filled(logits, target), LogitHistogram()
    for part in range(4):
        picture = slice(250 * part, 250 * (part + 1))
        parts.add(logits[picture].view(1, 1, 10, 25), target[picture].view(1, 1, 10, 25))
    assert parts.reliability(1.0).equals(whole.reliability(1.0))
    assert parts.fit_temperature() == whole.fit_temperature()
    assert whole.reliability(1.0)["n_pixels"].sum() == 1000


def test_every_pixel_is_in_the_bin_of_its_probability() -> None:
    table = filled(*drawn(1.0)).reliability(1.0).dropna()
    slack = 1e-3  # half a bin of logits
    assert (table["probability"] >= table["low"] - slack).all()
    assert (table["probability"] <= table["high"] + slack).all()


def test_logits_beyond_every_limit_are_counted_too() -> None:
    logits = torch.tensor([torch.inf, -torch.inf, 1e30, -1e30, torch.nan])
    table = filled(logits, torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])).reliability(1.0)
    assert list(table["n_pixels"][[0, 7, 14]]) == [2, 1, 2]


def test_the_temperature_stays_finite() -> None:
    perfect = filled(torch.tensor([-3.0, 3.0]), torch.tensor([0.0, 1.0]))
    useless = filled(torch.tensor([-3.0, 3.0]), torch.tensor([1.0, 0.0]))
    low, high = TEMPERATURE_RANGE
    assert perfect.fit_temperature() == pytest.approx(low, rel=1e-3)
    assert useless.fit_temperature() == pytest.approx(high, rel=1e-3)


def test_without_pixels_there_is_nothing_to_calibrate() -> None:
    histogram = LogitHistogram()
    assert histogram.fit_temperature() == 1.0
    assert histogram.ece(1.0) == 0.0
    assert histogram.reliability(1.0)["probability"].isna().all()


def test_levels_are_counted_as_their_probabilities() -> None:
    # Four pixels at 0.799, three of them fish; one at 0.002 that is none.
    levels = np.array([[204, 204, 204, 204, 0]], np.uint8)
    counts = LevelCounts.of(levels, np.array([[True, True, True, False, False]]))
    gaps = (204.5 / 256 - 0.75, 0.5 / 256)
    assert counts.ece() == pytest.approx(0.8 * gaps[0] + 0.2 * gaps[1])
    counts.add(counts)
    table = counts.reliability()
    assert list(table["n_pixels"][table["n_pixels"] > 0]) == [2, 8]
    assert list(table["fish_fraction"].dropna()) == [0.0, 0.75]
    assert LevelCounts().ece() == 0.0


def test_pixels_that_do_not_count_are_not_counted() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 1, 8, 8, generator=generator)
    target = (torch.rand(logits.shape, generator=generator) > 0.5).float()
    valid = torch.rand(logits.shape, generator=generator) > 0.3
    some, chosen = LogitHistogram(), LogitHistogram()
    some.add(logits, target, valid)
    chosen.add(logits[valid], target[valid])
    assert some.fit_temperature() == chosen.fit_temperature()
    levels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    counted = LevelCounts.of(levels, target[0, 0].bool().numpy(), valid[0, 0].numpy())
    assert counted.reliability()["n_pixels"].sum() == int(valid[0, 0].sum())

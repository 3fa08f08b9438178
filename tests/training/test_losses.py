from __future__ import annotations

import math

import pytest
import sklearn.metrics
import torch

from fishseg.training.losses import (
    BOUNDARY_WEIGHT,
    LOSSES,
    bce,
    bce_dice,
    bce_lovasz,
    boundary_bce_dice,
    lovasz_hinge,
    soft_dice,
)

NAMES = sorted(LOSSES)


def random_batch(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    target = torch.rand(2, 1, 3, 4, generator=generator, dtype=torch.float64)
    return logits.to(dtype), target.to(dtype)


def test_bce_worked_by_hand() -> None:
    # Probabilities 1/2, 3/4 and 1/4 against 1, 1 and 0.
    logits = torch.tensor([0.0, math.log(3), -math.log(3)]).view(1, 1, 1, 3)
    target = torch.tensor([1.0, 1.0, 0.0]).view(1, 1, 1, 3)
    expected = (math.log(2) + 2 * math.log(4 / 3)) / 3
    assert bce(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_bce_agrees_with_scikit_learn() -> None:
    logits, target = random_batch(torch.float64)
    truth = (target > 0.5).double()
    expected = sklearn.metrics.log_loss(truth.flatten(), logits.sigmoid().flatten())
    assert bce(logits, truth).item() == pytest.approx(expected)


def test_soft_dice_worked_by_hand() -> None:
    # Four pixels of fish, each with probability 1/2: 1 - (2 * 2 + 1) / (4 * 1/4 + 4 + 1) = 1/6.
    # Four pixels of background, the same: 1 - 1 / (4 * 1/4 + 1) = 1/2.
    logits = torch.zeros(2, 1, 2, 2)
    target = torch.stack([torch.ones(1, 2, 2), torch.zeros(1, 2, 2)])
    assert soft_dice(logits[:1], target[:1]).item() == pytest.approx(1 / 6)
    assert soft_dice(logits[1:], target[1:]).item() == pytest.approx(1 / 2)
    # By image, then the mean: pooled over the batch it would be 1 - 5 / 7.
    assert soft_dice(logits, target).item() == pytest.approx((1 / 6 + 1 / 2) / 2)


def test_bce_dice_is_the_sum_of_both() -> None:
    logits, target = random_batch()
    assert bce_dice(logits, target) == bce(logits, target) + soft_dice(logits, target)


def test_lovasz_hinge_of_sure_logits_is_one_minus_iou() -> None:
    # Errors are 0 or 2 there, and the Lovász extension is linear: twice the Jaccard loss.
    generator = torch.Generator().manual_seed(1)
    target = (torch.rand(3, 1, 5, 7, generator=generator) > 0.5).float()
    answer = (torch.rand(3, 1, 5, 7, generator=generator) > 0.5).float()
    intersection = (answer * target).sum(dim=(1, 2, 3))
    union = answer.maximum(target).sum(dim=(1, 2, 3))
    expected = 2 * (1 - intersection / union).mean()
    assert lovasz_hinge(2 * answer - 1, target).item() == pytest.approx(expected.item(), rel=1e-6)


def test_lovasz_hinge_worked_by_hand() -> None:
    # Errors 1.5 (fish) and 0.5 (background): 1.5 * (1 - 0/1) + 0.5 * ((1 - 0/2) - 1) = 1.5.
    logits = torch.tensor([-0.5, -0.5]).view(1, 1, 1, 2)
    target = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert lovasz_hinge(logits, target).item() == pytest.approx(1.5)
    # The errors the other way round: 1.5 * (1 - 1/2) + 0.5 * (1 - 1/2) = 1.
    assert lovasz_hinge(-logits, target).item() == pytest.approx(1.5 * 0.5 + 0.5 * 0.5)


def test_bce_lovasz_is_the_sum_of_both() -> None:
    logits, target = random_batch()
    assert bce_lovasz(logits, target) == bce(logits, target) + lovasz_hinge(logits, target)


def test_the_boundary_counts_more_and_its_weights_are_normalised() -> None:
    target = torch.zeros(1, 1, 1, 40)
    target[..., :20] = 1
    near, far = torch.zeros_like(target), torch.zeros_like(target)
    near[..., 20], far[..., 35] = 1, 1
    dice = soft_dice(torch.zeros_like(target), target)
    even = boundary_bce_dice(torch.zeros_like(target), target) - dice
    assert even.item() == pytest.approx(math.log(2))
    right = (2 * target - 1) * 20

    def cost(wrong: torch.Tensor) -> float:
        logits = torch.where(wrong.bool(), -right, right)
        return float(boundary_bce_dice(logits, target) - soft_dice(logits, target))

    assert cost(near) / cost(far) == pytest.approx(BOUNDARY_WEIGHT, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_being_right_costs_nothing_and_being_wrong_a_lot(name: str, fill: float) -> None:
    target = torch.full((2, 1, 8, 8), fill)
    right = (target - 0.5) * 200
    assert LOSSES[name](right, target).item() == pytest.approx(0, abs=1e-6)
    assert LOSSES[name](-right, target).item() > 50


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    logits, target = random_batch(torch.float64)
    assert torch.autograd.gradcheck(LOSSES[name], (logits.requires_grad_(), target))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(name: str, dtype: torch.dtype) -> None:
    # 200,704 pixels of fish: their number alone is more than float16 can hold.
    logits = torch.randn(1, 1, 448, 448, generator=torch.Generator().manual_seed(0)).to(dtype)
    target = torch.ones(1, 1, 448, 448)
    loss = LOSSES[name](logits, target)
    assert loss.dtype == torch.float32
    assert loss.item() == LOSSES[name](logits.float(), target).item()
    assert LOSSES[name](logits, target.to(dtype)).item() == loss.item()


@pytest.mark.parametrize("name", NAMES)
def test_extreme_logits_stay_finite(name: str) -> None:
    logits = torch.tensor([-1e4, 1e4, -1e4, 1e4]).view(1, 1, 2, 2).requires_grad_()
    loss = LOSSES[name](logits, torch.tensor([0.0, 1.0, 1.0, 0.0]).view(1, 1, 2, 2))
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_would_broadcast_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="size"):
        LOSSES[name](torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))


@pytest.mark.parametrize("name", NAMES)
def test_descending_finds_the_mask(name: str) -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., 2:5, 1:7] = 1
    logits = torch.zeros_like(target, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=20)
    for _ in range(20):
        optimizer.zero_grad()
        LOSSES[name](logits, target).backward()
        optimizer.step()
    assert torch.equal((logits >= 0).float(), target)


# Pixels that do not count


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_count_has_no_influence_and_no_gradient(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    target = torch.zeros(2, 1, 24, 24)
    target[:, :, 4:10, 4:10] = 1
    valid = torch.ones_like(target).bool()
    valid[:, :, :, 14:] = False
    logits = torch.randn(target.shape, generator=generator).requires_grad_()
    value = LOSSES[name](logits, target, valid)
    value.backward()
    assert logits.grad is not None
    assert not logits.grad[~valid].any()
    assert logits.grad[valid].any()
    # Whatever is predicted there, and the same as of the part that counts alone.
    other = torch.where(valid, logits.detach(), 50.0)
    assert LOSSES[name](other, target, valid) == value
    part = LOSSES[name](logits.detach()[..., :14], target[..., :14])
    torch.testing.assert_close(part, value.detach())


@pytest.mark.parametrize("name", NAMES)
def test_if_all_counts_it_is_the_same_loss(name: str) -> None:
    logits, target = random_batch()
    everything = torch.ones_like(target).bool()
    torch.testing.assert_close(
        LOSSES[name](logits, target, everything), LOSSES[name](logits, target)
    )
    # Nothing at all is no fault, and no number that is none.
    assert LOSSES[name](logits, torch.zeros_like(target), ~everything).item() == pytest.approx(0)

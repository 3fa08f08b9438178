from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from fishseg.training.interior import (
    BOUNDARY_PX,
    CORE_SHARE,
    VALLEY_WEIGHT,
    boundary_interior,
    distance_interior,
    interior_loss,
)


def touching() -> torch.Tensor:
    """Two fish ``(1, 20, 40)``, side by side in columns 10 to 19 and 20 to 29."""
    objects = torch.zeros(1, 20, 40, dtype=torch.int16)
    objects[0, 5:15, 10:20] = 3
    objects[0, 5:15, 20:30] = 7
    return objects


def test_the_boundary_lies_on_both_sides_of_where_fish_meet_and_nowhere_else() -> None:
    objects = touching()
    interior = boundary_interior(objects)[0, 0]
    near = torch.zeros(20, 40, dtype=torch.bool)
    near[5:15, 20 - BOUNDARY_PX : 20 + BOUNDARY_PX] = True
    fish = objects[0] > 0
    assert torch.equal(interior[fish] == 0, near[fish])
    assert (interior[fish & ~near] == 1).all()  # along the background, too


def test_the_distance_is_that_to_another_fish_as_to_the_background() -> None:
    rng = np.random.default_rng(0)
    objects = np.kron(rng.integers(0, 4, (5, 8)), np.ones((16, 16))).astype(np.int16)
    interior = distance_interior(torch.from_numpy(objects)[None])[0, 0].numpy()
    for number in (1, 2, 3):
        fish = objects == number
        exact = ndimage.distance_transform_edt(np.pad(fish, 1, mode="edge"))[1:-1, 1:-1]
        # Where fish meet, the line between them belongs to both: half a pixel and the mask's 5x5.
        core = CORE_SHARE * exact[fish].max()
        off = np.abs(interior * core - np.minimum(exact, core))[fish]
        assert off.max() < 1.5
        assert interior[fish].max() == 1
    assert (interior[objects == 0] == 0).all()


@pytest.mark.parametrize("instances", ["boundary", "distance"])
def test_the_loss_is_least_at_the_target_and_blind_to_what_has_no_number(instances: str) -> None:
    objects = touching()
    make = boundary_interior if instances == "boundary" else distance_interior
    target = make(objects)
    right = torch.logit(target.clamp(1e-4, 1 - 1e-4)).requires_grad_()
    other = (right.detach() + torch.randn_like(right)).requires_grad_()
    low, high = (interior_loss(logits, objects, instances) for logits in (right, other))
    assert low < high
    high.backward()
    assert other.grad is not None
    assert (other.grad[0, 0][objects[0] == 0] == 0).all()
    assert (other.grad[0, 0][objects[0] > 0] != 0).all()


def test_a_pixel_between_fish_counts_as_much_as_several() -> None:
    objects = touching()
    logits = torch.zeros(1, 1, 20, 40, requires_grad=True)
    interior_loss(logits, objects, "boundary").backward()
    assert logits.grad is not None
    gradient = logits.grad[0, 0].abs()
    assert float(gradient[10, 19] / gradient[10, 12]) == pytest.approx(VALLEY_WEIGHT)


@pytest.mark.parametrize("instances", ["boundary", "distance"])
def test_without_numbers_there_is_nothing_to_learn(instances: str) -> None:
    logits = torch.randn(1, 1, 20, 40, requires_grad=True)
    loss = interior_loss(logits, torch.zeros(1, 20, 40, dtype=torch.int16), instances)
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()

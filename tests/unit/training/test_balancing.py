"""Class weights and the focal loss against their published formulas and scikit-learn, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from tuneforge.training.loss.balancing import balanced, each_class, effective_number, focal, one_class, weights

COUNTS = [187, 35, 2, 1, 60]
EXACT = {"atol": 1e-12, "rtol": 1e-12}


def test_balanced_weights_are_scikit_learns() -> None:
    y = np.repeat(np.arange(5), COUNTS)
    wanted = compute_class_weight("balanced", classes=np.arange(5), y=y)
    torch.testing.assert_close(balanced(COUNTS), torch.from_numpy(wanted), **EXACT)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.999, 0.999999])
def test_effective_number_is_the_papers(beta: float) -> None:
    """Cui et al. 2019: weights (1 - beta) / (1 - beta^n), there scaled to sum to the number of classes."""
    paper = np.array([(1 - beta) / (1 - beta**n) for n in COUNTS])
    paper *= len(COUNTS) / paper.sum()
    found = effective_number(COUNTS, beta)
    torch.testing.assert_close(found * len(COUNTS) / found.sum(), torch.from_numpy(paper), atol=1e-9, rtol=1e-9)
    assert float(found @ torch.tensor(COUNTS, dtype=torch.float64)) == pytest.approx(sum(COUNTS), rel=1e-12)


def test_ends_of_beta() -> None:
    torch.testing.assert_close(effective_number(COUNTS, 0.0), torch.ones(5, dtype=torch.float64), **EXACT)
    torch.testing.assert_close(effective_number(COUNTS, 1 - 1e-12), balanced(COUNTS), atol=1e-6, rtol=1e-6)


def test_a_class_without_rows_weighs_one_and_changes_nothing() -> None:
    for kind in ("balanced", "effective_number"):
        with_none, without = weights([3, 0, 9], kind, 0.9), weights([3, 9], kind, 0.9)
        assert with_none is not None
        assert without is not None
        assert with_none.tolist() == [without[0].item(), 1.0, without[1].item()]
    assert weights([3, 9], "none", 0.9) is None


def made(rows: int = 7, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(rows, classes, dtype=torch.float64) * 4, torch.randint(classes, (rows,))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_one_class_is_the_focal_loss_weighted_as_torch_weights(gamma: float) -> None:
    logits, target = made()
    by_class = balanced(COUNTS)
    p = logits.softmax(1)[torch.arange(7), target]
    wanted = -by_class[target] * (1 - p) ** gamma * p.log()
    torch.testing.assert_close(one_class(logits, target, by_class, gamma), wanted, **EXACT)
    if gamma == 0:
        sums = torch.nn.functional.cross_entropy(logits, target, weight=by_class, reduction="sum")
        torch.testing.assert_close(one_class(logits, target, by_class, 0.0).sum(), sums, **EXACT)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_each_class_is_the_focal_loss_of_each(gamma: float) -> None:
    """Lin et al. 2017, equation 5, with a weight for no and one for yes."""
    logits, _ = made()
    target = (torch.rand(7, 5) > 0.6).long()
    sides = torch.rand(5, 2, dtype=torch.float64)
    p = torch.where(target > 0, logits.sigmoid(), 1 - logits.sigmoid())
    alpha = torch.where(target > 0, sides[:, 1], sides[:, 0])
    wanted = (-alpha * (1 - p) ** gamma * p.log()).mean(1)
    torch.testing.assert_close(each_class(logits, target, sides, gamma), wanted, atol=1e-9, rtol=1e-9)


def test_a_sure_row_has_a_finite_gradient() -> None:
    logits = torch.tensor([[200.0, 0.0], [-200.0, 0.0]], requires_grad=True)
    losses = focal(torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0]), reduction="none"), 0.5)
    losses.sum().backward()
    assert losses[1] == 200
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()

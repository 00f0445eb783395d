"""Loss terms against NumPy and SciPy."""

import numpy as np
import pytest
import torch

from qa_core.model.quality_model import QualityOutput
from qa_core.settings.training import LossConfig
from qa_core.training.losses import Labels, plcc_loss, rank_loss, total_loss


def output(q: list[float], c: list[float], **parts: torch.Tensor) -> QualityOutput:
    blank = torch.zeros(len(q), 2)
    return QualityOutput(
        torch.tensor(q), torch.tensor(c), torch.zeros(len(q)), blank, blank, **parts
    )


def test_plcc_loss_is_one_minus_pearson() -> None:
    rng = np.random.default_rng(0)
    p, m = rng.normal(size=20), rng.normal(size=20)
    loss = plcc_loss(torch.tensor(p), torch.tensor(m))
    assert float(loss) == pytest.approx(1 - np.corrcoef(p, m)[0, 1])


def test_rank_loss_prefers_the_right_order_and_ignores_ties() -> None:
    mos = torch.tensor([0.1, 0.5, 0.9])
    right, wrong = rank_loss(mos, mos), rank_loss(-mos, mos)
    assert float(right) < float(np.log(2)) < float(wrong)
    assert float(rank_loss(mos, torch.full((3,), 0.5))) == 0


def test_total_is_the_weighted_sum_and_skips_absent_targets() -> None:
    out = output([0.0, 1.0], [0.5, 0.5])
    labels = Labels(torch.tensor([0.0, 0.0]), torch.tensor([0.5, 0.7]))
    loss, parts = total_loss(out, labels, LossConfig(w_q=0.5, w_c=2.0), strict_residual=True)
    assert float(parts["loss_q"]) == pytest.approx(0.5)
    assert float(loss) == pytest.approx(0.5 * 0.5 + 2.0 * 0.02)
    loss, parts = total_loss(out, Labels(labels.quality, None), LossConfig(), strict_residual=True)
    assert float(loss) == pytest.approx(0.25) and "loss_c" not in parts


def test_strict_refinement_supervises_the_correction() -> None:
    coarse, correction = torch.tensor([0.4, 0.4]), torch.tensor([0.1, 0.1])
    out = output([0.5, 0.5], [0.5, 0.5], c_coarse=coarse, c_correction=correction)
    labels = Labels(torch.tensor([0.5, 0.5]), torch.tensor([0.6, 0.6]))
    loose, _ = total_loss(out, labels, LossConfig(), strict_residual=False)
    strict, _ = total_loss(out, labels, LossConfig(), strict_residual=True)
    assert float(strict - loose) == pytest.approx(0.5 * 0.1**2)

"""The prediction forms, against their formulas written out in NumPy."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from qa_core.model.explanations import ExplanationHead, explanation_loss
from qa_core.model.heads import (
    DirectHeads,
    HeadOutput,
    MatchedDirectHeads,
    ResidualHeads,
    ResidualScale,
    fuse,
)
from qa_core.model.refinement import Refinement
from qa_core.settings.model import HeadConfig, RefinementConfig

WIDTH, BATCH = 8, 16


@pytest.fixture
def embedded() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    img, txt = (normalize(torch.randn(BATCH, WIDTH), dim=-1) for _ in range(2))
    return img, txt, (img * txt).sum(-1)


def shake(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=1.0)


def test_training_starts_from_the_base(embedded: tuple) -> None:
    out = ResidualHeads(WIDTH, HeadConfig())(*embedded)
    assert torch.equal(out.q, out.q_base)
    np.testing.assert_allclose(out.c.detach(), (embedded[2] + 1) / 2, rtol=1e-6)
    assert not out.q_delta.any() and not out.c_delta.any()


def test_residual_formula(embedded: tuple) -> None:
    heads = ResidualHeads(WIDTH, HeadConfig(residual_scale_q=0.3, residual_scale_c=0.1)).eval()
    shake(heads)
    out: HeadOutput = heads(*embedded)
    parts = (out.q_base, out.q_delta, out.c_base, out.c_delta)
    q_base, q_delta, c_base, c_delta = (part.detach().numpy() for part in parts if part is not None)
    q = np.clip(q_base + 0.3 * q_delta, 0, 1)
    c = np.clip(c_base + 0.1 * c_delta, 0, 1)
    np.testing.assert_allclose(out.q.detach(), q, rtol=1e-5)
    np.testing.assert_allclose(out.c.detach(), c, rtol=1e-5)
    assert (abs(q_delta) <= 1).all() and (abs(c_delta) <= 1).all()
    wide = math.sqrt(WIDTH) * embedded[0]
    by_hand = torch.sigmoid(heads.q_base_head(wide)).squeeze(-1)
    np.testing.assert_array_equal(q_base, by_hand.detach())


def test_state_dict_names_the_parts_as_the_guide_does() -> None:
    names = {name.split(".")[0] for name in ResidualHeads(WIDTH, HeadConfig()).state_dict()}
    assert {"q_base_head", "q_delta_head", "c_base_scale", "c_delta_head"} <= names


def test_direct_prediction_and_two_branches(embedded: tuple) -> None:
    one = DirectHeads(WIDTH, HeadConfig()).eval()
    two = DirectHeads(WIDTH, HeadConfig(use_two_branch=True)).eval()
    two.load_state_dict(one.state_dict(), strict=False)
    c_one, c_two = one(*embedded).c, two(*embedded).c
    similarity = torch.sigmoid(5 * embedded[2])
    np.testing.assert_allclose(c_two.detach(), ((c_one + similarity) / 2).detach(), rtol=1e-6)
    assert one(*embedded).q_delta is None


def test_matched_direct_has_the_start_and_the_capacity_of_the_residual(embedded: tuple) -> None:
    torch.manual_seed(1)
    residual = ResidualHeads(WIDTH, HeadConfig())
    heads = MatchedDirectHeads(WIDTH, HeadConfig(matched_direct=True)).eval()
    heads.q_head.load_state_dict(residual.q_base_head.state_dict())
    start, base = heads(*embedded), residual(*embedded)
    assert torch.equal(start.q, base.q)
    cos = embedded[2].numpy()
    np.testing.assert_allclose(start.c.detach(), 1 / (1 + np.exp(-2 * cos)), rtol=1e-6)
    near = np.abs(cos) < 0.3  # sigmoid(2 x) and (x + 1) / 2 part by x^3 / 6 at most
    np.testing.assert_allclose(start.c.detach()[near], (cos[near] + 1) / 2, atol=0.3**3 / 6)
    assert sum(p.numel() for p in heads.parameters()) == sum(
        p.numel() for p in residual.parameters()
    )
    shake(heads)
    free = heads(*embedded)
    assert (free.q - base.q).abs().max() > 0.2 and free.q_delta is None


def test_fusion_reads_what_it_is_told(embedded: tuple) -> None:
    img, txt, cos = embedded
    fused = fuse(img, txt, cos, ("product", "cos"))
    np.testing.assert_allclose(fused[:, :WIDTH].mean(-1), cos, rtol=1e-5, atol=1e-6)
    assert torch.equal(fused[:, -1], cos)


def test_scale_schedules() -> None:
    learnable = ResidualScale(0.2, "learnable", 0.5)
    assert learnable().item() == pytest.approx(0.2)
    torch.nn.init.constant_(next(learnable.parameters()), 1e3)
    assert 0 <= learnable().item() <= 1
    curriculum = ResidualScale(0.4, "curriculum", 0.5)
    grown = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        curriculum.set_progress(progress)
        grown.append(float(curriculum()))
    assert grown == pytest.approx([0.0, 0.2, 0.4, 0.4])
    fixed = ResidualScale(0.4, "fixed", 0.5)
    fixed.set_progress(0.0)
    assert float(fixed()) == pytest.approx(0.4)


def test_refinement_starts_at_the_coarse_score_and_is_bounded(embedded: tuple) -> None:
    img, txt, _ = embedded
    refine = Refinement(WIDTH, RefinementConfig(refinement_dim=16), dropout=0.0)
    coarse = torch.full((BATCH,), 0.4)
    assert not refine(img, txt, coarse).any()
    shake(refine.out)
    correction = refine(img, txt, coarse)
    assert correction.any() and (correction.abs() <= 0.1 + 1e-6).all()


def test_explanation_loss_ignores_rows_without_one(embedded: tuple) -> None:
    predicted = ExplanationHead(WIDTH)(*embedded)
    teacher = predicted.detach().clone()
    teacher[1] = -teacher[1]
    assert float(explanation_loss(predicted, teacher).detach()) == pytest.approx(
        2 / BATCH, abs=1e-6
    )
    teacher[1] = 0
    assert float(explanation_loss(predicted, teacher).detach()) == pytest.approx(0, abs=1e-6)
    assert float(explanation_loss(predicted, torch.zeros_like(teacher))) == 0

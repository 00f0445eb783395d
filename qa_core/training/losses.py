"""Loss terms and their weighted sum."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, softplus

from qa_core.model.explanations import explanation_loss
from qa_core.model.quality_model import QualityOutput
from qa_core.settings.training import LossConfig

RANK_TEMPERATURE = 0.1
"""Score difference, in [0, 1], at which the rank loss counts a pair as clearly ordered."""


@dataclass(frozen=True)
class Labels:
    """What a batch is trained towards; a target that the table lacks is None.

    Attributes:
        quality: MOS (batch,) in [0, 1], NaN where an image has none.
        consistency: The same.
        explanation: Teacher embeddings (batch, embed_dim), zeros where there is no explanation.
    """

    quality: Tensor | None
    consistency: Tensor | None
    explanation: Tensor | None = None


def with_missing_filled(mos: Tensor, prediction: Tensor) -> Tensor:
    """MOS (..., batch), the prediction where there is none: no error there, and no gradient.

    The mean squared error is still a mean over all images of a batch. So every rating has the same
    weight, however many images of a batch have one, and splitting a batch does not change its
    gradient.
    """
    return torch.where(torch.isnan(mos), prediction.detach(), mos)


def plcc_loss(prediction: Tensor, mos: Tensor) -> Tensor:
    """1 - Pearson correlation within the batch, in [0, 2]; 0 where fewer than two have a MOS."""
    rated = ~torch.isnan(mos)
    prediction, mos = prediction[rated], mos[rated]
    if len(mos) < 2:
        return prediction.sum() * 0
    p, m = prediction - prediction.mean(), mos - mos.mean()
    return 1 - (p * m).sum() / (p.norm() * m.norm()).clamp_min(1e-8)


def rank_loss(prediction: Tensor, mos: Tensor) -> Tensor:
    """Mean logistic loss over pairs of different MOS (RankNet, Burges et al. 2005, eq. 3), >= 0."""
    gap = (prediction.unsqueeze(1) - prediction.unsqueeze(0)) / RANK_TEMPERATURE
    order = torch.sign(mos.unsqueeze(1) - mos.unsqueeze(0))
    pairs = order > 0
    return softplus(-gap[pairs]).mean() if bool(pairs.any()) else gap.sum() * 0


def total_loss(
    output: QualityOutput, labels: Labels, config: LossConfig, strict_residual: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the loss terms, and the squared errors by name (`loss_q`, `loss_c`)."""
    terms: list[Tensor] = []
    parts: dict[str, Tensor] = {}
    targets = (("q", output.q, labels.quality), ("c", output.c, labels.consistency))
    for name, score, mos in targets:
        if mos is None:
            continue
        weight: float = getattr(config, f"w_{name}")
        parts[f"loss_{name}"] = mse_loss(score, with_missing_filled(mos, score))
        terms.append(weight * parts[f"loss_{name}"])
        if config.w_plcc:
            terms.append(weight * config.w_plcc * plcc_loss(score, mos))
        if config.w_rank:
            terms.append(weight * config.w_rank * rank_loss(score, mos))
    correction = output.c_correction
    if strict_residual and correction is not None and labels.consistency is not None:
        assert output.c_coarse is not None
        missing = labels.consistency - output.c_coarse.detach()
        terms.append(config.w_c * mse_loss(correction, with_missing_filled(missing, correction)))
    if output.explanation is not None and labels.explanation is not None:
        parts["loss_exp"] = explanation_loss(output.explanation, labels.explanation)
        terms.append(config.w_exp * parts["loss_exp"])
    return torch.stack(terms).sum(), parts

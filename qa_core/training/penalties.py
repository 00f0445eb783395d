"""Penalties on leaving the pretrained CLIP: of its weights, and of its embeddings."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from qa_core.features.inputs import Features
from qa_core.model.quality_model import Batch, QualityModel, QualityOutput
from qa_core.settings.training import KeepConfig


def l2_sp(model: QualityModel, start: dict[str, Tensor]) -> Tensor:
    """Half the squared distance of weights to where they started, summed over all of them.

    Li, Grandvalet and Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional
    Networks" (ICML 2018), section 3, of the weights that both networks share; the heads, which have
    no pretrained start, keep their own decay. On projections alone it is, but for the factor of one
    half, the penalty of ProLIP (Fahes et al., arXiv 2410.05270).

    Args:
        model: The model.
        start: Weights at the start by name.
    """
    now = model.get_parameter
    return 0.5 * torch.stack([(now(n) - then).square().sum() for n, then in start.items()]).sum()


def distance_to_anchors(output: QualityOutput, img: Tensor, txt: Tensor) -> Tensor:
    """Mean of 1 - cos over image and text embeddings of a batch, in [0, 2].

    After LDIFS (Mukhoti et al., "Fine-tuning can cripple your foundation model; preserving features
    may be the solution", TMLR 2024), which takes the squared distance of features all through the
    network; that of normalised embeddings is 2 (1 - cos).

    Args:
        output: Of the model.
        img: Embeddings (batch, embed_dim) of the same images by the pretrained CLIP.
        txt: Those of their prompts.
    """
    pairs = ((output.img, img), (output.txt, txt))
    return torch.stack([(1 - cosine_similarity(*pair)).mean() for pair in pairs]).mean()


@dataclass(frozen=True)
class Penalties:
    """The penalties that a configuration asks for.

    Attributes:
        weights: Their weights, `l2_sp` and `anchor`.
        start: CLIP's trained weights at the start by name; empty without `l2_sp`.
        anchors: Embeddings of all images and prompts by the pretrained CLIP; None without `anchor`.
    """

    weights: KeepConfig
    start: dict[str, Tensor]
    anchors: Features | None

    @classmethod
    def of(cls, model: QualityModel, config: KeepConfig, anchors: Features | None) -> "Penalties":
        """The penalties on a model that is at its start."""
        start = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if config.l2_sp and name in model.trained and name.startswith("backbone.")
        }
        return cls(config, start, anchors if config.anchor else None)

    def terms(
        self, model: QualityModel, output: QualityOutput, rows: np.ndarray, batch: Batch
    ) -> dict[str, Tensor]:
        """Weighted terms of the loss by name.

        Args:
            model: The model.
            output: Its output.
            rows: Rows of the table in the batch.
            batch: The batch itself.
        """
        found: dict[str, Tensor] = {}
        if self.start:
            found["loss_l2_sp"] = self.weights.l2_sp * l2_sp(model, self.start)
        if self.anchors is not None:
            device = str(output.img.device)
            there = self.anchors.batch(rows, device, drawn=batch.drawn)
            img, txt = model.embed_images(there), model.embed_texts(there)[there.text_of]
            found["loss_anchor"] = self.weights.anchor * distance_to_anchors(output, img, txt)
        return found

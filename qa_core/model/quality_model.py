"""The quality model: two CLIP towers, heads on their embeddings, every part returned by name."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qa_core.backbones.backbone import Backbone, average_views
from qa_core.backbones.tower import FROM_RAW, RAW, TowerEntry
from qa_core.config import RunConfig
from qa_core.model.explanations import ExplanationHead
from qa_core.model.freezing import apply_freezing, plan_freezing, set_frozen_eval
from qa_core.model.heads import (
    AntonymHeads,
    DirectHeads,
    MatchedDirectHeads,
    ResidualHeads,
    ResidualScale,
)
from qa_core.model.narrowing import narrow_training
from qa_core.model.refinement import Refinement
from qa_core.model.texts import Anchors, texts_read_by


@dataclass(frozen=True)
class Batch:
    """Images and their prompts, each distinct prompt once.

    Attributes:
        images: uint8 pixels (batch, 3, size, size), tokens, or embeddings, as `entry` says; where
            an image has several views, (batch, views, ...).
        texts: Token ids (texts, length), tokens, or embeddings, of what the heads read of the
            distinct prompts (`PromptTexts`).
        token_ids: Token ids (texts, length) of the texts.
        text_of: Which of the distinct prompts each image has (batch,).
        entry: Where the batch enters the towers.
        views: Views of each image.
        drawn: Which of an image's views these are (batch, views); None where they are all.
    """

    images: Tensor
    texts: Tensor
    token_ids: Tensor
    text_of: Tensor
    entry: TowerEntry = FROM_RAW
    views: int = 1
    drawn: Tensor | None = None


@dataclass(frozen=True)
class QualityOutput:
    """Scores, parts and embeddings of a batch; parts that the mode does not have are None.

    Attributes:
        q: Quality (batch,) in [0, 1].
        c: Consistency (batch,) in [0, 1], refined where refinement is on.
        cos: Cosine (batch,) of the embeddings, in [-1, 1].
        img: Normalised image embeddings (batch, embed_dim).
        txt: Normalised text embeddings (batch, embed_dim).
        q_base: Base of quality (batch,) in [0, 1].
        q_delta: Unscaled correction (batch,) in [-1, 1].
        c_base: Base of consistency (batch,).
        c_delta: Unscaled correction (batch,) in [-1, 1].
        c_coarse: Consistency before refinement (batch,).
        c_correction: Correction by refinement (batch,).
        explanation: Predicted embedding of the explanation (batch, embed_dim).
    """

    q: Tensor
    c: Tensor
    cos: Tensor
    img: Tensor
    txt: Tensor
    q_base: Tensor | None = None
    q_delta: Tensor | None = None
    c_base: Tensor | None = None
    c_delta: Tensor | None = None
    c_coarse: Tensor | None = None
    c_correction: Tensor | None = None
    explanation: Tensor | None = None

    def parts(self) -> dict[str, Tensor]:
        """The scores and those of their parts that exist, by name."""
        names = ("q", "c", "q_base", "q_delta", "c_base", "c_delta", "cos")
        return {name: part for name in names if (part := getattr(self, name)) is not None}


class QualityModel(nn.Module):
    """Quality and consistency of (image, prompt) pairs.

    Args:
        backbone: The CLIP to start from; it is changed in place by training.
        config: A resolved configuration.

    Attributes:
        plan: What of CLIP is frozen.
        texts: Which texts the heads read of a prompt.
        trained: Names of the parameters that training may change.
    """

    def __init__(self, backbone: Backbone, config: RunConfig):
        super().__init__()
        self.backbone = backbone
        self.plan = plan_freezing(config, backbone)
        self.texts = texts_read_by(config.head)
        width = backbone.embed_dim
        self.heads = _make_heads(backbone, config)
        use_refinement = config.refinement.use_refinement
        self.refinement = (
            Refinement(width, config.refinement, config.head.dropout) if use_refinement else None
        )
        self.explanation_head = ExplanationHead(width) if config.loss.use_explanations else None
        apply_freezing(backbone, self.plan)
        narrow_training(backbone, self.plan, config)
        named = self.named_parameters()
        self.trained = frozenset(name for name, p in named if p.requires_grad)
        self._held = False

    def trained_state(self) -> dict[str, Tensor]:
        """A copy, on the CPU, of what training may change, the heads' buffers included."""
        names = self._changing()
        state = self.state_dict().items()
        return {name: value.detach().cpu().clone() for name, value in state if name in names}

    def trained_statistics(self) -> dict[str, Tensor]:
        """Running statistics of those batch norms of CLIP that train, by name; no copies."""
        own = self._changing() - self.trained
        return {
            name: buffer
            for name, buffer in self.named_buffers()
            if name in own and name.startswith("backbone.") and buffer.is_floating_point()
        }

    def _changing(self) -> set[str]:
        """Names of parameters and buffers that training may change.

        Batch statistics change wherever a norm trains.
        """
        modules = {name.rpartition(".")[0] for name in self.trained}
        fixed = {name for name, _ in self.named_parameters()} - self.trained
        return {
            name
            for name in self.state_dict()
            if not name.startswith("backbone.")
            or (name.rpartition(".")[0] in modules and name not in fixed)
        }

    def hold_clip(self, held: bool) -> None:
        """Freeze all of CLIP for now, or let it train as the freeze plan says."""
        self._held = held
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(not held and f"backbone.{name}" in self.trained)

    def train(self, mode: bool = True) -> "QualityModel":
        """Set training mode; frozen groups stay in eval mode."""
        super().train(mode)
        if self._held:
            self.backbone.eval()
        set_frozen_eval(self.backbone, self.plan)
        return self

    def set_progress(self, progress: float) -> None:
        """Tell the residual scales how much of training has passed, in [0, 1]."""
        for module in self.heads.modules():
            if isinstance(module, ResidualScale):
                module.set_progress(progress)

    def residual_scales(self) -> dict[str, float]:
        """The scales now, by name; empty for direct prediction."""
        named = self.heads.named_children()
        return {n: float(m().detach()) for n, m in named if isinstance(m, ResidualScale)}

    def embed_images(self, batch: Batch) -> Tensor:
        """L2-normalised image embeddings (batch, embed_dim)."""
        tokens = batch.images if batch.views == 1 else batch.images.flatten(0, 1)
        tower, at = self.backbone.image, batch.entry.image
        if at == RAW:
            tokens, at = tower.stem(self.backbone.normalise_pixels(tokens)), 0
        if isinstance(at, int):
            tokens = tower.embed(tokens, at)
        if batch.views == 1:
            return tokens
        return average_views(tokens.unflatten(0, (-1, batch.views)))

    def embed_texts(self, batch: Batch) -> Tensor:
        """L2-normalised embeddings (texts, embed_dim) of a batch's texts."""
        tokens, tower, at = batch.texts, self.backbone.text, batch.entry.text
        if at == RAW:
            tokens, at = tower.stem(tokens), 0
        return tower.embed(tokens, batch.token_ids, at) if isinstance(at, int) else tokens

    def forward(self, batch: Batch) -> QualityOutput:
        """Scores of a batch with every named part."""
        img, texts = self.embed_images(batch), self.embed_texts(batch)
        img, texts = img.float(), texts.float()  # heads in full precision under autocast
        with torch.autocast(img.device.type, enabled=False):
            return self.score(img, texts, batch.text_of)

    def score(self, img: Tensor, texts: Tensor, text_of: Tensor) -> QualityOutput:
        """Scores of normalised embeddings.

        Args:
            img: Of the images (batch, embed_dim).
            texts: Of their texts, as `Batch` has them (texts, embed_dim).
            text_of: Which prompt each image has (batch,).
        """
        return self.score_pairs(img, texts[text_of], self.texts.anchors(texts, text_of))

    def score_pairs(self, img: Tensor, txt: Tensor, anchors: Anchors | None) -> QualityOutput:
        """Scores of normalised embeddings (batch, embed_dim) of images and of their prompts.

        Args:
            img: Of the images.
            txt: Of the prompts.
            anchors: Of the levels, where the heads read them.
        """
        cos = (img * txt).sum(dim=-1)
        head = self.heads(img, txt, cos, anchors)
        c, coarse, correction = head.c, None, None
        if self.refinement is not None:
            coarse = head.c
            correction = self.refinement(img, txt, coarse)
            c = (coarse + correction).clamp(0, 1)
        explanation = self.explanation_head(img, txt, cos) if self.explanation_head else None
        return QualityOutput(
            head.q, c, cos, img, txt,
            head.q_base, head.q_delta, head.c_base, head.c_delta,
            coarse, correction, explanation,
        )  # fmt: skip


def _make_heads(
    backbone: Backbone, config: RunConfig
) -> ResidualHeads | DirectHeads | MatchedDirectHeads:
    if not config.head.residual_learning:
        heads = MatchedDirectHeads if config.head.matched_direct else DirectHeads
        return heads(backbone.embed_dim, config.head)
    if not config.head.antonym_prompts:
        return ResidualHeads(backbone.embed_dim, config.head)
    scale = float(backbone.clip.logit_scale.detach().exp())
    return AntonymHeads(backbone.embed_dim, config.head, scale)

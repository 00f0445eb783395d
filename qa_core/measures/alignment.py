"""How much of the pretrained model's image-text alignment is left after fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qa_core.measures.metrics import srocc, undefined_reason

RENDERED_PAIRS = 500
"""Pairs of the pretraining's kind on which an embedded backbone is measured."""
LEAST_OVER_CHANCE = 3
"""A pretrained R@1 below so many times chance is too weak to be retained or lost."""


@dataclass(frozen=True)
class AlignmentRetention:
    """Rank correlation between the fine-tuned and the pretrained model's cosines, in [-1, 1].

    Attributes:
        mean: Mean of the two below; None where one is.
        matched: Over images with their own prompts; None where undefined.
        shuffled: Over images with other images' prompts; None where undefined.
        reason: Why something is None; None where nothing is.
    """

    mean: float | None
    matched: float | None
    shuffled: float | None
    reason: str | None


def alignment_retention(
    cos_finetuned_matched: ArrayLike,
    cos_pretrained_matched: ArrayLike,
    cos_finetuned_shuffled: ArrayLike,
    cos_pretrained_shuffled: ArrayLike,
) -> AlignmentRetention:
    """SROCC of fine-tuned with pretrained cosines, within matched and shuffled pairs apart.

    Matched pairs have higher cosines than shuffled ones in any model, so pooling the two would
    show agreement where the order within either is lost.

    Args:
        cos_finetuned_matched: (n,) of images and their own prompts.
        cos_pretrained_matched: (n,) of the same pairs.
        cos_finetuned_shuffled: (m,) of images and others' prompts (`shuffled_pairs`).
        cos_pretrained_shuffled: (m,) of the same pairs.
    """
    pairs = {
        "matched": (cos_finetuned_matched, cos_pretrained_matched),
        "shuffled": (cos_finetuned_shuffled, cos_pretrained_shuffled),
    }
    values = {name: srocc(*cosines) for name, cosines in pairs.items()}
    reasons = [
        f"{name} pairs: {reason}"
        for name, cosines in pairs.items()
        if (reason := undefined_reason(*cosines))
    ]
    matched, shuffled = values["matched"], values["shuffled"]
    mean = None if matched is None or shuffled is None else (matched + shuffled) / 2
    return AlignmentRetention(mean, matched, shuffled, "; ".join(reasons) or None)


def shuffled_pairs(groups: Sequence[str] | NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """A permutation (n,) of texts: image i is paired with text `[i]`, never of its own prompt.

    Rows are lined up prompt by prompt, both in random order, and texts taken from as many rows
    further round as the commonest prompt has.

    Raises:
        ValueError: If one prompt has more than half of the rows, so that no such pairing exists.
    """
    names, prompt_of, counts = np.unique(
        np.asarray(groups, dtype=str), return_inverse=True, return_counts=True
    )
    n, commonest = len(prompt_of), int(counts.max(initial=0))
    if 2 * commonest > n:
        raise ValueError(
            f"{commonest} of {n} images share one prompt, so they cannot all get another's; "
            "shuffled pairs need no prompt to have more than half of the images."
        )
    rng = np.random.default_rng(seed)
    line = np.lexsort((rng.random(n), rng.permutation(len(names))[prompt_of]))
    texts = np.empty(n, dtype=np.int64)
    texts[line] = np.roll(line, -commonest)
    return texts


def image_to_text_r_at_1(img: ArrayLike, txt: ArrayLike, groups: ArrayLike) -> float:
    """Share of images whose nearest text is of their own prompt, in [0, 1] (recall at 1).

    Args:
        img: Normalised image embeddings (n, width).
        txt: Normalised embeddings (n, width) of the images' prompts.
        groups: Prompts (n,); any text of the same prompt counts as right.
    """
    names = np.asarray(groups).astype(str)
    nearest = np.argmax(np.asarray(img) @ np.asarray(txt).T, axis=1)  # (n, n) -> (n,)
    return float(np.mean(names[nearest] == names))


def retention_r_at_1(
    finetuned: float, pretrained: float, n_prompts: int
) -> tuple[float | None, str | None]:
    """R@1 after over before fine-tuning, >= 0, and why it is None where it is.

    Args:
        finetuned: R@1 of the fine-tuned model.
        pretrained: R@1 of the pretrained model on the same pairs.
        n_prompts: Distinct prompts to choose among; chance is 1 over it.
    """
    floor = LEAST_OVER_CHANCE / n_prompts
    if pretrained < floor:
        reason = (
            f"pretrained R@1 {pretrained:.3f} is below three times chance ({floor:.3f}, "
            f"{n_prompts} prompts)"
        )
        return None, reason
    return finetuned / pretrained, None

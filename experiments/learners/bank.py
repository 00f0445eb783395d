"""A bank of rated pictures, embedded once: the population from which learners' tables are drawn."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qa_core.backbones.backbone import load_backbone
from qa_core.data.rated_table import RatedTable
from qa_core.data.splits import Rows, stream
from qa_core.data.synthetic import rating
from qa_core.data.synthetic.benchmark import (
    BENCHMARK_VERSION,
    GENERATORS,
    REPLICATE,
    answer_prompts,
    draw_picture,
    draw_prompts,
    rate_pictures,
)
from qa_core.features.workspace import Embeddings, Workspace
from qa_core.measures.references import consistency_features, quality_features
from qa_core.settings.model import BackboneConfig
from qa_core.targets import TARGETS, Target

IMAGES_PER_PROMPT = len(GENERATORS)
FIRST_SET = 1000
"""The bank's sets are numbered from here, far from the benchmark's own."""
_SEED = 20_261_128


@dataclass(frozen=True)
class Bank:
    """Pictures of distinct prompts, those of a prompt together.

    Attributes:
        workspace: All of them, embedded by the frozen backbone.
    """

    workspace: Workspace

    @property
    def frame(self) -> pd.DataFrame:
        """The table."""
        return self.workspace.table.frame

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        """The prompt (n,) of each picture."""
        return self.frame["group"].to_numpy(str)

    @cached_property
    def embeddings(self) -> Embeddings:
        """Of all pictures and prompts."""
        return self.workspace.pretrained_embeddings()

    @cached_property
    def ridge_features(self) -> dict[Target, NDArray[np.floating]]:
        """What ridges read (n, features)."""
        found = self.embeddings
        on_consistency = consistency_features(found.image, found.text, found.cos)
        return {Target.QUALITY: quality_features(found.image), Target.CONSISTENCY: on_consistency}

    @cached_property
    def mos(self) -> dict[Target, NDArray[np.float64]]:
        """Mean opinion scores (n,)."""
        return {target: self.frame[target.mos].to_numpy(float) for target in TARGETS}

    def draw_rows(self, n_prompts: int, *seed: int) -> Rows:
        """Rows of so many prompts, in the random order in which they are drawn."""
        n_all = len(self.groups) // IMAGES_PER_PROMPT
        prompts = stream(*seed).permutation(n_all)[:n_prompts]
        return (prompts[:, None] * IMAGES_PER_PROMPT + np.arange(IMAGES_PER_PROMPT)).ravel()


def draw_bank(n_sets: int, n_prompts: int = sum(REPLICATE.values())) -> Bank:
    """So many sets, drawn and rated as the benchmark's replicates are; no two share a prompt.

    Args:
        n_sets: Sets, each with a panel of raters of its own.
        n_prompts: Prompts of each.
    """
    rng, taken = stream(_SEED), set[tuple]()
    frames: list[pd.DataFrame] = []
    pixels: list[NDArray[np.uint8]] = []
    for number in range(FIRST_SET, FIRST_SET + n_sets):
        pictures = answer_prompts(draw_prompts(n_prompts, rng, taken), number)
        frames.append(rate_pictures(pictures, number))
        pixels += [draw_picture(picture, number, k) for k, picture in enumerate(pictures)]
    frame = pd.concat(frames, ignore_index=True).drop(columns=["replicate", "part"])
    images = np.stack(pixels).transpose(0, 3, 1, 2)  # (n, 3, size, size)
    table = RatedTable(frame, "bank", BENCHMARK_VERSION, rating.MARKS, rating.MARKS)
    backbone = load_backbone(BackboneConfig())
    return Bank(Workspace(table, np.ascontiguousarray(images), backbone, None, "cpu"))

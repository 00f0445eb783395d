"""The one frame that every table reader returns."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

MosRange = tuple[float, float]

SPLIT_PARTS = ("train", "validation", "test")
"""Values of the optional column `part`: where the data set's makers put an image."""


@dataclass(frozen=True)
class RatedTable:
    """Images with prompts and mean opinion scores.

    Attributes:
        frame: One row an image, index 0..n-1. Columns `name`, `image_path` (absolute), `prompt`
            (blank in all rows where there are none), `group` (what a split keeps together),
            `mos_quality` and `mos_consistency` in [0, 1] (absent where the set has no such score,
            NaN where an image has none), and optionally `generator`, `setting`, `explanation`,
            `std_quality`, `std_consistency` (in units of the range's width), `n_raters` and `part`
            (one of `SPLIT_PARTS`, where the set has an official split).
        name: Name of the data set.
        version: Version of the data set or of its reader.
        range_quality: The nominal range that the quality scores had before, or None.
        range_consistency: The same for consistency.
        notes: Sentences that a configuration panel and a report repeat.
    """

    frame: pd.DataFrame
    name: str
    version: str
    range_quality: MosRange | None
    range_consistency: MosRange | None
    notes: tuple[str, ...] = ()

    @property
    def has_prompts(self) -> bool:
        """Whether images were asked for in words; photographs were not."""
        return bool((self.frame["prompt"] != "").any())

    @cached_property
    def sha256(self) -> str:
        """Hash of name, version, ranges and all columns but `image_path` (machine-bound)."""
        head = [self.name, self.version, self.range_quality, self.range_consistency]
        columns = sorted(set(self.frame.columns) - {"image_path"})
        text = self.frame[columns].to_csv(index=False, lineterminator="\n")
        return hashlib.sha256((json.dumps(head) + "\n" + text).encode()).hexdigest()

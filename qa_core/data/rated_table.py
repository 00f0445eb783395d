"""The one frame that every table reader returns."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qa_core.targets import TARGETS, Target

MosRange = tuple[float, float]

SPLIT_PARTS = ("train", "validation", "test")
"""Values of the optional column `part`: where the data set's makers put an image."""

EXTRA = "extra."
"""How columns begin that nothing reads but a report: the table's further ones, as text."""


@dataclass(frozen=True)
class RatedTable:
    """Images with prompts and mean opinion scores.

    Attributes:
        frame: One row an image, index 0..n-1. Columns `name`, `image_path` (absolute), `prompt`
            (blank in all rows where there are none), `group` (what a split keeps together),
            `mos_quality` and `mos_consistency` in [0, 1] (absent where the set has no such score,
            NaN where an image has none), and optionally `generator`, `setting`, `explanation`,
            `std_quality`, `std_consistency` (in units of the range's width), `n_raters` and `part`
            (one of `SPLIT_PARTS`, where the set has an official split), and the table's further
            columns as text, `extra.` before their names. Where the set consists of
            replicates, `replicate` is the number of each image's, -1 in the tuning pool, and
            `part` may also be `pool` or `reserve`.
        name: Name of the data set.
        version: Version of the data set or of its reader.
        range_quality: The nominal range that the quality scores had before, or None.
        range_consistency: The same for consistency.
        notes: Sentences that a configuration panel and a report repeat.
        draw: Draws some images of a block, by name, where they are not there yet; None: they are
            files.
    """

    frame: pd.DataFrame
    name: str
    version: str
    range_quality: MosRange | None
    range_consistency: MosRange | None
    notes: tuple[str, ...] = ()
    draw: Callable[[int, list[str]], None] | None = None

    def of_rows(self, rows: NDArray[np.int64]) -> "RatedTable":
        """The table of some rows, renumbered from 0."""
        return replace(self, frame=self.frame.iloc[rows].reset_index(drop=True))

    def first_prompts(self, count: int) -> "RatedTable":
        """The table of the first so many prompts by name, or of groups of nearly equal ones.

        Of the embedded benchmark, of so many in each replicate and in the pool: the first ones of
        each part, in their old proportion.
        """
        groups = self.frame["group"].to_numpy(dtype=str)
        if self.blocks is None:
            return self.of_rows(np.flatnonzero(np.isin(groups, np.unique(groups)[:count])))
        replicate = self.frame["replicate"].to_numpy(np.int64)
        part, kept = self.frame["part"].to_numpy(str), np.zeros(len(groups), bool)
        for number in np.unique(replicate):
            own = replicate == number
            share = count / len(np.unique(groups[own & (part != "reserve")]))
            for name in np.unique(part[own]):
                rows = np.flatnonzero(own & (part == name))
                prompts = pd.unique(groups[rows])  # in their order
                kept[rows] = np.isin(groups[rows], prompts[: math.ceil(share * len(prompts))])
        return self.of_rows(np.flatnonzero(kept))

    def in_one_piece(self) -> "RatedTable":
        """The table without blocks: all of its images are there, and opened together."""
        frame = self.frame.drop(columns="replicate", errors="ignore")
        return replace(self, frame=frame, draw=None)

    @cached_property
    def blocks(self) -> NDArray[np.int64] | None:
        """Block (n,) of each row, whose images are opened together; None: all of them are."""
        return blocks_of(self.frame) if "replicate" in self.frame else None

    def draw_images(self) -> None:
        """Draw the images of all rows where they are not there yet."""
        if self.blocks is not None and self.draw is not None:
            for block in np.unique(self.blocks).tolist():
                self.draw(block, self.frame["name"][self.blocks == block].tolist())

    @property
    def targets(self) -> tuple[Target, ...]:
        """What people rated."""
        return tuple(target for target in TARGETS if target.mos in self.frame)

    @property
    def has_prompts(self) -> bool:
        """Whether images were asked for in words; photographs were not."""
        return bool((self.frame["prompt"] != "").any())

    @property
    def size_in_words(self) -> str:
        """How many images, and how many prompts a split tells apart, where there are any."""
        return self.count_in_words(len(self.frame), len(self.frame["group"].unique()))

    def count_in_words(self, n_images: int, n_prompts: int) -> str:
        """So many of its images and prompts; without the latter where it has none."""
        return f"{n_images} images" + (
            f", {n_prompts} prompts" if self.has_prompts else " without prompts"
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of name, version, ranges and all columns that decide a result.

        `image_path` is machine-bound, and nothing is learnt from the further columns.
        """
        head = [self.name, self.version, self.range_quality, self.range_consistency]
        read = [name for name in self.frame.columns if not name.startswith(EXTRA)]
        columns = sorted(set(read) - {"image_path"})
        text = self.frame[columns].to_csv(index=False, lineterminator="\n")
        return hashlib.sha256((json.dumps(head) + "\n" + text).encode()).hexdigest()


def blocks_of(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Block (n,) of each row: 0 is the pool, 2 r + 1 replicate r, 2 r + 2 the reserve of it."""
    replicate, reserve = frame["replicate"].to_numpy(np.int64), frame["part"] == "reserve"
    return 2 * (replicate + 1) - (~reserve & (replicate >= 0)).to_numpy(np.int64)

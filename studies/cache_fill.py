"""Frozen activations of all that is to be trained, computed before anything is.

A table in blocks is filled by the workers, a block each; any other in one pass by this process.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qa_core.config import RunConfig
from qa_core.data.splits import Split
from qa_core.errors import last_line
from studies.board import Board
from studies.context import Context
from studies.engine.interface import Engine, Job, collect

SHARE_OF_TRAINING = 0.3
"""Effort of drawing an image and passing it through CLIP, in images trained once."""
_ROW = ("cache", "block")


@dataclass(frozen=True)
class FillWork:
    """The activations of one block as a job.

    Attributes:
        configs: What is to be trained.
        splits: Splits of one block.
    """

    configs: tuple[RunConfig, ...]
    splits: tuple[Split, ...]

    def run(self, context: Context) -> None:
        """Compute what the cache lacks."""
        context.workspace.warm(self.configs, self.splits)


def fill_cache(
    configs: Sequence[RunConfig],
    splits: Sequence[Split],
    context: Context,
    engine: Engine,
    board: Board,
) -> None:
    """Fill the cache for all these configurations on these splits.

    What could not be computed is left to the cell that needs it, which tells why.
    """
    workspace = context.workspace
    if workspace.table.blocks is None:
        workspace.warm(configs)
        return
    jobs = [
        Job(f"{' '.join(_ROW)} {number}", FillWork(tuple(configs), own), _cost(own, context))
        for number, own in enumerate(_by_block(splits, context))
    ]
    board.expect(*_ROW, len(jobs), 0, sum(job.cost for job in jobs))
    for job in jobs:
        engine.submit(job)
    for outcome in collect(engine, len(jobs)):
        words = "filled" if outcome.error is None else f"failed: {last_line(outcome.error)}"
        board.ended(outcome, words, failed=outcome.error is not None)


def _by_block(splits: Sequence[Split], context: Context) -> list[tuple[Split, ...]]:
    """Splits that open the same blocks, together."""
    blocks = context.workspace.table.blocks
    assert blocks is not None
    found: defaultdict[tuple[int, ...], list[Split]] = defaultdict(list)
    for split in splits:
        rows = np.concatenate([split.train, split.validation, split.test])
        found[tuple(np.unique(blocks[rows]).tolist())].append(split)
    return [tuple(own) for own in found.values()]


def _cost(splits: tuple[Split, ...], context: Context) -> float:
    return SHARE_OF_TRAINING * context.workspace.n_opened(splits)

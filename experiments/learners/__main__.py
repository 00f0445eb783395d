"""The shipped decisions held against real learners: `make calibrate ONLY=learners`.

Linear probes, matched direct heads and ridges are trained on the frozen embedded backbone, on many
tables with prompts and panels of their own, in the designs that ship.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from experiments.learners.bank import Bank, draw_bank
from experiments.learners.scores import (
    CONTRASTS,
    FloatArray,
    Outcome,
    Sizes,
    score_replicates,
    score_table,
)
from qa_core import command_line as cli
from reports.calibration.rates import Rates, rates_of, table, write_rates
from reports.inference.estimates import Estimate, from_replicates
from studies.profiles import PROFILES

J = PROFILES["default"].n_splits
"""Replicates of an ablation."""


@dataclass(frozen=True)
class Args:
    """Hold the report's decisions against real learners on rendered tables."""

    tables: int = 200
    """Tables of 224 prompts, and sets of ten replicates."""
    sets: int = 6
    """Sets of 950 prompts in the bank from which both are drawn."""
    workers: int = 2
    """Processes of one thread each."""
    out: Path = Path("runs/calibration.json")
    """Where the key `learners` is written; what else is there stays."""


def main() -> None:
    """Draw, train, count; write the rates."""
    args = cli.parse(Args, str(Args.__doc__))
    bank = draw_bank(args.sets)
    print(f"{len(bank.embeddings.cos)} pictures embedded", flush=True)
    _bank.append(bank)
    with ProcessPoolExecutor(args.workers, get_context("fork")) as pool:  # it shares the bank
        found: list[tuple[Outcome, FloatArray]] = []
        for one in pool.map(_score, range(args.tables)):
            found.append(one)
            print(f"\r{len(found)} of {args.tables} tables", end="", flush=True)
    designs = rates_of_all(found)
    words = table({name: {"worlds": {"learners": own}} for name, own in designs.items()})
    write_rates(args.out, {"learners": {"designs": designs}}, f"\n\n{words}")


_bank: list[Bank] = []


def _score(number: int) -> tuple[Outcome, FloatArray]:
    """A table, and the differences (J, contrasts) of a set of replicates."""
    torch.set_num_threads(1)
    replicates = score_replicates(_bank[0], range(number * J, (number + 1) * J))
    return score_table(_bank[0], Sizes(), number), np.stack(replicates)


def rates_of_all(found: Sequence[tuple[Outcome, FloatArray]]) -> dict[str, Rates]:
    """Rates of every design. The truth is the mean over all tables or replicates."""
    values = np.stack([replicates for _, replicates in found])  # (sets, J, contrasts)
    sets = [[from_replicates(own[:, k]) for k in range(len(CONTRASTS))] for own in values]
    known = [[estimate for estimate in family if estimate is not None] for family in sets]
    designs = {"replicates": _rates(known, values.mean(axis=(0, 1)))}
    for design in found[0][0].families:
        truth = np.mean([outcome.truth[design] for outcome, _ in found], axis=0)
        designs[design] = _rates([outcome.families[design] for outcome, _ in found], truth)
    return designs


def _rates(families: Sequence[list[Estimate]], truth: FloatArray) -> Rates:
    """Rates of families moved by the truth; by contrast, truth and errors, stated and real."""
    moved = [
        [replace(one, mean=one.mean - float(t)) for one, t in zip(own, truth, strict=True)]
        for own in families
    ]
    means = np.array([[one.mean for one in own] for own in moved])
    errors = np.array([[one.error for one in own] for own in moved])
    return rates_of(moved, [0, 1]) | {
        "contrasts": [f"{first} - {second}, {target}" for target, first, second in CONTRASTS],
        "truth": truth.tolist(),
        "bias": means.mean(axis=0).tolist(),
        "sd": means.std(axis=0, ddof=1).tolist(),
        "error": np.sqrt((errors**2).mean(axis=0)).tolist(),
    }


if __name__ == "__main__":
    main()

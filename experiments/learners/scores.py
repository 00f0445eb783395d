"""Real learners on one table, in every design that ships: estimates of contrasts, and their truth.

Training, splits and estimates are the product's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from experiments.learners.bank import IMAGES_PER_PROMPT, Bank
from qa_core.arms import CONTROLS, MODES
from qa_core.config import run_config_from_flat
from qa_core.data.splits import FOLDS, Rows, Split, SplitPlan, plan_splits
from qa_core.data.synthetic.benchmark import REPLICATE
from qa_core.measures.catalogue import SROCC
from qa_core.measures.metrics import srocc
from qa_core.measures.references import ridge_predictions
from qa_core.modes import resolve
from qa_core.settings.data import ProtocolName
from qa_core.targets import TARGETS
from qa_core.training.stacked_probes import train_on_splits
from qa_core.training.trainer import TrainingDiverged
from qa_core.training.training_run import prepare_run
from reports.evidence.design import Design
from reports.inference.estimates import Estimate
from reports.verdicts.measured import Side, measure
from studies.profiles import PROFILES

PROBE = MODES["linear_probe"].flags
HEADS = {"linear_probe": PROBE, "matched_direct": PROBE | CONTROLS["matched_direct"].flags}
RIDGE = "ridge"
EPOCHS = PROFILES["default"].epochs
CONTRASTS = tuple((t, *pair) for pair in combinations((*HEADS, RIDGE), 2) for t in TARGETS)
"""(target, first, second): one family. The first two are of the heads, which train alike."""

FloatArray = NDArray[np.float64]
Scores = dict[str, list[FloatArray]]
"""By learner and split, scores (2, n) in the order of TARGETS; NaN in rows not asked for."""


@dataclass(frozen=True)
class Sizes:
    """Prompts of a table, of a small table that is a part of it, and of those beside it.

    With the defaults its folds train and choose on as many as a replicate of the benchmark.
    """

    table: int = 224
    small: int = 60
    beside: int = REPLICATE["test"]


@dataclass(frozen=True)
class Outcome:
    """What one table gives, in the order of the contrasts.

    Attributes:
        families: Estimates by design.
        truth: By design, differences (contrasts,) on the prompts beside the table, averaged over
            its trainings.
    """

    families: dict[str, list[Estimate]]
    truth: dict[str, FloatArray]


def score_table(bank: Bank, sizes: Sizes, seed: int) -> Outcome:
    """Draw a table, train all learners on all of its splits, and estimate as the report would.

    Args:
        bank: Where prompts are drawn from.
        sizes: How many.
        seed: Of the draw, the splits and the trainings; another one for each table, lest the luck
            of a start pass for truth.
    """
    drawn = bank.draw_rows(sizes.table + sizes.beside, seed)
    table, beside = np.split(drawn, [sizes.table * IMAGES_PER_PROMPT])
    plan = plan_rows(bank, table, "honest", seed)
    whole = score_designs(bank, plan, beside, {"kfold2": 2, "kfold4": 4}, seed)
    plan = plan_rows(bank, table[: sizes.small * IMAGES_PER_PROMPT], "grouped_kfold", seed)
    small = score_designs(bank, plan, beside, {"small": 4}, seed)
    return Outcome(whole.families | small.families, whole.truth | small.truth)


def score_designs(
    bank: Bank, plan: SplitPlan, beside: Rows, repeats: dict[str, int], seed: int
) -> Outcome:
    """Train all learners on all splits of a plan; estimates of designs with its first repeats."""
    scores = train_all(bank, plan.splits, beside, seed)
    found = [differences(bank, scores, k, beside) for k in range(len(plan.splits))]
    families = {
        design: estimates_of(bank, plan.first(count * FOLDS), scores)
        for design, count in repeats.items()
    }
    truth: FloatArray = np.mean(found, axis=0)
    return Outcome(families, {design: truth for design in repeats})


def plan_rows(bank: Bank, rows: Rows, protocol: ProtocolName, seed: int) -> SplitPlan:
    """The product's splits of a table that consists of some rows of the bank, four repeats."""
    plan = plan_splits(bank.groups[rows], protocol, seed, 4 * FOLDS)
    parts = [(split.train, split.validation, split.test) for split in plan.splits]
    splits = [Split(k, *(np.sort(rows[part]) for part in own)) for k, own in enumerate(parts)]
    return replace(plan, splits=tuple(splits))


def score_replicates(bank: Bank, numbers: Sequence[int]) -> list[FloatArray]:
    """Differences (contrasts,) on the test part of each replicate, every one a draw of its own."""
    sizes = [REPLICATE[part] for part in ("train", "validation", "test")]
    cuts = np.cumsum(sizes[:2]) * IMAGES_PER_PROMPT
    drawn = [bank.draw_rows(sum(sizes), number, 1) for number in numbers]
    parts = [map(np.sort, np.split(rows, cuts)) for rows in drawn]
    splits = [Split(number, *own) for number, own in zip(numbers, parts, strict=True)]
    # the seed of a training comes of its split's number as well
    scores = train_all(bank, splits, np.empty(0, np.int64), seed=0)
    return [differences(bank, scores, k, split.test) for k, split in enumerate(splits)]


def train_all(bank: Bank, splits: Sequence[Split], beside: Rows, seed: int) -> Scores:
    """Scores by every learner, trained on each split, of its test part and the rows beside."""
    asked = [np.concatenate([split.test, beside]) for split in splits]
    found = {name: _heads_scores(bank, splits, asked, own, seed) for name, own in HEADS.items()}
    ridges = [_ridge_scores(bank, split, rows) for split, rows in zip(splits, asked, strict=True)]
    return found | {RIDGE: ridges}


def _heads_scores(
    bank: Bank, splits: Sequence[Split], asked: Sequence[Rows], flags: dict[str, Any], seed: int
) -> list[FloatArray]:
    flags = flags | {"epochs": EPOCHS, "seed": seed, "threads": 1}
    config = resolve(run_config_from_flat(flags), bank.workspace.spec)
    outcomes = train_on_splits(config, bank.workspace, splits)
    model, given = prepare_run(config, bank.workspace, splits[0])[0].eval(), bank.embeddings
    found: list[FloatArray] = []
    for outcome, rows in zip(outcomes, asked, strict=True):
        if isinstance(outcome, TrainingDiverged):
            raise outcome
        model.load_state_dict(outcome.best_state, strict=False)
        inputs = [torch.from_numpy(part[rows]) for part in (given.image, given.text, given.cos)]
        with torch.no_grad():
            output = model.heads(*inputs)
        found.append(_laid_out(bank, rows, torch.stack([output.q, output.c]).numpy()))
    return found


def _ridge_scores(bank: Bank, split: Split, rows: Rows) -> FloatArray:
    fit, choose, found = split.train, split.validation, list[FloatArray]()
    for target in TARGETS:
        x, mos = bank.ridge_features[target], bank.mos[target]
        found.append(ridge_predictions(x[fit], mos[fit], x[choose], mos[choose], x[rows])[0])
    return _laid_out(bank, rows, np.stack(found))


def _laid_out(bank: Bank, rows: Rows, values: NDArray[np.floating]) -> FloatArray:
    scores = np.full((len(TARGETS), len(bank.groups)), np.nan)
    scores[:, rows] = values
    return scores


def differences(bank: Bank, scores: Scores, split: int, rows: Rows) -> FloatArray:
    """SROCC differences (contrasts,) of one split's models on some rows."""
    reached = {
        (target, name): srocc(own[split][k, rows], bank.mos[target][rows]) or 0.0
        for name, own in scores.items()
        for k, target in enumerate(TARGETS)
    }
    return np.array([reached[t, first] - reached[t, second] for t, first, second in CONTRASTS])


def estimates_of(bank: Bank, plan: SplitPlan, scores: Scores) -> list[Estimate]:
    """The contrasts as the report measures them, by the plan's own design."""
    noted = {
        "protocol": plan.protocol,
        "interval": plan.interval,
        "n_splits": str(len(plan.splits)),
        "n_folds": str(plan.n_folds),
        "variance_factor": str(plan.variance_factor),
        "validation_factor": str(plan.validation_factor),
    }
    sides = {name: _side(bank, plan.splits, own) for name, own in scores.items()}
    found: list[Estimate] = []
    for target, first, second in CONTRASTS:
        pair = [(1.0, sides[first]), (-1.0, sides[second])]
        estimate = measure(Design.of(noted), pair, SROCC.logged(target)).estimate
        assert estimate is not None, "a plan has more than one split"
        found.append(estimate)
    return found


def _side(bank: Bank, splits: Sequence[Split], scores: Sequence[FloatArray]) -> Side:
    """A learner's results on the test parts, in the form in which the report reads them."""
    parts: list[pd.DataFrame] = []
    cells: list[dict[str, Any]] = []
    for split, own in zip(splits, scores, strict=False):
        part = bank.frame.iloc[split.test][["group", *(t.mos for t in TARGETS)]]
        columns = {t.prediction: own[k, split.test] for k, t in enumerate(TARGETS)}
        parts.append(part.assign(split=split.index, seed=0, **columns))
        reached = {SROCC.logged(t): srocc(columns[t.prediction], part[t.mos]) for t in TARGETS}
        cells.append({"split": split.index} | reached)
    return Side(pd.DataFrame(cells), pd.concat(parts))

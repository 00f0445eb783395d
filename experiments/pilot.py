"""What an ablation will be able to tell apart, from linear probes trained for seconds.

The pilot holds a linear probe with residual heads against one with direct heads, in grouped 5-fold
over some hundred images. The error that it finds is carried over, prompt by prompt, to the planned
splits. Modes that train CLIP differ more from training to training, which it cannot know.
"""

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qa_core.config import RunConfig, with_settings
from qa_core.data.splits import FOLDS, IntervalKind, SplitPlan, plan_splits, stream
from qa_core.modes import mode_config
from qa_core.records.schema import Foreseen
from qa_core.targets import TARGETS, Target
from reports.inference.decisions import ALPHA
from reports.inference.estimates import Estimate, from_folds
from reports.inference.influence import Scored, score_part
from reports.inference.power import prompts_needed, smallest_difference, smallest_margin

if TYPE_CHECKING:
    import pandas as pd

    from qa_core.features.workspace import Workspace

MOST_IMAGES, MOST_SECONDS = 600, 30.0
"""Images of a pilot, and seconds to embed them; the smaller of the two decides."""
LEAST_PROMPTS = 20
"""Of fewer prompts a pilot says nothing."""
PER_TARGET = 4
"""Contrasts of the primary family on a target: one lift, and one mode against its three rivals."""


@dataclass(frozen=True)
class Power:
    """What planned splits will show in four of five runs, at Holm's strictest step.

    Attributes:
        difference: The smallest true difference in SROCC that is called.
        margin: The smallest margin within which two equal modes are called the same.
        prompts: Prompts at which that margin becomes the one that was asked for.
    """

    difference: float
    margin: float
    prompts: int


def foresee_power(
    base: RunConfig, workspace: "Workspace", plan: SplitPlan, margin: float
) -> dict[Target, Power]:
    """Power of planned splits by target.

    Empty where the protocol decides nothing, or where the data or the time are too little.

    Args:
        base: The configuration that all modes share.
        workspace: Table, images and backbone.
        plan: The planned splits.
        margin: Of "the same".
    """
    if plan.interval == IntervalKind.PROMPT_BOOTSTRAP or len(plan.splits) < 2:
        return {}
    small = _few_prompts(workspace, plan)
    groups = small.table.frame["group"].to_numpy(str)
    n_prompts = len(np.unique(groups))
    if n_prompts < LEAST_PROMPTS:
        return {}
    tested = _test_probes(base, small)
    targets = [target for target in TARGETS if target.mos in small.table.frame]
    level = ALPHA / (PER_TARGET * len(targets))
    pilots = {target: _difference(tested, np.unique(groups), target) for target in targets}
    return {
        target: _power(_planned_error(pilot, n_prompts, plan), plan, margin, level)
        for target, pilot in pilots.items()
        if pilot is not None and pilot.error > 0
    }


def power_params(
    base: RunConfig, workspace: "Workspace", plan: SplitPlan, margin: float
) -> dict[str, str]:
    """The same as parameters of an ablation, for a report to set beside what was found."""
    return {
        name: f"{value:.4f}"
        for target, power in foresee_power(base, workspace, plan, margin).items()
        for name, value in (
            (Foreseen.DIFFERENCE.of(target), power.difference),
            (Foreseen.MARGIN.of(target), power.margin),
        )
    }


def _few_prompts(workspace: "Workspace", plan: SplitPlan) -> "Workspace":
    """Some whole prompts, drawn at random, with as many images as there is time to embed."""
    part = workspace.holding(plan.splits[0])[0]
    started, tried = time.perf_counter(), min(8, len(part.images))
    part.subset(np.arange(tried)).pretrained_embeddings()
    in_time = int(MOST_SECONDS * tried / (time.perf_counter() - started))
    names, prompt_of = np.unique(part.table.frame["group"].to_numpy(str), return_inverse=True)
    place = stream(plan.seed).permutation(len(names))[prompt_of]
    n_images = np.cumsum(np.bincount(place))
    n_kept = np.searchsorted(n_images, min(MOST_IMAGES, in_time), side="right")
    return part.subset(np.flatnonzero(place < n_kept))


def _test_probes(
    base: RunConfig, small: "Workspace"
) -> list[tuple["pd.DataFrame", "pd.DataFrame"]]:
    """Predictions of both probes on the test part of each fold."""
    from qa_core.training.training_run import train_run  # torch: --help must not wait

    residual = mode_config("linear_probe", base, small.spec)
    direct = with_settings(residual, residual_learning=False)
    folds = plan_splits(small.table.frame["group"].to_numpy(str), "honest", 0, FOLDS).splits
    tested: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    for fold in folds:
        first, second = (
            train_run(config, small, fold, test=True).predictions for config in (residual, direct)
        )
        assert first is not None and second is not None
        tested.append((first, second))
    return tested


def _difference(
    tested: list[tuple["pd.DataFrame", "pd.DataFrame"]], names: np.ndarray, target: Target
) -> Estimate | None:
    parts: list[Scored] = []
    for pair in tested:
        first, second = (
            score_part(
                one[target.prediction], one[target.mos],
                np.searchsorted(names, one["group"].to_numpy(str)), len(names),
            )
            for one in pair
        )  # fmt: skip
        if first is not None and second is not None:
            parts.append(first - second)
    return from_folds(parts, [0] * len(parts), FOLDS) if parts else None


def _planned_error(pilot: Estimate, n_prompts: int, plan: SplitPlan) -> float:
    """Standard error of a difference over the planned splits.

    A mean over n prompts has the variance v / n. Repeated k-fold tests every prompt; elsewhere a
    split has v / n_test, and the mean over splits so much of it as the variance factor says.
    """
    of_one = pilot.error**2 * n_prompts
    if plan.protocol == "honest":
        return math.sqrt(of_one / plan.n_prompts)
    return math.sqrt(of_one / plan.n_test_prompts * plan.variance_factor)


def _power(error: float, plan: SplitPlan, margin: float, level: float) -> Power:
    degrees = (plan.n_prompts if plan.protocol == "honest" else len(plan.splits)) - 1
    smallest = smallest_margin(error, degrees, level)
    return Power(
        smallest_difference(error, degrees, level),
        smallest,
        prompts_needed(smallest, margin, plan.n_prompts),
    )

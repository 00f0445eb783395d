"""What an ablation will be able to tell apart, from a linear probe trained for seconds.

The pilot trains the probe in grouped 5-fold over some hundred images. The error of its own SROCC is
carried over, prompt by prompt, to the planned splits; other modes have nearly the same. How much of
it a difference of two modes has depends on how alike they rank, which no pilot knows that does not
train CLIP: so what is foreseen is a range.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qa_core.config import RunConfig
from qa_core.data.splits import FOLDS, IntervalKind, SplitPlan, plan_splits, stream
from qa_core.modes import mode_config
from qa_core.records.schema import Foreseen
from qa_core.targets import TARGETS, Target
from reports.inference.decisions import ALPHA
from reports.inference.estimates import from_folds
from reports.inference.influence import Scored, score_part
from reports.inference.power import prompts_needed, smallest_difference, smallest_margin

if TYPE_CHECKING:
    import pandas as pd

    from qa_core.features.workspace import Workspace

MOST_IMAGES, MOST_SECONDS = 600, 30.0
"""Images of a pilot, and seconds to embed them; the smaller of the two decides."""
LEAST_PROMPTS = 20
"""Of fewer prompts a pilot says nothing."""
OF_ONE = (0.25, 1.0)
"""Error of a difference of two modes over that of one mode's SROCC, least and most.

It is sqrt(2 (1 - r)) where the errors of the two correlate by r, here .97 and .5. The median pair
of modes had .54 to .78 in ablations of 20 epochs (embedded benchmark and AGIQA-3K, both targets),
and .15 to 1.08 in smoke runs, whose modes have hardly parted.
"""
PER_TARGET = 4
"""Contrasts of the primary family on a target: one lift, and one mode against its three rivals."""


Span = tuple[float, float]


@dataclass(frozen=True)
class Power:
    """What planned splits will show in four of five runs, at Holm's strictest step.

    Each is a range, from modes that rank most alike to those that rank least alike.

    Attributes:
        difference: The smallest true difference in SROCC that is called.
        margin: The smallest margin within which two equal modes are called the same.
        prompts: Prompts at which that margin becomes the one that was asked for.
    """

    difference: Span
    margin: Span
    prompts: Span


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
    tested = _test_probe(base, small)
    targets = [target for target in TARGETS if target.mos in small.table.frame]
    level = ALPHA / (PER_TARGET * len(targets))
    errors = {target: _pilot_error(tested, np.unique(groups), target) for target in targets}
    return {
        target: _power(_planned_error(error, n_prompts, plan), plan, margin, level)
        for target, error in errors.items()
        if error
    }


def power_params(
    base: RunConfig, workspace: "Workspace", plan: SplitPlan, margin: float
) -> dict[str, str]:
    """The same as parameters of an ablation, for a report to set beside what was found."""
    return {
        name: " ".join(f"{end:.4f}" for end in value)
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


def _test_probe(base: RunConfig, small: "Workspace") -> "list[pd.DataFrame]":
    """Predictions of a linear probe on the test part of each fold."""
    from qa_core.training.training_run import train_run  # torch: --help must not wait

    probe = mode_config("linear_probe", base, small.spec)
    folds = plan_splits(small.table.frame["group"].to_numpy(str), "honest", 0, FOLDS).splits
    results = [train_run(probe, small, fold, test=True) for fold in folds]
    return [one.predictions for one in results if one.predictions is not None]


def _pilot_error(tested: "list[pd.DataFrame]", names: np.ndarray, target: Target) -> float | None:
    """Standard error of the probe's own SROCC; None where it has none."""
    scored = [_score(one, names, target) for one in tested]
    parts = [one for one in scored if one is not None]
    found = from_folds(parts, [0] * len(parts), FOLDS) if parts else None
    return None if found is None else found.error


def _score(predictions: "pd.DataFrame", names: np.ndarray, target: Target) -> Scored | None:
    prompt_of = np.searchsorted(names, predictions["group"].to_numpy(str))
    return score_part(
        predictions[target.prediction], predictions[target.mos], prompt_of, len(names)
    )


def _planned_error(error: float, n_prompts: int, plan: SplitPlan) -> float:
    """Standard error of a mean SROCC over the planned splits.

    A mean over n prompts has the variance v / n. Repeated k-fold tests every prompt; elsewhere a
    split has v / n_test, and the mean over splits so much of it as the variance factor says.
    """
    of_one = error**2 * n_prompts
    if plan.protocol == "honest":
        return math.sqrt(of_one / plan.n_prompts)
    return math.sqrt(of_one / plan.n_test_prompts * plan.variance_factor)


def _power(error: float, plan: SplitPlan, margin: float, level: float) -> Power:
    """What the planned splits show, by the error of one mode's own SROCC."""
    degrees = (plan.n_prompts if plan.protocol == "honest" else len(plan.splits)) - 1
    errors = [share * error for share in OF_ONE]
    margins = [smallest_margin(one, degrees, level) for one in errors]
    return Power(
        _span(smallest_difference(one, degrees, level) for one in errors),
        _span(margins),
        _span(prompts_needed(one, margin, plan.n_prompts) for one in margins),
    )


def _span(values: Iterable[float]) -> Span:
    least, most = values
    return least, most

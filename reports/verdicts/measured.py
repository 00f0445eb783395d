"""What is measured by split of a mode, a difference of modes or a slope, with its error.

All of these are weighted sums of sides, a side being what one model was tested with. In repeated
K-fold the error of a sum of SROCCs comes from the shares of its prompts, else from its spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Setting
from qa_core.targets import TARGETS, Target
from reports.evidence.ablation import Ablation
from reports.evidence.design import Design, as_interval, is_on_validation
from reports.evidence.frames import kept_together, per_split, select
from reports.evidence.studies import Study
from reports.inference.estimates import Estimate, from_folds
from reports.inference.influence import Scored, score_part
from reports.statistics import FloatArray, Interval

Entry = dict[str, Any]
"""A measure, verdict or point as it stands in results.json."""


@dataclass(frozen=True)
class Side:
    """One model's results.

    Attributes:
        cells: One row a split and seed, with final metrics.
        predictions: One row a split, seed and test image; empty where they are not known.
    """

    cells: pd.DataFrame
    predictions: pd.DataFrame


@dataclass(frozen=True)
class Measured:
    """One value a split, and their mean with its error.

    Attributes:
        by_split: The values by split.
        estimate: Of the mean; None for one value, whose spread is unknown.
    """

    by_split: pd.Series
    estimate: Estimate | None

    @property
    def array(self) -> FloatArray:
        """The values (n_splits,)."""
        return self.by_split.to_numpy(float)

    @property
    def interval(self) -> Interval:
        """The 95 % interval, unadjusted."""
        return as_interval(self.array, self.estimate)


def side_of(ablation: Ablation, mode: str, setting: str) -> Side:
    """A mode at a setting; a tuned one tested on prompts outside the tuning pool alone."""
    key = ("side", mode, setting)
    if key not in ablation.kept:
        cells = ablation.cells_of(mode, setting)
        ablation.kept[key] = Side(cells, _tested(ablation.predictions, cells, setting))
    return ablation.kept[key]


def reference_side(ablation: Ablation, reference: str, setting: str) -> Side:
    """A reference row, tested as the modes at that setting are."""
    key = ("reference side", reference, setting)
    if key not in ablation.kept:
        rows = select(ablation.references, reference=reference)
        ablation.kept[key] = Side(rows, _tested(ablation.reference_predictions, rows, setting))
    return ablation.kept[key]


def _tested(predictions: pd.DataFrame, cells: pd.DataFrame, setting: str) -> pd.DataFrame:
    if predictions.empty:
        return predictions
    own: Any = predictions[predictions["run_id"].isin(list(cells["run_id"]))]
    if setting == Setting.TUNED and "in_pool" in own:
        own = own[~own["in_pool"].astype(bool)]
    return own


def measure_mode(ablation: Ablation, mode: str, metric: str, setting: str) -> Measured:
    """A metric of a mode at a setting."""
    return measure(ablation.design, [(1.0, side_of(ablation, mode, setting))], metric)


def measure_pair(ablation: Ablation, mode: str, rival: str, metric: str, setting: str) -> Measured:
    """A metric of a mode minus a rival's, paired by split."""
    sides = [(1.0, side_of(ablation, mode, setting)), (-1.0, side_of(ablation, rival, setting))]
    return measure(ablation.design, sides, metric)


def measure_over_reference(
    ablation: Ablation, mode: str, reference: str, metric: str, setting: str
) -> Measured:
    """A metric of a mode minus a reference row's, paired by split."""
    row = reference_side(ablation, reference, setting)
    return measure(ablation.design, [(1.0, side_of(ablation, mode, setting)), (-1.0, row)], metric)


def side_of_study(study: Study, **where: object) -> Side:
    """The cells of a study whose columns equal these."""
    cells = select(study.cells, **where)
    if study.predictions.empty:
        return Side(cells, study.predictions)
    own: Any = study.predictions[study.predictions["run_id"].isin(list(cells["run_id"]))]
    return Side(cells, own)


def measure_study(study: Study, metric: str, **where: object) -> Measured:
    """A metric of the cells of a study whose columns equal these."""
    return measure(study.design, [(1.0, side_of_study(study, **where))], metric)


def measure(design: Design, sides: Sequence[tuple[float, Side]], metric: str) -> Measured:
    """A weighted sum of a metric over sides, by the splits that all of them have.

    Args:
        design: Of the splits.
        sides: Each with its weight: 1 and -1 for a difference.
        metric: As MLflow names it.
    """
    target = next((t for t in TARGETS if metric == SROCC.logged(t)), None)
    if target is not None and design.n_folds:
        scored = _score_folds(sides, target)
        if scored:
            repeats = [split // design.n_folds for split in scored]
            estimate = from_folds(list(scored.values()), repeats, design.n_folds)
            values = pd.Series({split: part.score for split, part in scored.items()})
            return Measured(values, estimate)
    by_side = [weight * per_split(side.cells, metric) for weight, side in sides]
    table = pd.concat(by_side, axis=1, join="inner").dropna()
    values = table.sum(axis=1)
    if values.empty:
        return Measured(values, None)
    return Measured(values, design.estimate(values.to_numpy(float), is_on_validation(metric)))


def _score_folds(sides: Sequence[tuple[float, Side]], target: Target) -> dict[int, Scored]:
    """The weighted sum by split, over the prompts that these splits test; seeds averaged."""
    columns = [target.prediction, target.mos]
    if any(not {*columns, "split"} <= set(side.predictions) for _, side in sides):
        return {}
    known = [side.predictions.dropna(subset=columns) for _, side in sides]
    prompts = sorted({prompt for own in known for prompt in kept_together(own)})
    by_split = [{int(str(k)): part for k, part in own.groupby("split")} for own in known]
    found: dict[int, Scored] = {}
    for split in sorted(set.intersection(*(set(parts) for parts in by_split))):
        scores = [_mean_over_seeds(parts[split], target, prompts) for parts in by_split]
        if all(score is not None for score in scores):
            weighted = [s * w for s, (w, _) in zip(scores, sides, strict=True) if s is not None]
            found[split] = sum(weighted[1:], weighted[0])
    return found


def _mean_over_seeds(part: pd.DataFrame, target: Target, prompts: list[str]) -> Scored | None:
    """SROCC on a test fold with the prompts' shares; None where it is undefined."""
    scores: list[Scored] = []
    for _, own in part.groupby("seed"):
        numbers = np.searchsorted(prompts, kept_together(own))
        predicted, mos = (own[name].to_numpy(float) for name in (target.prediction, target.mos))
        score = score_part(predicted, mos, numbers, len(prompts))
        if score is not None:
            scores.append(score)
    return sum(scores[1:], scores[0]) * (1 / len(scores)) if scores else None

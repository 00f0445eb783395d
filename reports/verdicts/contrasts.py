"""What claims are decided from: values by split and setting, and contrasts between them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Param
from qa_core.targets import TARGETS
from reports.evidence.ablation import Ablation
from reports.evidence.frames import per_split, select
from reports.inference.estimates import Estimate
from reports.language import phrase
from reports.statistics import FloatArray
from reports.verdicts.measured import (
    Measured,
    measure_mode,
    measure_over_reference,
    measure_pair,
)

EPOCHS_FOR_CONVERGENCE = 20
NEAR_END = 0.98
GUIDE_MODES = ("traditional", "residual", "residual_partial_freeze", "linear_probe")
"""The four modes of which the guide's claims speak: a further mode joins no claim."""


class NotTested(Exception):
    """Why a claim cannot be decided from this ablation."""


@dataclass(frozen=True)
class Contrast:
    """One value a split, and the side of `null` on which they support the claim.

    Attributes:
        label: What is compared, in words.
        values: One value a split, (n_splits,).
        null: The value that the mean is held against.
        above: Whether a mean above the null supports the claim (below it otherwise).
        estimate: The mean with its error, where more than the values' spread over the ablation's
            test parts tells it (None: that).
        in_srocc: Whether it is a difference of SROCCs, so that one within the ablation's margin
            of 0 means the same.
    """

    label: str
    values: FloatArray
    null: float = 0.0
    above: bool = True
    estimate: Estimate | None = None
    in_srocc: bool = False

    @property
    def mean(self) -> float:
        """Mean over the splits."""
        return float(np.mean(self.values)) if self.estimate is None else self.estimate.mean

    @property
    def lead(self) -> float:
        """How far the mean lies on the supporting side (negative: on the other)."""
        distance = self.mean - self.null
        return distance if self.above else -distance


@dataclass(frozen=True)
class Evidence:
    """The cells of one setting ("guide" or "tuned"), asked by mode and measure.

    Every method raises NotTested, with the reason, where the cells it needs are not there.
    """

    ablation: Ablation
    setting: str

    @property
    def modes(self) -> tuple[str, ...]:
        """Modes with finished cells."""
        return self.ablation.mode_names

    @property
    def guide_modes(self) -> tuple[str, ...]:
        """Those of the guide's four modes that have finished cells."""
        return tuple(mode for mode in self.modes if mode in GUIDE_MODES)

    def scores(self, mode: str, measure: str) -> pd.Series:
        """One value a split of a mode's measure."""
        self._require_resplits()
        cells = self.ablation.cells_of(mode, self.setting)
        if cells.empty:
            raise NotTested(phrase("no finished run of {mode}", mode=mode.replace("_", " ")))
        values = per_split(cells, measure)
        if values.empty:
            reason = self.ablation.why_undefined(mode, measure)
            raise NotTested(
                phrase(
                    "{measure} is undefined for {mode}: {reason}",
                    measure=measure,
                    mode=mode.replace("_", " "),
                    reason=reason,
                )
            )
        return values

    def level(self, mode: str, measure: str, null: float, above: bool) -> Contrast:
        """A mode's measure against a fixed value."""
        self.scores(mode, measure)
        found = measure_mode(self.ablation, mode, measure, self.setting)
        return contrast_of(found, mode.replace("_", " "), null, above)

    def difference(self, mode: str, rival: str, measure: str) -> Contrast:
        """A mode minus a rival, paired by split."""
        label = f"{mode} − {rival}".replace("_", " ")
        for one in (mode, rival):
            self.scores(one, measure)
        found = measure_pair(self.ablation, mode, rival, measure, self.setting)
        return contrast_of(found, label, in_srocc=is_srocc(measure))

    def over_reference(self, mode: str, reference: str, measure: str) -> Contrast:
        """A mode minus a reference row, paired by split."""
        self.scores(mode, measure)
        rows = select(self.ablation.references, reference=reference)
        if per_split(rows, measure).empty:
            raise NotTested(phrase("no {reference} reference on this target", reference=reference))
        label = f"{mode.replace('_', ' ')} − {reference}"
        found = measure_over_reference(self.ablation, mode, reference, measure, self.setting)
        return contrast_of(found, label, in_srocc=is_srocc(measure))

    def log_ratio(self, mode: str, rival: str, measure: str) -> Contrast:
        """Log of a cost over a rival's, paired by split; below 0 supports."""
        label = f"log {measure} / {rival}".replace("_", " ")
        own, other = self.scores(mode, measure), self.scores(rival, measure)
        return self.pair(own.map(math.log), other.map(math.log), label, above=False)

    def pair(
        self,
        first: pd.Series,
        second: pd.Series,
        label: str,
        above: bool = True,
        on_validation: bool = False,
    ) -> Contrast:
        """Difference of two series over the splits that both have."""
        both = first.index.intersection(second.index)
        return self.contrast(first.loc[both] - second.loc[both], label, 0.0, above, on_validation)

    def contrast(
        self,
        values: pd.Series,
        label: str,
        null: float,
        above: bool,
        on_validation: bool = False,
    ) -> Contrast:
        """One value a split, taken on the test parts or on the validation parts."""
        found = values.to_numpy(dtype=float)
        estimate = self.ablation.design.estimate(found, on_validation) if found.size else None
        return contrast_of(Measured(values, estimate), label, null, above)

    def first_epoch_near_end(self, mode: str, target: str) -> pd.Series:
        """First epoch whose validation SROCC reaches 98 % of the last five's mean, by split."""
        return _by_split(_first_near_end, self._long_curves(mode, target))

    def late_fluctuation(self, mode: str, target: str) -> pd.Series:
        """SD of the epoch-to-epoch differences over the second half of the run, by split."""
        return _by_split(_late_fluctuation, self._long_curves(mode, target))

    def _require_resplits(self) -> None:
        if not self.ablation.decides:
            protocol = self.ablation.params.get(Param.PROTOCOL)
            raise NotTested(phrase("protocol {protocol} decides no claim", protocol=protocol))

    def _long_curves(self, mode: str, target: str) -> pd.DataFrame:
        """Validation SROCC (n_runs, n_epochs), only of runs of 20 epochs without stopping."""
        self._require_resplits()
        curves = self.ablation.curves
        measure = SROCC.curve(target)
        mine = curves["run_id"].isin(list(self.ablation.cells_of(mode, self.setting)["run_id"]))
        own: Any = curves[mine & (curves["epoch"] >= 1)]
        if own.empty or measure not in own:
            raise NotTested(phrase("no learning curve of {mode}", mode=mode.replace("_", " ")))
        wide = own.pivot_table(index=["split", "run_id"], columns="epoch", values=measure)
        epochs = wide.shape[1]
        if epochs < EPOCHS_FOR_CONVERGENCE or bool(wide.isna().to_numpy().any()):
            shortest = int(wide.notna().sum(axis=1).min())
            raise NotTested(
                phrase(
                    "needs {epochs} epochs without stopping; shortest run: {shortest}",
                    epochs=EPOCHS_FOR_CONVERGENCE,
                    shortest=shortest,
                )
            )
        return wide


def is_srocc(measure: str) -> bool:
    """Whether a metric is the SROCC on test, in whose units the margin is."""
    return measure in map(SROCC.logged, TARGETS)


def contrast_of(
    found: Measured,
    label: str,
    null: float = 0.0,
    above: bool = True,
    in_srocc: bool = False,
) -> Contrast:
    """What was measured as a contrast.

    Raises:
        NotTested: No split has it, or one alone.
    """
    if found.by_split.empty:
        raise NotTested(phrase("no split has both sides of {contrast}", contrast=label))
    if found.estimate is None:
        raise NotTested(phrase("one split alone has no spread"))
    return Contrast(label, found.array, null, above, found.estimate, in_srocc)


def _by_split(statistic: Callable[[FloatArray], float], curves: pd.DataFrame) -> pd.Series:
    """A statistic of each run's curve, seeds averaged; the columns are the epochs from 1."""
    values = [statistic(curve) for curve in curves.to_numpy(dtype=float)]
    means: Any = pd.Series(values, index=curves.index).groupby(level="split").mean()
    return means


def _first_near_end(values: FloatArray) -> float:
    reached = np.flatnonzero(values >= NEAR_END * float(np.mean(values[-5:])))
    return float(reached[0] + 1)


def _late_fluctuation(values: FloatArray) -> float:
    return float(np.std(np.diff(values[values.size // 2 :]), ddof=1))

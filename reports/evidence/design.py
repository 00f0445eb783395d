"""How the splits behind a mean hang together, and so what their spread says of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from qa_core.data.splits import IntervalKind
from qa_core.records.schema import Param
from reports.inference.estimates import Estimate, from_replicates, from_resplits
from reports.statistics import FloatArray, Interval

TAKEN_ON_VALIDATION = ("val_", "train_val_gap", "best_val_")
"""How the names of metrics begin that are taken on the validation part, or on it and training."""


def is_on_validation(metric: str) -> bool:
    """Whether a metric is taken on the validation part (else: on the test part, or on none)."""
    return metric.startswith(TAKEN_ON_VALIDATION)


@dataclass(frozen=True)
class Design:
    """The splits of an ablation or study.

    Attributes:
        independent: Whether they are replicates that share no prompt.
        n_splits: How many they are, J.
        test_factor: Nadeau-Bengio factor of J splits for what is measured on their test parts.
        validation_factor: The same for what is measured on their validation parts.
        n_folds: K of repeated K-fold whose test predictions tell each prompt's share; 0 elsewhere.
    """

    independent: bool
    n_splits: int
    test_factor: float
    validation_factor: float
    n_folds: int = 0

    @classmethod
    def of(cls, params: Mapping[str, str]) -> "Design":
        """The design of an ablation by its parameters; earlier versions noted fewer."""
        factor = params[Param.VARIANCE_FACTOR]
        is_repeated_kfold = params.get(Param.PROTOCOL) == "honest"
        return cls(
            independent=params.get(Param.INTERVAL) == IntervalKind.PAIRED_T,
            n_splits=int(params[Param.N_SPLITS]),
            test_factor=float(factor),
            validation_factor=float(params.get(Param.VALIDATION_FACTOR, factor)),
            n_folds=int(params.get(Param.N_FOLDS, 0)) if is_repeated_kfold else 0,
        )

    def factor(self, n: int, on_validation: bool = False) -> float:
        """Nadeau-Bengio factor of n splits' values: an undefined split leaves fewer."""
        planned = self.validation_factor if on_validation else self.test_factor
        return planned - 1 / self.n_splits + 1 / n

    def estimate(self, values: FloatArray, on_validation: bool = False) -> Estimate | None:
        """Mean of one value a split with its error; None for one value, whose spread is unknown."""
        if self.independent:
            return from_replicates(values)
        return from_resplits(values, self.factor(values.size, on_validation))

    def interval(
        self, values: FloatArray, on_validation: bool = False, level: float = 0.95
    ) -> Interval:
        """The same as an interval; no bounds for one value."""
        return as_interval(values, self.estimate(values, on_validation), level)


def as_interval(values: FloatArray, estimate: Estimate | None, level: float = 0.95) -> Interval:
    """The interval of an estimate; where there is none, the mean without bounds."""
    if estimate is None:
        return Interval(float(values.mean()), None, None, values.size, level, "none")
    return estimate.interval(level)

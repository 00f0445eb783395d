"""Every measure, written once: its name, what computes it, where it exists and its column.

Evaluation, reference rows, predictions of others, results.json, CSV and the tables of the report
iterate over `MEASURES`: a record added here appears in all of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike, NDArray

from qa_core.measures import metrics


@dataclass(frozen=True)
class Rated:
    """What a measure may read of one target on one part: arrays (n,).

    Attributes:
        prediction: Predicted scores.
        mos: Mean opinion scores.
        base: The prediction without its correction; None in direct prediction, as the next two.
        delta: The unscaled correction in [-1, 1].
        scale: The factor on it, by row.
        generator: Names of generators; None where the table names none.
    """

    prediction: NDArray
    mos: NDArray
    base: NDArray | None = None
    delta: NDArray | None = None
    scale: NDArray | None = None
    generator: NDArray | None = None


Value = tuple[float | None, str | None]
"""A measure's value, or None and why it is undefined."""

Metric = Callable[[ArrayLike, ArrayLike], float | None]


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: Its name in results.json, there with the target where it has one: `srocc_quality`.
        compute: Its value from predictions; None for what training measures.
        heading: Title of its column in the report's tables; empty for none.
        needs_scale: Whether predictions must be on the scale of the ratings: it is then undefined
            for zero-shot scores and for predictions of others.
        of_references: Whether reference rows and predictions of others have it too.
        by_epoch: Metric under which every epoch logs it (without target); empty for none.
        metric: Metric under which a finished run logs it (without target); by default `test_` and
            the name for what is computed from predictions, else the name.
        per_target: Whether each target has its own.
        unit: How a table writes it.
        scale: Least and largest value that it can have.
        words: What it is, in a line of the report's glossary; empty where it has no column.
    """

    name: str
    compute: Callable[[Rated], Value] | None = None
    heading: str = ""
    needs_scale: bool = False
    of_references: bool = False
    by_epoch: str = ""
    metric: str = ""
    per_target: bool = True
    unit: Literal["score", "share", "count", "seconds"] = "score"
    scale: tuple[float, float] = (-1.0, 1.0)
    words: str = ""

    def key(self, target: str = "") -> str:
        """Its name in results.json."""
        return _of(self.name, target)

    def logged(self, target: str = "") -> str:
        """The metric of a finished run: for `SROCC` that of the test part, `test_srocc_quality`."""
        return _of(self.metric or (f"test_{self.name}" if self.compute else self.name), target)

    def curve(self, target: str = "") -> str:
        """The metric of every epoch: for `SROCC` that of validation, `val_srocc_quality`."""
        return _of(self.by_epoch, target)


def _of(name: str, target: str) -> str:
    return f"{name}_{target}" if target else name


def agreement(metric: Metric) -> Callable[[Rated], Value]:
    """A correlation of predictions with opinions as a measure."""

    def compute(of: Rated) -> Value:
        value = _known(metric(of.prediction, of.mos))
        return value, metrics.undefined_reason(of.prediction, of.mos) if value is None else None

    return compute


def error(metric: Metric) -> Callable[[Rated], Value]:
    """A mean error of predictions, which needs no more than finite rows, as a measure."""
    return lambda of: (_known(metric(of.prediction, of.mos)), "no finite rows")


def _known(value: float | None) -> float | None:
    """A value; None for NaN, which no record of a measure may hold."""
    return None if value is None or math.isnan(value) else value


def _within_generators(of: Rated) -> Value:
    if of.generator is None:
        return None, "the table names no generator"
    value = metrics.within_group_srocc(of.prediction, of.mos, of.generator)
    return value, "no generator has 3 rows of different values"


def _of_base(of: Rated) -> Value:
    if of.base is None:
        return None, "direct prediction has no base"
    return metrics.srocc(of.base, of.mos), metrics.undefined_reason(of.base, of.mos)


_NO_DELTA = "direct prediction has no bounded correction"


def _saturation(of: Rated) -> Value:
    return None if of.delta is None else metrics.delta_saturation(of.delta), _NO_DELTA


def _small(of: Rated) -> Value:
    if of.delta is None or of.scale is None:
        return None, _NO_DELTA
    return metrics.small_correction_share(of.delta, of.scale), _NO_DELTA


# fmt: off
SROCC = Measure(
    "srocc", agreement(metrics.srocc), "SROCC", of_references=True, by_epoch="val_srocc",
    words="Spearman’s rank correlation of predictions with mean opinions; 1 is the same order",
)
PLCC = Measure(
    "plcc", agreement(metrics.plcc), "PLCC", of_references=True, by_epoch="val_plcc",
    words="Pearson’s correlation of predictions with mean opinions, raw",
)
BASE_SROCC = Measure("base_srocc", _of_base)
GAP = Measure(
    "train_val_gap", by_epoch="train_val_gap", metric="train_val_gap_best", scale=(-2.0, 2.0)
)
"""At the best checkpoint; a metric of its own, because every epoch logs the bare name."""
GAP_LAST = Measure(
    "train_val_gap_last", heading="gap, last", scale=(-2.0, 2.0),
    words="SROCC on training less SROCC on validation images, at the last epoch",
)
SATURATION = Measure(
    "delta_saturation", _saturation, "saturated", by_epoch="delta_saturation", unit="share",
    scale=(0.0, 1.0), words="share of images whose correction lies within 5 % of its bound",
)
SMALL = Measure("delta_small", _small, by_epoch="delta_small", unit="share", scale=(0.0, 1.0))
CLAMPED = Measure("clamped", lambda of: (metrics.clamped_share(of.prediction), "no rows"),
                  by_epoch="clamped", unit="share", scale=(0.0, 1.0))
RETENTION = Measure(
    "alignment_retention", heading="retention", per_target=False,
    words="rank correlation of cos(image, prompt) after fine-tuning with the pretrained one; "
    "mean of the next two",
)
R_AT_1 = Measure(
    "retention_r_at_1", heading="R@1 ratio", per_target=False, scale=(0.0, math.inf),
    words="share of images that find their prompt first, after fine-tuning over before",
)
PARAMETERS = Measure(
    "trainable_parameters", heading="parameters", per_target=False, unit="count",
    scale=(0.0, math.inf), words="parameters that training changes",
)
EPOCH_SECONDS = Measure(
    "seconds_per_epoch", heading="s an epoch", per_target=False, unit="seconds",
    scale=(0.0, math.inf), words="seconds an epoch, on this machine",
)

MEASURES = (
    SROCC,
    PLCC,
    Measure("plcc_fitted", lambda of: metrics.plcc_fitted(of.prediction, of.mos), "PLCC fitted",
            of_references=True, words="the same after a logistic curve of four parameters"),
    Measure("krocc", agreement(metrics.krocc), "KROCC", of_references=True,
            words="Kendall’s rank correlation: pairs in the right order less pairs in the wrong"),
    Measure("rmse", error(metrics.rmse), "RMSE", needs_scale=True, of_references=True,
            scale=(0.0, 1.0), words="root mean square error, on scores from 0 to 1"),
    Measure("within_generator_srocc", _within_generators, of_references=True),
    BASE_SROCC,
    GAP,
    GAP_LAST,
    SATURATION,
    SMALL,
    CLAMPED,
    RETENTION,
    Measure("alignment_retention_matched", heading="matched", per_target=False,
            words="the same among images with their own prompts"),
    Measure("alignment_retention_shuffled", heading="shuffled", per_target=False,
            words="the same among images with prompts of others"),
    R_AT_1,
    PARAMETERS,
    EPOCH_SECONDS,
    Measure("peak_memory_mb", heading="MB at peak", per_target=False, unit="count",
            scale=(0.0, math.inf),
            words="most memory that the process or the GPU held, what all modes share included"),
)
# fmt: on
"""All, in the order of tables."""


def per_target() -> Sequence[Measure]:
    """Those that each target has."""
    return [measure for measure in MEASURES if measure.per_target]


def overall() -> Sequence[Measure]:
    """Those that a run has once."""
    return [measure for measure in MEASURES if not measure.per_target]


def of_predictions() -> Sequence[Measure]:
    """Those computed from predictions."""
    return [measure for measure in MEASURES if measure.compute]


def of_references() -> Sequence[Measure]:
    """Those that reference rows and predictions of others have too."""
    return [measure for measure in MEASURES if measure.of_references]


def by_epoch() -> Sequence[Measure]:
    """Those that every epoch logs."""
    return [measure for measure in MEASURES if measure.by_epoch]

"""An estimate with its standard error and degrees of freedom, one function a design."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from reports.inference.influence import Scored
from reports.statistics import FloatArray, Interval, as_vector

EstimateKind = Literal["paired_t", "nadeau_bengio", "prompt_influence"]


@dataclass(frozen=True)
class Estimate:
    """A mean over test parts, and how sure it is.

    Attributes:
        mean: The estimate.
        error: Its standard error, at least 0.
        degrees: Degrees of freedom of that error.
        n: Number of test parts behind the mean.
        kind: How the error was found.
    """

    mean: float
    error: float
    degrees: int
    n: int
    kind: EstimateKind

    def p(self, null: float = 0.0) -> float:
        """Two-sided p value of the mean against a null value."""
        return min(1.0, 2 * min(self.p_above(null), self.p_below(null)))

    def p_above(self, null: float) -> float:
        """One-sided p value against all truths at most the null: small where the mean is above."""
        if self.error == 0:
            return 0.0 if self.mean > null else 1.0
        t = (self.mean - null) / self.error
        return float(cast(Any, special).stdtr(self.degrees, -t))

    def p_below(self, null: float) -> float:
        """One-sided p value against all truths at least the null: small where the mean is below."""
        return Estimate(-self.mean, self.error, self.degrees, self.n, self.kind).p_above(-null)

    def bounds(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided t interval of a coverage in (0, 1)."""
        quantile = float(cast(Any, special).stdtrit(self.degrees, 0.5 + level / 2))
        return self.mean - quantile * self.error, self.mean + quantile * self.error

    def interval(self, level: float = 0.95, null: float = 0.0) -> Interval:
        """The interval with the p value against a null."""
        low, high = self.bounds(level)
        return Interval(self.mean, low, high, self.n, level, self.kind, self.p(null))


def from_replicates(values: ArrayLike) -> Estimate | None:
    """Mean over J independent replicates: SD / sqrt(J), J - 1 degrees; None with one replicate.

    Student's paired t where the values are differences of two modes on the same replicate. It
    needs replicates that share no prompt, in training or test.
    """
    return _from_spread(values, None, "paired_t")


def from_resplits(values: ArrayLike, variance_factor: float) -> Estimate | None:
    """Mean over J overlapping re-splits with the corrected t, J - 1 degrees; None with one split.

    Nadeau and Bengio, "Inference for the Generalization Error" (Machine Learning 52, 2003),
    equation 9; see `resplit_factor`.
    """
    return _from_spread(values, variance_factor, "nadeau_bengio")


def resplit_factor(n_splits: int, n_measured: int, n_eligible: int) -> float:
    """What the variance between re-splits is multiplied with: 1/J + m / (n - m), in prompts.

    Two parts of m prompts, drawn from the same n, share m/n of them on average; Nadeau and Bengio
    (2003) take that for the correlation of what is measured on them.

    Args:
        n_splits: J.
        n_measured: m, prompts of the part that the measure was taken on: the test part's, or the
            validation part's for a measure of validation.
        n_eligible: n, prompts that can land in such a part.
    """
    if not 0 < n_measured < n_eligible:
        raise ValueError(f"a part of {n_measured} prompts is not drawn from {n_eligible}")
    return 1 / n_splits + n_measured / (n_eligible - n_measured)


def _from_spread(values: ArrayLike, factor: float | None, kind: EstimateKind) -> Estimate | None:
    vector = as_vector(values)
    n = int(vector.size)
    if n < 2:
        return None
    if float(np.ptp(vector)) == 0.0:  # equal values: rounding must not make a spread of them
        return Estimate(float(vector[0]), 0.0, n - 1, n, kind)
    error = float(np.std(vector, ddof=1) * np.sqrt(1 / n if factor is None else factor))
    return Estimate(float(np.mean(vector)), error, n - 1, n, kind)


def from_folds(parts: Sequence[Scored], repeat_of: Sequence[int], n_folds: int) -> Estimate | None:
    """Mean over the test folds of repeated grouped K-fold, its error from prompts and training.

    SE^2 = V_test + V_training, with one degree of freedom less than prompts are tested.

    V_test = sum over prompts of (mean over folds of the prompt's share)^2: each prompt counts once,
    however many folds tested it. That a cross-validated score is asymptotically normal with this
    variance: Bayle, Bayle, Janson and Mackey, "Cross-validation Confidence Intervals for Test
    Error" (NeurIPS 2020), theorem 1; Austern and Zhou, "Asymptotics of Cross-Validation" (2020).
    Their intervals are for the models at hand; V_training (see `training_variance`) is what other
    training sets and seeds would have changed.

    Args:
        parts: One test fold each, (J,), several seeds averaged first; the shares of all are over
            the same prompts, those that the design tests.
        repeat_of: The repeat of each fold, (J,).
        n_folds: K.

    Returns:
        The estimate; None with fewer than two folds of some repeat, whose spread is unknown.
    """
    values = np.array([part.score for part in parts], dtype=np.float64)
    shares = np.stack([part.shares for part in parts])  # (J, n_prompts)
    training = training_variance(values, shares, np.asarray(repeat_of), n_folds)
    if training is None:
        return None
    by_prompt = shares.mean(axis=0)
    error = float(np.sqrt(np.sum(by_prompt**2) + training))
    degrees = shares.shape[1] - 1
    return Estimate(float(values.mean()), error, degrees, len(parts), "prompt_influence")


def training_variance(
    values: FloatArray, shares: FloatArray, repeat_of: NDArray[np.integer], n_folds: int
) -> float | None:
    """Variance of the mean over J folds that other training sets and seeds would add.

    max(s^2 / R, tau^2 (1/J + 1/(K - 1))). s^2 is the variance of the means of R whole repeats.
    tau^2 = max(0, S^2 - mean_j sum_g share_jg^2) is what the variance S^2 between the folds of a
    repeat has beyond the prompts' own part of it. S^2 is taken within repeats, whose folds share
    no test prompt: folds of two repeats do, which would make S^2, and so tau^2, too small. The
    factor is Nadeau and Bengio's (2003), here for the training part alone.

    Args:
        values: Scores (J,).
        shares: Prompts' shares (J, n_prompts).
        repeat_of: The repeat of each fold (J,).
        n_folds: K.

    Returns:
        The variance; None where no repeat has two folds.
    """
    own: list[FloatArray] = [values[repeat_of == repeat] for repeat in np.unique(repeat_of)]
    degrees = sum(part.size - 1 for part in own)
    if degrees == 0:
        return None
    between = sum(float(np.sum((part - part.mean()) ** 2)) for part in own) / degrees
    tau2 = max(0.0, between - float(np.sum(shares**2)) / values.size)
    by_folds = tau2 * (1 / values.size + 1 / (n_folds - 1))
    whole = [float(part.mean()) for part in own if part.size == n_folds]
    by_repeats = float(np.var(whole, ddof=1)) / len(whole) if len(whole) > 1 else 0.0
    return max(by_folds, by_repeats)

"""Whole ablations with known truth, drawn as predictions of images, on overlapping re-splits.

Nothing is assumed here about how splits correlate: overlapping test parts make that correlation.
"""

import numpy as np
from numpy.typing import NDArray

from qa_core.measures.metrics import srocc

FloatArray = NDArray[np.float64]

PROMPTS, IMAGES_PER_PROMPT = 200, 5
POOL_SHARE, TEST_SHARE, RESPLITS = 0.3, 0.2, 10
"""Of all prompts, those in a pool apart and in each re-split's test part, drawn from the others."""
OPINION_OF_PROMPT = 0.4
"""Share of the opinions' variance that all images of a prompt have in common."""
ERROR_OF_PROMPT = (0.0, 0.2, 0.4, 0.6)
"""The same of each procedure's error: so four procedures of equal expectation yet differ."""
ERROR_OF_TRAINING = 0.2
"""Share of the error's variance that is drawn anew in each split, as training does."""
ERROR_SD = 0.85
"""SD of the first procedure's error, in SDs of opinion; the others' follow from equality."""

_BISECTIONS = 14


def image_level_scores(n: int, seed: int) -> FloatArray:
    """SROCC on the test parts (n, 4, J) of n data sets, procedures of equal expectation."""
    rng = np.random.default_rng(seed)
    sds = equal_error_sds(rng)
    return np.stack([_scores_of_one_data_set(sds, rng) for _ in range(n)])


def _scores_of_one_data_set(sds: FloatArray, rng: np.random.Generator) -> FloatArray:
    """SROCC (4, J) of one data set on re-splits, drawn afresh."""
    mos, lasting = draw_data_set(PROMPTS, rng)
    prompt_of = np.repeat(np.arange(PROMPTS), IMAGES_PER_PROMPT)
    eligible = rng.permutation(PROMPTS)[round(POOL_SHARE * PROMPTS) :]
    scores = np.empty((len(sds), RESPLITS))
    for index in range(RESPLITS):
        tested = rng.permutation(eligible)[: round(TEST_SHARE * PROMPTS)]
        test = np.isin(prompt_of, tested)
        errors = trained(lasting[:, test], rng)
        for k, sd in enumerate(sds):
            scores[k, index] = srocc(mos[test] + sd * errors[k], mos[test])
    return scores


def equal_error_sds(rng: np.random.Generator, n_test_parts: int = 400) -> FloatArray:
    """SD of each procedure's error (4,) at which its expected test SROCC is the first one's.

    By bisection over test parts that are drawn once; prompts in common make a rank correlation
    of few prompts noisier and a little lower, so equal SDs would not be equal procedures.
    """
    parts: list[tuple[FloatArray, FloatArray]] = []
    for _ in range(n_test_parts):
        mos, lasting = draw_data_set(round(TEST_SHARE * PROMPTS), rng)
        parts.append((mos, trained(lasting, rng)))

    def expected(procedure: int, sd: float) -> float:
        scores = [srocc(mos + sd * errors[procedure], mos) for mos, errors in parts]
        return float(np.mean([score for score in scores if score is not None]))

    goal = expected(0, ERROR_SD)
    sds = [ERROR_SD]
    for procedure in range(1, len(ERROR_OF_PROMPT)):
        low, high = 0.5 * ERROR_SD, 2 * ERROR_SD
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if expected(procedure, middle) > goal else (low, middle)
        sds.append((low + high) / 2)
    return np.array(sds)


def draw_data_set(n_prompts: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Opinions (images,) and what lasts of the errors over splits (4, images).

    With the part that training adds, an error has variance 1.
    """

    def of_prompts(n: int) -> FloatArray:
        return np.repeat(rng.normal(size=(n, n_prompts)), IMAGES_PER_PROMPT, axis=1)

    def of_images(n: int) -> FloatArray:
        return rng.normal(size=(n, n_prompts * IMAGES_PER_PROMPT))

    mos = np.sqrt(OPINION_OF_PROMPT) * of_prompts(1) + np.sqrt(1 - OPINION_OF_PROMPT) * of_images(1)
    share, n = np.array(ERROR_OF_PROMPT)[:, None], len(ERROR_OF_PROMPT)
    lasting = np.sqrt(share) * of_prompts(n)
    lasting += np.sqrt(1 - ERROR_OF_TRAINING - share) * of_images(n)
    return mos[0], lasting


def trained(lasting: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Errors (4, images) of unit variance after one training."""
    return lasting + np.sqrt(ERROR_OF_TRAINING) * rng.normal(size=lasting.shape)


def split_correlation(differences: FloatArray) -> float:
    """Correlation rho between two splits' differences over data sets, of differences (n, k, J).

    Mean over contrasts of the covariance of distinct splits over the variance of one.
    """
    n_splits = differences.shape[-1]
    variance = differences.var(axis=0, ddof=1).mean(axis=-1)  # (k,)
    of_means = differences.mean(axis=-1).var(axis=0, ddof=1)
    covariance = (n_splits * of_means - variance) / (n_splits - 1)
    return float(np.mean(covariance / variance))

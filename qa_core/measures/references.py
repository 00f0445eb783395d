"""Reference predictions that a fine-tuned mode has to beat, or cannot."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from qa_core.measures.metrics import rmse, srocc
from qa_core.targets import TARGETS, Target

STRENGTHS: NDArray[np.float64] = np.logspace(-3, 5, 33)
"""Ridge penalties on standardised features, four to a decade."""

KERNEL_FACTORS = (0.3, 1.0)
"""Gaussian kernels tried: exp(-factor / width * squared distance) of standardised features."""
KERNEL_PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
MOST_KERNEL_ROWS = 4000

CEILING_DRAWS = 50

ANTONYM_PROMPTS: tuple[tuple[str, str], ...] = (
    ("a photo of good quality", "a photo of poor quality"),
    ("a good photo", "a bad photo"),
    ("an excellent image", "a terrible image"),
    ("a sharp and clear picture", "a blurry and noisy picture"),
    ("a clean, undistorted image", "a damaged, distorted image"),
)
"""(positive, negative) prompts about quality in general, fixed before any data was looked at."""

Vector = NDArray[np.float64]
Matrix = NDArray[np.floating]


def quality_features(img: Matrix) -> Matrix:
    """What the quality ridge reads: the normalised image embedding (n, width)."""
    return np.asarray(img)


def consistency_features(img: Matrix, txt: Matrix, cos: ArrayLike) -> Matrix:
    """What the consistency ridge reads: the embeddings' product, and cos; (n, width + 1)."""
    return np.column_stack([np.asarray(img) * np.asarray(txt), np.asarray(cos)])


def ridge_predictions(
    features_train: Matrix,
    mos_train: ArrayLike,
    features_val: Matrix,
    mos_val: ArrayLike,
    features_test: Matrix,
) -> tuple[Vector, float]:
    """Predictions (n_test,) of a ridge regression, and its penalty, chosen by validation SROCC.

    Features are standardised by the training part; of equally good penalties the largest is taken.

    Args:
        features_train: (n_train, width).
        mos_train: (n_train,).
        features_val: (n_val, width).
        mos_val: (n_val,).
        features_test: (n_test, width).
    """
    standardise = _standardiser(features_train)
    mos = np.asarray(mos_train, dtype=np.float64)
    left, singular, right = np.linalg.svd(standardise(features_train), full_matrices=False)
    along = left.T @ (mos - mos.mean())  # (rank,)

    def predict(features: Matrix, strength: float) -> Vector:
        weights = right.T @ (along * singular / (singular**2 + strength))  # (width,)
        return standardise(features) @ weights + mos.mean()

    strength = float(
        max(STRENGTHS[::-1], key=lambda strength: _merit(predict(features_val, strength), mos_val))
    )
    return predict(features_test, strength), strength


def kernel_ridge_predictions(
    features_train: Matrix,
    mos_train: ArrayLike,
    features_val: Matrix,
    mos_val: ArrayLike,
    features_test: Matrix,
) -> Vector:
    """Predictions (n_test,) of a kernel ridge regression with a Gaussian kernel.

    Features are standardised by the training part and limited to five standard deviations; width
    and penalty are chosen by validation SROCC. Of more than 4,000 training rows a random 4,000 are
    used, always the same.

    Args:
        features_train: (n_train, width).
        mos_train: (n_train,).
        features_val: (n_val, width).
        mos_val: (n_val,).
        features_test: (n_test, width).
    """
    from sklearn.kernel_ridge import KernelRidge  # loads in a second, which few commands need

    train, mos = np.asarray(features_train, dtype=np.float64), np.asarray(mos_train, float)
    if len(train) > MOST_KERNEL_ROWS:
        rows = np.random.default_rng(0).choice(len(train), MOST_KERNEL_ROWS, replace=False)
        train, mos = train[rows], mos[rows]
    standardise = _standardiser(train, most=5.0)
    known, validation = standardise(train), standardise(features_val)
    make = cast(Any, KernelRidge)  # without types, and its defaults look like whole numbers
    fits = [
        make(alpha=penalty, kernel="rbf", gamma=factor / train.shape[1])
        for factor in KERNEL_FACTORS
        for penalty in KERNEL_PENALTIES
    ]
    for fit in fits:
        fit.fit(known, mos - mos.mean())
    best = max(fits, key=lambda fit: _merit(fit.predict(validation), mos_val))
    return best.predict(standardise(features_test)) + mos.mean()


def _standardiser(train: Matrix, most: float = np.inf) -> Callable[[Matrix], Matrix]:
    """What centres and scales features as those of the training part, limited to +- `most`."""
    known = np.asarray(train, dtype=np.float64)
    centre, spread = known.mean(axis=0), known.std(axis=0)
    spread[spread == 0] = 1

    def standardise(features: Matrix) -> Matrix:
        scaled = (np.asarray(features, dtype=np.float64) - centre) / spread
        return scaled if np.isinf(most) else np.clip(scaled, -most, most)

    return standardise


def _merit(predicted: ArrayLike, mos: ArrayLike) -> float:
    """SROCC on validation; where it is undefined, the error's negative."""
    value = srocc(predicted, mos)
    return -(rmse(predicted, mos) or 0.0) if value is None else value


def pixel_free_floor(
    frame: pd.DataFrame, train_rows: NDArray[np.int64], test_rows: NDArray[np.int64], target: str
) -> Vector:
    """Scores (n_test,) from the table alone: generator mean + prompt mean - grand mean.

    Generators count by their setting where the table names one. A prompt's effect is the mean of
    what its training rows leave after the generator means; an unseen prompt or generator has none.

    Args:
        frame: Frame of a rated table.
        train_rows: Rows (n_train,) to learn the means from.
        test_rows: Rows (n_test,) to predict.
        target: `quality` or `consistency`.
    """
    maker = pd.Series("", index=frame.index, dtype=str)
    for column in ("generator", "setting"):
        if column in frame.columns:
            maker = maker + "\x1f" + frame[column]
    scores = frame[f"mos_{target}"].iloc[train_rows]
    grand = scores.mean()

    maker_effect = (scores - grand).groupby(maker.iloc[train_rows]).mean()
    left = scores - grand - maker.iloc[train_rows].map(maker_effect)
    prompt_effect = left.groupby(frame["group"].iloc[train_rows]).mean()

    from_maker = maker.iloc[test_rows].map(maker_effect).fillna(0.0)
    from_prompt = frame["group"].iloc[test_rows].map(prompt_effect).fillna(0.0)
    return (grand + from_maker + from_prompt).to_numpy(dtype=np.float64)


def floor_scores(
    frame: pd.DataFrame, train_rows: NDArray[np.int64], rows: NDArray[np.int64]
) -> dict[Target, float]:
    """SROCC of the pixel-free floor on some rows, by target; absent where it is undefined.

    Args:
        frame: Frame of a rated table.
        train_rows: Rows (n_train,) to learn the means from.
        rows: Rows (n,) to score.
    """
    floors: dict[Target, float] = {}
    for target in (target for target in TARGETS if target.mos in frame):
        mos = frame[target.mos].to_numpy(float)
        train, rated = (part[~np.isnan(mos[part])] for part in (train_rows, rows))
        floor = srocc(pixel_free_floor(frame, train, rated, target), mos[rated])
        if floor is not None:
            floors[target] = floor
    return floors


def true_ceiling(true: ArrayLike, mos: ArrayLike) -> float | None:
    """SROCC of the true mean opinion with the measured one: the best that any model can score."""
    return srocc(true, mos)


def raters_ceiling(
    mos: ArrayLike, std: ArrayLike, n_raters: ArrayLike, seed: int = 0
) -> float | None:
    """SROCC of true with measured opinion that the raters' noise allows, by simulation.

    The measured scores spread by the opinions and by the error of their means, so they are drawn
    in until opinions and error together spread as measured (classical test theory: reliability =
    1 - error variance / variance); then errors are drawn anew. Mean over 50 draws. Too high by
    about .02 with 4 ratings an image, whose std varies by chance; within .015 from 8 on. None
    where no spread is left beside the error, or std or raters are unknown.

    Args:
        mos: Measured mean opinion scores (n,).
        std: Standard deviation of the ratings of each image (n,), in the same unit.
        n_raters: Ratings of each image (n,) or of all.
        seed: Seed of the draws.
    """
    scores, spread, n = np.broadcast_arrays(
        *(np.asarray(part, dtype=np.float64) for part in (mos, std, n_raters))
    )
    known = np.isfinite(scores) & np.isfinite(spread) & (n > 0)
    scores, error = scores[known], spread[known] / np.sqrt(n[known])
    if len(scores) < 3:
        return None
    reliability = 1 - np.mean(error**2) / max(np.var(scores), np.finfo(float).tiny)
    if reliability <= 0:
        return None
    opinions = scores.mean() + np.sqrt(reliability) * (scores - scores.mean())
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((CEILING_DRAWS, len(scores))) * error
    values = [srocc(opinions, opinions + draw) for draw in noise]
    return float(np.mean([value for value in values if value is not None]))


def antonym_quality(
    img: Matrix, txt_positive: Matrix, txt_negative: Matrix, logit_scale: float
) -> Vector:
    """Zero-shot quality (n,) in [0, 1]: how much nearer an image is to praise than to blame.

    The softmax probability of the positive prompt of each pair, averaged over pairs (CLIP-IQA,
    Wang, Chan and Loy, AAAI 2023, eq. 2).

    Args:
        img: Normalised image embeddings (n, width).
        txt_positive: Normalised embeddings (pairs, width) of the positive prompts.
        txt_negative: The same of the negative prompts.
        logit_scale: The factor on cosines that pretraining learnt.
    """
    gap = (
        np.asarray(img, dtype=np.float64) @ (np.asarray(txt_positive) - np.asarray(txt_negative)).T
    )
    return (0.5 + 0.5 * np.tanh(logit_scale * gap / 2)).mean(axis=1)  # (n, pairs) -> (n,)

"""Worlds whose truth is known: data sets of images, and four procedures trained on some of them.

Each data set is drawn afresh, and a procedure's truth is its mean over data sets, trainings
included. The worlds differ in what training does to a procedure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Rows = NDArray[np.intp]

IMAGES_PER_PROMPT = 5
OPINION_OF_PROMPT = 0.4
"""Share of the opinions' variance that all images of a prompt have in common."""
ERROR_OF_PROMPT = (0.0, 0.2, 0.4, 0.6)
"""The same of each procedure's error in `fickle` and `moody`."""
ERROR_OF_TRAINING = 0.2
"""Share of the error's variance that every training draws anew."""
ERROR_SD = 0.85
"""SD of an error, in SDs of opinion."""

CARELESSNESS_SD, CARELESSNESS_SHARED = 0.03, 0.2
"""In `mood`: SD of the relative size of a procedure's errors between trainings, and the share of
its variance that all trainings on one data set have in common."""

WIDTHS = (6, 10, 16, 24)
"""In `regression`: features that each procedure reads, the first of 24."""
NOISE_SD = 0.8
"""Of opinions, beyond what the features tell, in SDs of what they tell."""


@dataclass(frozen=True)
class DataSet:
    """Images of a data set and a way to train on them.

    Attributes:
        mos: Opinions (n,); the images of a prompt stand together.
        predict: Predictions (4, n_test) of the procedures, trained on rows, for test rows.
    """

    mos: FloatArray
    predict: Callable[[Rows, Rows], FloatArray]


World = Callable[[int, np.random.Generator], DataSet]
"""Draws a data set of so many prompts."""


def fickle(n_prompts: int, rng: np.random.Generator) -> DataSet:
    """A fifth of each image's error is drawn anew in every training."""
    mos, lasting = draw_data_set(n_prompts, rng)
    return DataSet(mos, lambda _, test: mos[test] + ERROR_SD * trained(lasting[:, test], rng))


def moody(n_prompts: int, rng: np.random.Generator) -> DataSet:
    """Besides, all errors of a training are larger or smaller together: a whole model is worse."""
    mos, lasting = draw_data_set(n_prompts, rng)
    shared = np.sqrt(CARELESSNESS_SHARED) * rng.normal(size=(len(lasting), 1))

    def predict(_: Rows, test: Rows) -> FloatArray:
        own = np.sqrt(1 - CARELESSNESS_SHARED) * rng.normal(size=shared.shape)
        size = ERROR_SD * (1 + CARELESSNESS_SD * (shared + own))
        return mos[test] + size * trained(lasting[:, test], rng)

    return DataSet(mos, predict)


def regression(n_prompts: int, rng: np.random.Generator) -> DataSet:
    """Least squares on features that prompts share in part, really fitted to the training rows."""
    images = n_prompts * IMAGES_PER_PROMPT

    def drawn(width: int) -> FloatArray:
        of_prompts = np.repeat(rng.normal(size=(n_prompts, width)), IMAGES_PER_PROMPT, axis=0)
        of_images = rng.normal(size=(images, width))
        share = OPINION_OF_PROMPT
        return np.sqrt(share) * of_prompts + np.sqrt(1 - share) * of_images

    features = drawn(WIDTHS[-1])
    weights = 1.0 / np.arange(1, WIDTHS[-1] + 1)
    mos = features @ (weights / np.linalg.norm(weights)) + NOISE_SD * drawn(1)[:, 0]

    def predict(train: Rows, test: Rows) -> FloatArray:
        x, y = features[train], mos[train]
        squares, along = x.T @ x, x.T @ y
        fits = [np.linalg.solve(squares[:w, :w], along[:w]) for w in WIDTHS]
        return np.stack([features[test, :w] @ fit for w, fit in zip(WIDTHS, fits, strict=True)])

    return DataSet(mos, predict)


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


WORLDS: dict[str, World] = {"fickle": fickle, "moody": moody, "regression": regression}

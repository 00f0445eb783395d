"""Designed cells in the Optuna storage, so that its dashboards show every study."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import create_trial

from studies.sweep import Journals

_MOST_SPLITS = 10_000


def record_in_optuna(
    journals: Journals,
    study: str,
    knobs: Sequence[dict[str, Any]],
    values: Sequence[Sequence[float | None]],
) -> None:
    """Add the finished cells that the journal has not: a trial a point and split.

    Args:
        journals: Where they are kept.
        study: Name of the study.
        knobs: What each point varies, by name.
        values: Selection metric on validation by point and split; None for a failed cell.
    """
    journal = journals.open(study)
    there = {_key(trial.params) for trial in journal.get_trials(deepcopy=False)}
    choices = {
        name: {k[name]: None for k in knobs if name in k} for point in knobs for name in point
    }
    for point, row in zip(knobs, values, strict=True):
        distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(tuple(choices[name])) for name in point
        }
        distributions["split"] = IntDistribution(0, _MOST_SPLITS)
        for split, value in enumerate(row):
            params = point | {"split": split}
            if value is not None and _key(params) not in there:
                trial = create_trial(value=value, params=params, distributions=distributions)
                journal.add_trial(trial)


def _key(params: dict[str, Any]) -> frozenset[tuple[str, Any]]:
    return frozenset(params.items())

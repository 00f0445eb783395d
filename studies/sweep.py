"""Adaptive search over a mode's knobs, by rounds, so that only its seed decides what is tried.

A round's trials are all asked before any of them runs, each by a fresh sampler seeded by study and
trial number that sees earlier rounds only. A round is recorded when all of it has ended, in the
order of trial numbers. So the trials depend neither on the number of workers nor on interruptions:
an unfinished round is asked again, gives the same trials, and finds those that MLflow already has.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from qa_core.errors import UserError
from studies.engine.interface import Engine, Job, Outcome
from studies.objective import TrialResult
from studies.space import ModeSpace

ROUND = 4
"""Trials a round; those of the first are drawn at random."""
FOLDS = 3

MakeJob = Callable[[ModeSpace, int, dict[str, Any], tuple[float | None, ...]], Job]
"""From (space, trial number, values, bars after each fold) to the trial's job."""
Ended = Callable[[Outcome, TrialResult], None]


@dataclass(frozen=True)
class Choice:
    """Which setting of a mode is its tuned one, and why.

    Attributes:
        values: The knobs of the tuned setting.
        is_guide: True if the guide's own setting stays.
        reason: Why, in words.
    """

    values: dict[str, Any]
    is_guide: bool
    reason: str


@dataclass(frozen=True)
class Journals:
    """Persistent studies that keep finished trials.

    Attributes:
        address: Of the Optuna storage, for SQLAlchemy.
        prefix: What the names of all studies start with there.
    """

    address: str
    prefix: str = ""

    def open(self, name: str) -> optuna.Study:
        """The study of this name, created where missing.

        Raises:
            UserError: The storage is of another version of Optuna.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:  # and ask first whether a server has ended an idle connection
            storage = RDBStorage(self.address, engine_kwargs={"pool_pre_ping": True})
        except RuntimeError as error:
            if "table schema" not in str(error):
                raise
            raise UserError(
                f"{self.address} is of another version of Optuna than {optuna.__version__}; use"
                " that version, or choose another folder or database."
            ) from error
        return optuna.create_study(
            storage=storage,
            study_name=self.prefix + name,
            direction="maximize",
            load_if_exists=True,
        )


class ModeSweep:
    """The search over one mode: what to run next, and what came of it.

    Args:
        space: The mode's knobs.
        journal: Its persistent study; finished trials of earlier sessions are taken from it.
        n_trials: Number of trials, failed and pruned ones included.
    """

    def __init__(self, space: ModeSpace, journal: optuna.Study, n_trials: int):
        self.space, self.n_trials, self._journal = space, n_trials, journal
        self._recorded = len(journal.trials)
        self._round_start = self._recorded // ROUND * ROUND
        if self._recorded >= n_trials:
            self._round_start = n_trials
        self._results: dict[int, TrialResult] = {}
        self._asked: dict[int, dict[str, Any]] = {}
        self._scratch = optuna.create_study(direction="maximize")
        self._open: list[optuna.Trial] = []

    @property
    def done(self) -> bool:
        """Whether all trials are recorded."""
        return self._round_start >= self.n_trials

    @property
    def trials(self) -> list[FrozenTrial]:
        """Recorded trials by number."""
        return self._journal.get_trials(deepcopy=False)

    def ask_round(self) -> list[tuple[int, dict[str, Any], tuple[float | None, ...]]]:
        """Number, values and pruning bars of the next round's trials that are not recorded yet."""
        earlier = self._journal.get_trials(deepcopy=False)[: self._round_start]
        stop = min(self._round_start + ROUND, self.n_trials)
        self._asked = self._ask(earlier, range(self._round_start, stop))
        bars = pruning_bars(earlier)
        return [(n, self._asked[n], bars) for n in range(self._recorded, stop)]

    def receive(self, number: int, result: TrialResult) -> bool:
        """Take a trial's result; True when that ended (and recorded) the round."""
        self._results[number] = result
        stop = min(self._round_start + ROUND, self.n_trials)
        if len(self._results) < stop - self._recorded:
            return False
        for trial in range(self._recorded, stop):
            self._journal.add_trial(self._frozen(self._asked[trial], self._results.pop(trial)))
        self._recorded = self._round_start = stop
        return True

    def _ask(self, earlier: Sequence[FrozenTrial], numbers: range) -> dict[int, dict[str, Any]]:
        self._catch_up(earlier)
        for number in numbers:
            if number == 0:
                self._scratch.enqueue_trial(self.space.guide_values)
            seed = stable_seed(self.space.mode, number)
            self._scratch.sampler = TPESampler(seed=seed, n_startup_trials=ROUND)
            self._open.append(self._scratch.ask(self.space.distributions))
        return {trial.number: trial.params for trial in self._open}

    def _catch_up(self, earlier: Sequence[FrozenTrial]) -> None:
        """Add the trials of earlier rounds to the study in memory, which samplers read.

        It is kept from round to round, because copying all trials each time takes quadratic time.
        """
        for trial in self._open:
            recorded = earlier[trial.number]
            for fold, mean in recorded.intermediate_values.items():
                trial.report(mean, fold)
            value = recorded.value if recorded.state == TrialState.COMPLETE else None
            self._scratch.tell(trial, value, recorded.state)
        self._open = []
        self._scratch.add_trials(earlier[len(self._scratch.get_trials(deepcopy=False)) :])

    def _frozen(self, values: dict[str, Any], result: TrialResult) -> FrozenTrial:
        running = np.cumsum(result.folds) / np.arange(1, len(result.folds) + 1)
        return create_trial(
            state=TrialState[result.state],
            value=None if result.error else result.value,
            params=values,
            distributions=self.space.distributions,
            intermediate_values={fold: float(mean) for fold, mean in enumerate(running)},
            user_attrs={"folds": list(result.folds)},
        )


def pruning_bars(earlier: Sequence[FrozenTrial]) -> tuple[float | None, ...]:
    """Median running mean of earlier rounds after each fold; None where there is none."""
    bars: list[float | None] = []
    for fold in range(FOLDS):
        means = [t.intermediate_values[fold] for t in earlier if fold in t.intermediate_values]
        bars.append(float(np.median(means)) if means else None)
    return tuple(bars)


def folds_saved(trials: Sequence[FrozenTrial]) -> tuple[int, int]:
    """Folds that pruning did not run, and the folds of all trials together."""
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    return sum(FOLDS - len(t.intermediate_values) for t in pruned), FOLDS * len(trials)


def stable_seed(mode: str, number: int) -> int:
    """A seed in [0, 2^32) that a mode's name and a trial's number give on any machine."""
    return int.from_bytes(hashlib.sha256(f"{mode}/{number}".encode()).digest()[:4], "big")


def run_sweeps(
    sweeps: Sequence[ModeSweep], engine: Engine, make_job: MakeJob, ended: Ended
) -> None:
    """Run all sweeps to their end, side by side, so that no worker waits for one mode's round.

    Args:
        sweeps: One a mode.
        engine: Runs the trials.
        make_job: Makes a trial's job; its work returns a `TrialResult`.
        ended: Told of each trial's end, before it is recorded.
    """
    pending: dict[str, tuple[ModeSweep, int]] = {}

    def submit_round(sweep: ModeSweep) -> None:
        for number, values, bars in sweep.ask_round():
            job = make_job(sweep.space, number, values, bars)
            pending[job.name] = (sweep, number)
            engine.submit(job)

    for sweep in sweeps:
        if not sweep.done:
            submit_round(sweep)
    while pending:
        outcome = engine.next_outcome(1.0)
        if outcome is None:
            continue
        sweep, number = pending.pop(outcome.job.name)
        result = outcome.value or TrialResult((), error=outcome.error)
        ended(outcome, result)
        if sweep.receive(number, result) and not sweep.done:
            submit_round(sweep)


def choose(space: ModeSpace, trials: Sequence[FrozenTrial]) -> Choice:
    """The mode's tuned setting: the guide's, unless the best trial is clearly better.

    Clearly: its mean over the folds beats the guide's by more than one standard error of the
    paired difference over folds.
    """
    guide_values = space.guide_values
    whole = [t for t in trials if t.state == TrialState.COMPLETE]
    if not whole:
        return Choice(guide_values, True, "no trial was completed")
    best = max(whole, key=lambda t: (t.value or 0.0, -t.number))
    if best.number == 0:
        return Choice(guide_values, True, "no trial beat the guide's setting on the tuning pool")
    guide = trials[0]
    if guide.state != TrialState.COMPLETE:
        return Choice(dict(best.params), False, "the guide's setting failed on the tuning pool")
    gain, error = paired_gain(best.user_attrs["folds"], guide.user_attrs["folds"])
    words = f"trial {best.number} scored {gain:+.4f} against the guide's setting, standard error"
    words += f" {error:.4f} over {len(guide.user_attrs['folds'])} folds"
    if gain > error:
        return Choice(dict(best.params), False, f"{words}: more than one standard error")
    return Choice(guide_values, True, f"{words}: within one standard error")


def paired_gain(values: Sequence[float], reference: Sequence[float]) -> tuple[float, float]:
    """Mean of the paired differences over folds, and its standard error."""
    differences = np.asarray(values) - np.asarray(reference)
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))

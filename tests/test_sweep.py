"""The adaptive search on a real Optuna storage, with an objective of no cost."""

import heapq
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from qa_core.config import RunConfig
from qa_core.errors import UserError
from qa_core.modes import BackboneSpec
from studies.engine.interface import Engine, Job, Outcome
from studies.engine.local import LocalEngine
from studies.objective import TrialResult, prune_after
from studies.space import ModeSpace, mode_space
from studies.sweep import (
    Journals,
    ModeSweep,
    choose,
    folds_saved,
    paired_gain,
    pruning_bars,
    run_sweeps,
    stable_seed,
)

SPEC = BackboneSpec(image_depth=12, text_depth=4, published=False)
MODES = ("traditional", "residual_partial_freeze")


@dataclass(frozen=True)
class CheapTrial:
    """A trial whose three folds are a formula of its knobs."""

    values: dict[str, Any]
    bars: tuple[float | None, ...]
    fails: bool = False

    def run(self, context: Any) -> TrialResult:
        """The formula, pruned like a real trial."""
        if self.fails:
            raise ValueError("a failing configuration")
        centre = -abs(np.log10(self.values["lr"]) + 4)
        centre -= abs(self.values.get("freeze_layers", 6) - 6) / 20
        folds: list[float] = []
        for fold in range(3):
            folds.append(float(centre + fold / 100))
            if fold < 2 and prune_after(folds, self.bars):
                return TrialResult(tuple(folds), pruned=True)
        return TrialResult(tuple(folds))


@dataclass
class InlineEngine:
    """Runs jobs in this process in an order of its own; may be interrupted after some."""

    order: Callable[[int], float] = float
    stop_after: int = 10**9
    workers: int = 1
    running: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    _queue: list[tuple[float, int, Job]] = field(default_factory=list)
    _count: int = 0

    def submit(self, job: Job) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.order(self._count), self._count, job))

    def next_outcome(self, timeout_s: float) -> Outcome | None:
        if len(self.started) >= self.stop_after:
            raise KeyboardInterrupt
        job = heapq.heappop(self._queue)[2]
        self.started.append(job.name)
        try:
            return Outcome(job, job.work.run(None), None, 1, 0.0)
        except ValueError as error:
            return Outcome(job, None, str(error), 2, 0.0)


def spaces() -> list[ModeSpace]:
    return [mode_space(mode, RunConfig(), SPEC) for mode in MODES]


def sweep_all(
    storage: str, engine: Engine, n_trials: int = 10, failing: tuple[int, ...] = ()
) -> list[ModeSweep]:
    sweeps = [ModeSweep(s, Journals(storage).open(s.mode), n_trials) for s in spaces()]

    def make_job(
        space: ModeSpace, number: int, values: dict[str, Any], bars: tuple[float | None, ...]
    ) -> Job:
        return Job(f"{space.mode} {number}", CheapTrial(values, bars, number in failing))

    run_sweeps(sweeps, engine, make_job, lambda outcome, result: None)
    return sweeps


def contents(sweeps: list[ModeSweep]) -> list[Any]:
    return [[(t.number, t.state, t.params, t.value) for t in s.trials] for s in sweeps]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    storage = f"sqlite:///{tmp_path_factory.mktemp('optuna')}/o.db"
    return contents(sweep_all(storage, InlineEngine()))


def test_exactly_as_many_trials_as_asked_for_and_none_on_a_second_call(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/o.db"
    first = sweep_all(storage, InlineEngine(), n_trials=6)
    assert [len(sweep.trials) for sweep in first] == [6, 6]
    again = InlineEngine()
    assert contents(sweep_all(storage, again, n_trials=6)) == contents(first)
    assert again.started == []


def test_the_guides_setting_is_trial_0(undisturbed: list[Any]) -> None:
    for space, trials in zip(spaces(), undisturbed, strict=True):
        assert trials[0][2] == pytest.approx(space.guide_values)
        assert trials[0][1] == TrialState.COMPLETE
        assert len({tuple(trial[2].values()) for trial in trials}) == len(trials)


def test_order_of_completion_changes_nothing(tmp_path: Path, undisturbed: list[Any]) -> None:
    backwards = InlineEngine(order=lambda count: -float(count))
    assert contents(sweep_all(f"sqlite:///{tmp_path}/o.db", backwards)) == undisturbed


def test_number_of_workers_changes_nothing(tmp_path: Path, undisturbed: list[Any]) -> None:
    with closing(LocalEngine(dict, workers=3)) as engine:
        sweeps = sweep_all(f"sqlite:///{tmp_path}/o.db", engine)
    assert [len(sweep.trials) for sweep in sweeps] == [10, 10]
    assert contents(sweeps) == undisturbed


@pytest.mark.parametrize("stop_after", [1, 5, 9, 13])
def test_an_interruption_changes_nothing(
    tmp_path: Path, undisturbed: list[Any], stop_after: int
) -> None:
    storage = f"sqlite:///{tmp_path}/o.db"
    with pytest.raises(KeyboardInterrupt):
        sweep_all(storage, InlineEngine(stop_after=stop_after))
    assert contents(sweep_all(storage, InlineEngine())) == undisturbed


def test_a_round_recorded_in_part_is_completed(tmp_path: Path, undisturbed: list[Any]) -> None:
    storage = f"sqlite:///{tmp_path}/o.db"
    whole = sweep_all(f"sqlite:///{tmp_path}/whole.db", InlineEngine())
    for sweep in whole:
        Journals(storage).open(sweep.space.mode).add_trials(sweep.trials[:6])
    assert contents(sweep_all(storage, InlineEngine())) == undisturbed


def test_failing_trials_count_and_the_sweep_goes_on(tmp_path: Path) -> None:
    sweeps = sweep_all(f"sqlite:///{tmp_path}/o.db", InlineEngine(), failing=(1, 5))
    for sweep in sweeps:
        states = [trial.state for trial in sweep.trials]
        assert len(states) == 10
        assert [n for n, state in enumerate(states) if state == TrialState.FAIL] == [1, 5]


def test_trials_below_the_median_of_earlier_rounds_are_pruned(undisturbed: list[Any]) -> None:
    states = [trial[1] for trials in undisturbed for trial in trials]
    assert TrialState.PRUNED in states
    assert all(trial[1] == TrialState.COMPLETE for trials in undisturbed for trial in trials[:4])


def test_what_pruning_saves_is_counted_in_folds() -> None:
    space = spaces()[0]
    whole, early = fake_trial(space, (0.5, 0.6, 0.7)), fake_trial(space, (0.1,))
    failed = fake_trial(space, (0.5,))
    early.state, failed.state = TrialState.PRUNED, TrialState.FAIL
    assert folds_saved([whole, early, failed]) == (2, 9)


def fake_trial(space: ModeSpace, folds: tuple[float, ...], **changes: float) -> Any:
    means = np.cumsum(folds) / np.arange(1, len(folds) + 1)
    return create_trial(
        value=float(np.mean(folds)),
        params=space.guide_values | changes,
        distributions=space.distributions,
        intermediate_values={k: float(mean) for k, mean in enumerate(means)},
        user_attrs={"folds": list(folds)},
    )


def test_pruning_bars_are_medians_of_running_means() -> None:
    space = spaces()[0]
    trials = [fake_trial(space, folds) for folds in ((0.0, 0.2, 0.4), (0.2, 0.6, 1.0), (1.0,))]
    assert pruning_bars(trials) == pytest.approx((0.2, 0.25, 0.4))
    assert pruning_bars([]) == (None, None, None)


@pytest.mark.parametrize(
    ("folds", "is_guide"),
    [
        ((0.50, 0.60, 0.70), True),  # equal
        ((0.51, 0.61, 0.71), False),  # .01 better in each fold: no doubt
        ((0.40, 0.60, 0.86), True),  # .02 better on the mean, standard error .075
        ((0.40, 0.50, 0.60), True),  # worse
    ],
)
def test_the_guide_stays_within_one_standard_error(
    folds: tuple[float, ...], is_guide: bool
) -> None:
    space = spaces()[0]
    trials = [fake_trial(space, (0.5, 0.6, 0.7)), fake_trial(space, folds, lr=2e-4)]
    for number, trial in enumerate(trials):
        trial.number = number
    choice = choose(space, trials)
    assert choice.is_guide == is_guide
    assert choice.values["lr"] == (space.guide_values["lr"] if is_guide else 2e-4)


def test_paired_gain_by_hand() -> None:
    gain, error = paired_gain((0.6, 0.8, 0.7), (0.5, 0.6, 0.4))
    assert gain == pytest.approx(0.2)
    assert error == pytest.approx(0.1 / np.sqrt(3))


def test_seeds_are_the_same_on_every_machine() -> None:
    assert stable_seed("residual", 3) == 1622415219
    assert stable_seed("residual", 3) != stable_seed("residual", 4)


def test_a_store_of_another_optuna_is_told(tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    Journals(f"sqlite:///{file}").open("residual")
    with sqlite3.connect(file) as store:
        store.execute("UPDATE alembic_version SET version_num = 'another'")
    with pytest.raises(UserError, match="of another version of Optuna than"):
        Journals(f"sqlite:///{file}").open("residual")

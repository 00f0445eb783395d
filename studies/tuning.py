"""The tuning phase: a search over each mode's knobs on the tuning pool, all modes side by side."""

import functools
import time
from typing import Any

from qa_core.data.splits import MIN_PROMPTS_FOR_POOL
from qa_core.errors import last_line
from qa_core.records.schema import TUNE, Tag
from studies import parent_runs, sweep
from studies.engine.interface import Job, Outcome
from studies.objective import TrialResult, TrialWork
from studies.running_ablation import RunningAblation
from studies.space import ModeSpace, expected_cost


def tune(ablation: RunningAblation) -> dict[str, sweep.Choice]:
    """Search each mode's knobs on the tuning pool; the choice by mode, none without a pool."""
    if not ablation.context.plan.folds:
        return _no_tuning(ablation)
    board, profile = ablation.board, ablation.profile
    sweeps = [
        sweep.ModeSweep(space, ablation.journals.open(mode), profile.n_trials)
        for mode, space in ablation.spaces.items()
    ]
    for one in sweeps:
        left = profile.n_trials - len(one.trials)
        cost = left * _trial_cost(ablation, one.space.guide)
        board.expect(TUNE, one.space.mode, profile.n_trials, len(one.trials), cost)
    sweep.run_sweeps(
        sweeps,
        ablation.engine,
        functools.partial(_trial_job, ablation),
        functools.partial(_trial_ended, ablation),
    )
    return {one.space.mode: _choose(ablation, one) for one in sweeps}


def _choose(ablation: RunningAblation, searched: sweep.ModeSweep) -> sweep.Choice:
    """The tuned setting of a mode, logged in its run."""
    mode, tracker = searched.space.mode, ablation.context.tracker
    choice = sweep.choose(searched.space, searched.trials)
    saved, folds = sweep.folds_saved(searched.trials)
    parent_runs.log_choice(tracker, ablation.mode_runs[mode], searched.space, choice)
    saving = {Tag.FOLDS_PRUNED: str(saved), Tag.FOLDS_OF_TRIALS: str(folds)}
    tracker.log(ablation.mode_runs[mode], tags=saving)
    ablation.board.say(f"tuned {mode}: {choice.reason}; pruning saved {saved} of {folds} folds")
    return choice


def _trial_cost(ablation: RunningAblation, config: Any) -> float:
    folds = ablation.context.plan.folds
    images = sum(len(fold.train) for fold in folds)
    return expected_cost(config, ablation.context.workspace.spec, images)


def _trial_job(
    ablation: RunningAblation,
    space: ModeSpace,
    number: int,
    values: dict[str, Any],
    bars: tuple[float | None, ...],
) -> Job:
    config = space.config(values)
    parent = ablation.mode_runs[space.mode]
    work = TrialWork(space.mode, number, values, config, bars, parent)
    return Job(f"{TUNE} {space.mode} {number}", work, _trial_cost(ablation, config))


def _trial_ended(ablation: RunningAblation, outcome: Outcome, result: TrialResult) -> None:
    work = outcome.job.work
    assert isinstance(work, TrialWork)
    if outcome.error is not None:  # a trial that ended by itself has written its own run
        context, started = ablation.context, time.time() - outcome.wall_s
        context.tracker.write(work.record(context, result, started))
    value = result.value if result.state == "COMPLETE" else None
    if result.folds:
        of_folds = f"{len(result.folds)} of {len(ablation.context.plan.folds)} folds"
        score = f"mean SROCC {result.value:.4f} on {of_folds} of the tuning pool"
        text = f"{result.state.lower()}, {score}"
    else:
        text = f"{result.state.lower()}: {last_line(result.error or 'unknown')}"
    ablation.board.ended(outcome, text, value, failed=result.error is not None)


def _no_tuning(ablation: RunningAblation) -> dict[str, sweep.Choice]:
    reason = f"no tuning: fewer than {MIN_PROMPTS_FOR_POOL} prompts leave no pool to tune on"
    few = ablation.context.plan.n_prompts < MIN_PROMPTS_FOR_POOL
    if not few or ablation.context.plan.protocol != "grouped_kfold":
        reason = f"no tuning: protocol {ablation.context.plan.protocol} sets no pool apart"
    ablation.board.say(f"{reason}; each mode is confirmed at the guide's setting")
    for run_id in ablation.mode_runs.values():
        tags = {Tag.TUNED_IS_GUIDE: "true", Tag.TUNED_REASON: reason}
        ablation.context.tracker.log(run_id, tags=tags)
    return {}

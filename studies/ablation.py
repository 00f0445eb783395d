"""The phases of an ablation: references, tuning, confirmation, studies.

Each goes on where it stopped.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qa_core.arms import ARMS
from qa_core.config import RunConfig, with_settings
from qa_core.data.splits import MIN_PROMPTS_FOR_POOL, Split, SplitPlan
from qa_core.errors import UserError, last_line
from qa_core.records.schema import TUNE, Param, Setting, Tag, is_complete
from qa_core.records.tracking import Tracker
from studies import parent_runs, sweep
from studies.board import Board
from studies.cache_fill import fill_cache
from studies.cells import adopt_cells, cells_of, run_cells
from studies.champion import register_champion
from studies.confirmation import ModeSetting
from studies.context import Context, Setup, conditions, open_context, open_workspace
from studies.designed.catalogue import DESIGNS
from studies.designed.runner import DesignedStudy
from studies.engine.interface import Engine, Job, Outcome
from studies.engine.machines import EngineChoice, OpenContext, open_machines
from studies.forecast import forecast_ablation
from studies.objective import TrialResult, TrialWork
from studies.profiles import Profile, StudyRequest
from studies.reference_rows import write_reference_rows
from studies.session import close_parents, ends_told, open_session
from studies.sign_of_life import signs_of_life
from studies.space import ModeSpace, all_spaces, expected_cost
from studies.stores import Stores

if TYPE_CHECKING:
    from qa_core.features.workspace import Workspace


Foresight = Callable[["Workspace", SplitPlan], dict[str, str]]
"""Tells, as parameters of an ablation, what these splits of these data will show."""


@dataclass(frozen=True)
class RunningAblation:
    """What the phases share.

    Attributes:
        profile: Its size.
        base: The configuration that all modes share.
        context: Data, splits and the way to MLflow.
        engine: Runs the jobs.
        board: Shows progress.
        spaces: The modes' knobs, by mode.
        mode_runs: Run ids of the modes.
        journals: Where Optuna keeps its trials.
    """

    profile: Profile
    base: RunConfig
    context: Context
    engine: Engine
    board: Board
    spaces: dict[str, ModeSpace]
    mode_runs: dict[str, str]
    journals: sweep.Journals


def run_studies(
    setup: Setup,
    profile_name: str,
    profile: Profile,
    stores: Stores,
    choice: EngineChoice,
    only: StudyRequest | None = None,
    arms: Sequence[str] = (),
    foresee: Foresight | None = None,
) -> int:
    """Everything but the report; returns the number of failed cells.

    With `only`, that study alone, in the same ablation. Further `arms` may be added to an ablation
    that is complete. `foresee` is asked once, before anything is trained.

    Raises:
        UserError: Data, backbone or folder cannot be used, or the machine failed.
    """
    with (
        Board() as board,
        ends_told(stores.place, board),
        open_machines(choice) as machines,
    ):
        board.say(f"opening {stores.place}")
        machines.prepare()
        workspace, plan = open_workspace(setup, progress=board.note)  # before anything is written
        board.say(_size_words(workspace.table.name, plan))
        params = parent_runs.ablation_params(
            profile_name, profile, setup.base, workspace, plan, machines.workers
        )
        tracker, run = _open_ablation(stores, params)
        context = Context(workspace, plan, tracker)
        if only is None and _is_complete(run, arms):
            board.say("everything is there already")
            close_parents(tracker, "FINISHED")  # a command killed just before its end left them
            # open
            return 0
        spaces = all_spaces(arms, setup.base, workspace.spec)
        with (
            open_session(tracker, spaces) as mode_runs,
            machines.start(_context_opener(setup, context)) as engine,
            signs_of_life(tracker, board),
        ):
            if only is None and Param.PLANNED_WHOLE not in run.data.params:
                _log_plan(context, spaces, profile, machines.workers, board)
                if foresee is not None:
                    board.say("planning: a pilot of linear probes, to foresee what will be decided")
                    tracker.log(run.info.run_id, params=foresee(workspace, plan))
            board.watch(engine)
            journals = stores.journals(run.info.run_id)
            ablation = RunningAblation(
                profile, setup.base, context, engine, board, spaces, mode_runs, journals
            )
            return _run_phases(ablation) if only is None else _run_study(ablation, only)


def _open_ablation(stores: Stores, params: dict[str, Any]) -> tuple[Tracker, Any]:
    """The tracker and the run of the ablation, locked for this command."""
    tracker = stores.open_tracker()
    run = parent_runs.open_ablation_run(tracker, params, stores.place)
    stores.claim(tracker, run)
    return tracker.of_ablation(run.info.run_id), run


def _is_complete(run: Any, arms: Sequence[str]) -> bool:
    there = run.data.tags.get(Tag.ARMS, "").split()
    return is_complete(run) and set(arms) <= set(there)


def _context_opener(setup: Setup, context: Context) -> OpenContext:
    """The function with which a worker opens the same context as this process."""
    tracker, here = context.tracker, conditions(context.workspace, context.plan)
    return functools.partial(
        open_context, setup, tracker.uri, tracker.experiment_id, context.ablation_id, here
    )


def _log_plan(
    context: Context, spaces: dict[str, ModeSpace], profile: Profile, workers: int, board: Board
) -> None:
    """Try every mode briefly, and log how long the whole ablation will take at most."""
    board.say("planning: trying every mode for a moment")
    expected = forecast_ablation(context.workspace, spaces, context.plan, profile, workers)
    context.tracker.log(context.ablation_id, params=expected.params())
    minutes = math.ceil(expected.whole_s / 60)
    board.say(f"this will take up to {minutes} minutes if nothing else is at work here")


def _size_words(name: str, plan: SplitPlan) -> str:
    n_images = parent_runs.n_images_of(plan)
    return (
        f"{name}: {n_images} images, {plan.n_prompts} prompts; protocol {plan.protocol},"
        f" {len(plan.splits)} splits"
    )


def _run_phases(ablation: RunningAblation) -> int:
    context, board = ablation.context, ablation.board
    ablation_id = context.ablation_id
    context.tracker.log(ablation_id, tags={Tag.COMPLETE: "false"})
    spaces, plan = ablation.spaces.values(), context.plan
    searched = [config for space in spaces for config in space.depths()]
    _fill_cache(ablation, searched, plan.folds or plan.splits)
    _fill_cache(ablation, [space.guide for space in spaces], plan.splits)
    write_reference_rows(context, board.say)
    failed = _confirm(ablation, _tune(ablation))
    failed += sum(_run_study(ablation, StudyRequest(name)) for name in ablation.profile.studies)
    if not failed:
        if champion := register_champion(context.tracker):
            board.say(f"champion registered: {champion}")
        there = context.tracker.client.get_run(ablation_id).data.tags.get(Tag.ARMS, "").split()
        arms = set(there) | (ablation.spaces.keys() & ARMS.keys())
        tags = {Tag.COMPLETE: "true", Tag.ARMS: " ".join(sorted(arms))}
        context.tracker.log(ablation_id, tags=tags)
    return failed


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


def _run_study(ablation: RunningAblation, request: StudyRequest) -> int:
    """Run one study; returns the number of failed cells."""
    if request.name == TUNE:
        _tune(ablation)
        return 0
    there = len(ablation.context.plan.splits)
    n_splits = request.n_splits or there
    if n_splits > there:
        raise UserError(f"SPLITS={n_splits} is more than the {there} splits of this profile.")
    study = DesignedStudy(
        design=DESIGNS[request.name],
        n_splits=n_splits,
        epochs=request.epochs or ablation.base.train.epochs,
        base=ablation.base,
        context=ablation.context,
        engine=ablation.engine,
        board=ablation.board,
        journals=ablation.journals,
    )
    return study.run()


def _fill_cache(
    ablation: RunningAblation, configs: Sequence[RunConfig], splits: Sequence[Split]
) -> None:
    fill_cache(configs, splits, ablation.context, ablation.engine, ablation.board)


def _tune(ablation: RunningAblation) -> dict[str, sweep.Choice]:
    """Search each mode's knobs on the tuning pool; the choice made for each."""
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
    choices: dict[str, sweep.Choice] = {}
    for one in sweeps:
        mode = one.space.mode
        choices[mode] = sweep.choose(one.space, one.trials)
        run_id = ablation.mode_runs[mode]
        saved, folds = sweep.folds_saved(one.trials)
        parent_runs.log_choice(ablation.context.tracker, run_id, one.space, choices[mode])
        saving = {Tag.FOLDS_PRUNED: str(saved), Tag.FOLDS_OF_TRIALS: str(folds)}
        ablation.context.tracker.log(run_id, tags=saving)
        board.say(f"tuned {mode}: {choices[mode].reason}; pruning saved {saved} of {folds} folds")
    return choices


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
        n_folds = (
            f"{len(result.folds)} of the tuning pool's {len(ablation.context.plan.folds)} folds"
        )
        text = f"{result.state.lower()}, mean SROCC {result.value:.4f} on {n_folds}"
    else:
        text = f"{result.state.lower()}: {last_line(result.error or 'unknown')}"
    ablation.board.ended(outcome, text, value, failed=result.error is not None)


def _confirm(ablation: RunningAblation, tuned: dict[str, sweep.Choice]) -> int:
    """Confirm each mode at the guide's and at its tuned setting; returns the failed cells."""
    context = ablation.context
    n_seeds = ablation.profile.n_seeds
    settings = confirmation_settings(ablation.spaces, ablation.mode_runs, tuned, n_seeds)
    tuned_ones = [one for one in settings if one.tuned]
    guides = [one for one in settings if not one.tuned]
    splits = context.plan.splits
    n_tuned = ablation.profile.tuned_splits(len(splits))
    _fill_cache(ablation, [one.config for one in tuned_ones], splits[:n_tuned])
    cells = cells_of(guides, len(splits), context) | cells_of(tuned_ones, n_tuned, context)
    adopt_cells(cells, context)
    return run_cells(cells, context, ablation.engine, ablation.board)


def confirmation_settings(
    spaces: dict[str, ModeSpace],
    mode_runs: dict[str, str],
    tuned: dict[str, sweep.Choice],
    n_seeds: int = 1,
) -> Sequence[ModeSetting]:
    """Each mode at the guide's setting, and at its tuned one where that is another, by seed."""
    settings: list[ModeSetting] = []
    for mode, space in spaces.items():
        settings.append(ModeSetting(mode, Setting.GUIDE, space.guide, mode_runs[mode]))
        if mode in tuned and not tuned[mode].is_guide:
            config = with_settings(space.guide, **tuned[mode].values)
            settings.append(ModeSetting(mode, Setting.TUNED, config, mode_runs[mode], tuned=True))
    return [
        replace(one, config=with_settings(one.config, seed=one.config.train.seed + more))
        for one in settings
        for more in range(n_seeds)
    ]

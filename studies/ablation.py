"""The phases of an ablation: references, tuning, confirmation, studies.

Each goes on where it stopped.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qa_core.arms import ARMS
from qa_core.config import RunConfig, with_settings
from qa_core.data.splits import Split, SplitPlan
from qa_core.errors import UserError
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
from studies.engine.machines import EngineChoice, OpenContext, open_machines
from studies.forecast import forecast_ablation
from studies.profiles import Profile, StudyRequest
from studies.reference_rows import write_reference_rows
from studies.running_ablation import RunningAblation
from studies.session import close_parents, ends_told, open_session
from studies.sign_of_life import signs_of_life
from studies.space import ModeSpace, all_spaces
from studies.stores import Stores
from studies.tested_images import log_tested_images
from studies.tuning import tune

if TYPE_CHECKING:
    from qa_core.data.rated_table import RatedTable
    from qa_core.features.workspace import Workspace


Foresight = Callable[["Workspace", SplitPlan], dict[str, str]]
"""Tells, as parameters of an ablation, what these splits of these data will show."""


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
        board.say(_size_words(workspace.table, plan))
        params = parent_runs.ablation_params(
            profile_name, profile, setup.base, workspace, plan, machines.workers
        )
        tracker, run = _open_ablation(stores, params)
        context = Context(workspace, plan, tracker)
        is_noted = log_tested_images(context, board.say)
        if only is None and _is_complete(run, arms):
            board.say("everything is there already")
            if is_noted:  # it ends later, so that its report is built again
                tracker.client.set_terminated(run.info.run_id, "FINISHED")
            # open where a command was killed just before its end
            close_parents(tracker, "FINISHED")
            return 0
        spaces = all_spaces(arms, setup.base, workspace.spec, workspace.table.targets)
        with (
            open_session(tracker, spaces) as mode_runs,
            machines.start(_context_opener(setup, context)) as engine,
            signs_of_life(tracker, board),
        ):
            board.watch(engine)
            journals = stores.journals(run.info.run_id)
            ablation = RunningAblation(
                profile, setup.base, context, engine, board, spaces, mode_runs, journals
            )
            if only is not None:
                return _run_study(ablation, only)
            if Param.PLANNED_WHOLE not in run.data.params:
                _log_plan(ablation, machines.workers, foresee)
            return _run_phases(ablation)


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


def _log_plan(ablation: RunningAblation, workers: int, foresee: Foresight | None) -> None:
    """Log how long the whole ablation will take, and what it will be able to decide."""
    context, board = ablation.context, ablation.board
    board.say("planning: trying every mode for a moment")
    expected = forecast_ablation(
        context.workspace, ablation.spaces, context.plan, ablation.profile, workers
    )
    context.tracker.log(context.ablation_id, params=expected.params())
    least, most = math.floor(expected.least_s / 60), math.ceil(expected.whole_s / 60)
    board.say(f"this will take {least} to {most} minutes if nothing else is at work here")
    if foresee is not None:
        board.say("planning: a pilot of a linear probe, to foresee what will be decided")
        context.tracker.log(context.ablation_id, params=foresee(context.workspace, context.plan))


def _size_words(table: "RatedTable", plan: SplitPlan) -> str:
    size = table.count_in_words(parent_runs.n_images_of(plan), plan.n_prompts)
    return f"{table.name}: {size}; protocol {plan.protocol}, {len(plan.splits)} splits"


def _run_phases(ablation: RunningAblation) -> int:
    context, board = ablation.context, ablation.board
    ablation_id = context.ablation_id
    context.tracker.log(ablation_id, tags={Tag.COMPLETE: "false"})
    spaces, plan = ablation.spaces.values(), context.plan
    searched = [config for space in spaces for config in space.depths()]
    _fill_cache(ablation, searched, plan.folds or plan.splits)
    _fill_cache(ablation, [space.guide for space in spaces], plan.splits)
    write_reference_rows(context, board.say, board.note)
    failed = _confirm(ablation, tune(ablation))
    failed += sum(_run_study(ablation, StudyRequest(name)) for name in ablation.profile.studies)
    if not failed:
        if champion := register_champion(context.tracker):
            board.say(f"champion registered: {champion}")
        there = context.tracker.client.get_run(ablation_id).data.tags.get(Tag.ARMS, "").split()
        arms = set(there) | (ablation.spaces.keys() & ARMS.keys())
        tags = {Tag.COMPLETE: "true", Tag.ARMS: " ".join(sorted(arms))}
        context.tracker.log(ablation_id, tags=tags)
    return failed


def _run_study(ablation: RunningAblation, request: StudyRequest) -> int:
    """Run one study; returns the number of failed cells."""
    if request.name == TUNE:
        tune(ablation)
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

"""Designed studies: their points, and that their cells are shared, exact and computed once."""

import functools
import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from conftest import write_table
from rich.console import Console

from experiments.study import StudyArgs, request
from qa_core.arms import MODES
from qa_core.config import RunConfig, run_config_from_flat, with_settings
from qa_core.data.splits import plan_splits, with_train_share
from qa_core.errors import UserError
from qa_core.modes import BackboneSpec, freezing, mode_config
from qa_core.records.schema import Kind, StudyName, Tag
from qa_core.records.tracking import RunRecord, Tracker
from qa_core.training.training_run import train_run
from studies.board import Board
from studies.cells import adopt_cells, cells_of, run_cells
from studies.confirmation import ModeSetting
from studies.context import Context, Setup, open_context, open_workspace
from studies.designed.catalogue import DESIGNS
from studies.designed.depth import freeze_depths
from studies.designed.ladder import rungs
from studies.designed.runner import DesignedStudy
from studies.designed.study_design import PlannedPoint, StudyDesign, guide_point, scales
from studies.engine.interface import Engine, Job, Outcome
from studies.engine.local import LocalEngine
from studies.sweep import Journals

TINY = BackboneSpec(image_depth=12, text_depth=4, published=False)
LARGE = BackboneSpec(image_depth=24, text_depth=12, published=True)
OF_TIME = ("seconds", "_s", "_mb")


def points_of(name: str, spec: BackboneSpec = TINY) -> list[PlannedPoint]:
    return list(DESIGNS[name].points(RunConfig(), spec))


def test_the_command_line_names_all_studies() -> None:
    assert get_args(StudyName) == tuple(DESIGNS)


@pytest.mark.parametrize("spec", [TINY, LARGE], ids=["12 blocks", "24 blocks"])
@pytest.mark.parametrize("name", DESIGNS)
def test_every_study_holds_the_guides_setting_and_no_point_twice(
    name: str, spec: BackboneSpec
) -> None:
    points = points_of(name, spec)
    names = (*MODES, *rungs())
    guides = [mode_config(name, RunConfig(), spec) for name in names]
    for mode in {point.mode for point in points}:
        whole = [c for p in points if p.mode == mode and p.train_share == 1 for c in p.candidates]
        assert any(guide in whole for guide in guides)
    if not DESIGNS[name].stacked:  # whose grid holds the guide's setting once more
        cells = [(c, p.train_share, *p.knobs) for p in points for c in p.candidates]
        assert len(set(cells)) == len(cells)


def test_depths_go_from_none_to_all_and_fill_the_guides_band() -> None:
    assert freeze_depths(12) == [0, 2, 3, 4, 6, 8, 9, 10, 12]
    assert freeze_depths(24) == list(range(0, 25, 3))
    assert freeze_depths(3) == [0, 1, 2, 3]


def test_each_depth_has_the_same_three_rates_and_none_frozen_is_the_residual_mode() -> None:
    points = points_of("depth")
    rates = {tuple(c.optim.lr for c in point.candidates) for point in points}
    assert rates == {(1e-4, 3.3e-5, 3e-4)}
    assert points[0].candidates[0] == mode_config("residual", RunConfig(), TINY)
    assert [freezing(p.candidates[0]) for p in points] == ["none"] + ["partial"] * 8
    assert [p.candidates[0].freeze.freeze_layers for p in points[1:]] == freeze_depths(12)[1:]


def test_ends_freeze_a_share_of_each_tower_from_either_end_or_of_one_alone() -> None:
    found = {
        (point.knobs["frozen"], point.knobs["frozen_share"]): point.candidates[0].freeze
        for point in points_of("ends")
    }
    assert len(found) == 1 + 4 * 4
    assert not found["nothing", 0.0].partial_freeze
    half = {way: freeze for (way, share), freeze in found.items() if share == 0.5}
    assert half["first blocks"].freeze_layers == half["last blocks"].freeze_layers == 6
    assert half["last blocks"].freeze_from == "top"
    image, text = half["image tower"], half["text tower"]
    assert (image.freeze_image_layers, image.freeze_text_layers) == (6, 0)
    assert (text.freeze_image_layers, text.freeze_text_layers) == (0, 2)


def test_the_ladder_has_all_that_says_what_of_clip_trains_and_nothing_else() -> None:
    assert set(rungs()) == {
        *("residual", "residual_partial_freeze", "linear_probe", "lp_ft", "llrd", "ema"),
        *("wise_ft", "lora", "adapter", "bias_norm", "projection", "anchor", "l2_sp"),
        *("top_frozen", "image_only", "text_only", "soup"),
    }
    rates = {point.mode: [c.optim.lr for c in point.candidates] for point in points_of("ladder")}
    assert rates["residual"] == rates["top_frozen"] == [1e-4, 3.3e-5, 3e-4]
    assert rates["lora"] == rates["linear_probe"] == [1e-3, 3.3e-4, 3e-3]
    assert all(point.knobs == {"rung": point.mode} for point in points_of("ladder"))


def test_knobs_say_what_is_varied() -> None:
    for point in points_of("scale"):
        head = point.candidates[0].head
        assert head.residual_scale_q == head.residual_scale_c == point.knobs["residual_scale"]
    for point in points_of("data_size"):
        assert point.train_share == point.knobs["train_share"]
    for point in points_of("batch_size"):
        assert point.candidates[0].train.batch_size == point.knobs["batch_size"]
    for point in points_of("augmentation"):
        assert point.candidates[0].train.augment == point.knobs["augment"]
    for point in points_of("lr"):
        assert point.candidates[0].optim.lr == point.knobs["lr"]
    variants = {point.knobs["variant"] for point in points_of("variants")}
    assert {"guide", "learnable scale", "fitted base", "single rate"} < variants


def test_shares_are_nested_whole_prompts_and_leave_the_rest_alone() -> None:
    groups = np.repeat([f"prompt {k}" for k in range(40)], 3)
    split = plan_splits(groups, "honest", seed=1).splits[2]
    before: set[int] = set()
    for share in (0.1, 0.25, 0.5, 1.0):
        part = with_train_share(split, groups, share, seed=1)
        assert before <= set(part.train)
        before = set(part.train)
        prompts = set(groups[part.train])
        assert len(prompts) == round(share * len(set(groups[split.train])))
        assert len(part.train) == 3 * len(prompts)
        assert (part.validation is split.validation) and (part.test is split.test)
    np.testing.assert_array_equal(part.train, split.train)
    other = with_train_share(split, groups, 0.1, seed=2)
    assert set(other.train) != set(with_train_share(split, groups, 0.1, seed=1).train)


def test_fewer_splits_have_a_larger_variance_factor() -> None:
    plan = plan_splits([f"p{k}" for k in range(200)], "honest", n_splits=10)
    assert plan.first(5).variance_factor == pytest.approx(1 / 5 + 0.25)
    assert plan.first(5).splits == plan.splits[:5]
    assert plan.first(10).variance_factor == pytest.approx(plan.variance_factor)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (StudyArgs(study="depth", splits=0), "--splits 0 is less than 1"),
        (StudyArgs(study="scale", epochs=-1), "--epochs -1"),
        (StudyArgs(study="tune", epochs=3), "leave out --epochs"),
    ],
)
def test_requests_without_sense_are_refused(args: StudyArgs, words: str) -> None:
    with pytest.raises(UserError, match=words):
        request(args)


@dataclass
class InlineEngine:
    """Runs jobs in this process, first to last or last to first."""

    context: Context
    backwards: bool = False
    workers: int = 1
    running: list[str] = field(default_factory=list)
    queue: list[Job] = field(default_factory=list)
    started: list[str] = field(default_factory=list)

    def submit(self, job: Job) -> None:
        self.queue.append(job)

    def next_outcome(self, timeout_s: float) -> Outcome:
        job = self.queue.pop(-1 if self.backwards else 0)
        self.started.append(job.name)
        return Outcome(job, job.work.run(self.context), None, 1, 0.0)


def _two_scales(base: RunConfig, spec: BackboneSpec) -> list[PlannedPoint]:
    return [
        guide_point("linear_probe", base, spec, {"residual_scale": s}, **scales(s))
        for s in (0.1, 0.2)
    ]


def _two_shares(base: RunConfig, spec: BackboneSpec) -> list[PlannedPoint]:
    return [
        guide_point("linear_probe", base, spec, {"train_share": share}, share)
        for share in (0.5, 1.0)
    ]


def _two_rates(base: RunConfig, spec: BackboneSpec) -> list[PlannedPoint]:
    rates = [
        guide_point("linear_probe", base, spec, {}, lr=lr).candidates[0] for lr in (1e-3, 5e-3)
    ]
    return [PlannedPoint("linear_probe", {"freeze_layers": 12}, tuple(rates))]


SHARES = StudyDesign("data_size", "two shares?", _two_shares)
CHOICE = StudyDesign("depth", "which rate?", _two_rates, uses_pool=True)


SCALES = StudyDesign("scale", "two scales?", _two_scales)


@pytest.fixture(scope="module")
def setup(narrow_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """Twenty prompts of noise, random weights, two splits and a pool."""
    folder = tmp_path_factory.mktemp("designed")
    table = write_table(folder, prompts=20, images_per_prompt=4)
    backbone = {"backbone": str(narrow_folder), "pretrained": "none"}
    flags = backbone | {"data_csv_path": str(table), "epochs": 2, "threads": 1}
    return Setup(run_config_from_flat(flags), folder / "cache", "honest", 0, 2, None)


@pytest.fixture
def opened(setup: Setup, created_store: Path, tmp_path: Path) -> Callable[[str], Context]:
    """Opens the context of a fresh ablation of this name, or the one that is there."""
    workspace, plan = open_workspace(setup)
    shutil.copy(created_store / "mlflow.db", tmp_path)
    tracker = Tracker.open(tmp_path)
    return lambda name: Context(workspace, plan, tracker.of_ablation(name))


def run(
    design: StudyDesign, context: Context, setup: Setup, tmp_path: Path, n_splits: int = 2
) -> list[str]:
    """Run a design in this process; the names of the jobs that it started."""
    engine = InlineEngine(context)
    run_on(engine, design, context, setup, tmp_path, n_splits)
    return engine.started


def run_on(
    engine: Engine,
    design: StudyDesign,
    context: Context,
    setup: Setup,
    tmp_path: Path,
    n_splits: int = 2,
) -> None:
    board, name = Board(Console(quiet=True)), context.tracker.ablation_id
    journals = Journals(f"sqlite:///{tmp_path}/{name}.db")
    study = DesignedStudy(design, n_splits, 2, setup.base, context, engine, board, journals)
    assert study.run() == 0


def digits(context: Context, kind: Kind = Kind.CONFIRMATION) -> dict[str, dict[str, float]]:
    """All measures but those of time and memory, by identity."""
    return {
        identity: {k: v for k, v in r.data.metrics.items() if not any(w in k for w in OF_TIME)}
        for identity, r in context.tracker.finished(kind).items()
    }


def test_two_studies_share_their_common_cells(
    opened: Callable[[str], Context], setup: Setup, tmp_path: Path
) -> None:
    context = opened("shared")
    assert len(run(SCALES, context, setup, tmp_path)) == 4
    assert len(run(SHARES, context, setup, tmp_path)) == 2  # all data at scale .2 are there
    assert len(context.tracker.runs(Kind.CONFIRMATION)) == 6
    scale, shares = (listing(context, name) for name in ("scale", "data_size"))
    assert (len(scale), len(shares), len(scale & shares)) == (4, 4, 2)


def listing(context: Context, study: str) -> set[str]:
    """Identities that a study lists."""
    (parent,) = context.tracker.runs(Kind.STUDY, study=study)
    points = [tag for name, tag in parent.data.tags.items() if name.startswith("point.")]
    return {cell for point in points for cell in json.loads(point)["cells"]}


def test_the_same_command_again_adds_nothing_and_more_splits_only_the_new_cells(
    opened: Callable[[str], Context], setup: Setup, tmp_path: Path
) -> None:
    context = opened("again")
    assert len(run(SCALES, context, setup, tmp_path, n_splits=1)) == 2
    assert len(run(SCALES, context, setup, tmp_path)) == 2
    assert run(SCALES, context, setup, tmp_path) == []
    (parent,) = context.tracker.runs(Kind.STUDY)
    assert (parent.info.status, parent.data.tags["n_splits"]) == ("FINISHED", "2")
    journal = Journals(f"sqlite:///{tmp_path}/again.db").open("scale, 2 epochs")
    splits = [(t.params["residual_scale"], t.params["split"]) for t in journal.trials]
    assert sorted(splits) == [(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]


def test_order_and_number_of_workers_change_no_digit(
    opened: Callable[[str], Context], setup: Setup, tmp_path: Path
) -> None:
    forwards, backwards, workers = (opened(name) for name in ("forwards", "backwards", "workers"))
    first, last = InlineEngine(forwards), InlineEngine(backwards, backwards=True)
    run_on(first, CHOICE, forwards, setup, tmp_path)
    run_on(last, CHOICE, backwards, setup, tmp_path)
    assert first.started[:6] == last.started[5::-1] and len(first.started) == 6 + 2
    tracker = workers.tracker
    store = (tracker.uri, tracker.experiment_id, tracker.ablation_id)
    with closing(LocalEngine(functools.partial(open_context, setup, *store), workers=2)) as engine:
        run_on(engine, CHOICE, workers, setup, tmp_path)
    for kind, count in ((Kind.POOL, 6), (Kind.CONFIRMATION, 2)):
        expected = digits(forwards, kind)
        assert len(expected) == count
        assert digits(backwards, kind) == expected
        assert digits(workers, kind) == expected


def test_the_pool_chooses_among_candidates(
    opened: Callable[[str], Context], setup: Setup, tmp_path: Path
) -> None:
    context = opened("choice")
    run(CHOICE, context, setup, tmp_path)
    scores: dict[str, list[float]] = {}
    for fold in context.tracker.runs(Kind.POOL):
        scores.setdefault(fold.data.params["lr"], []).append(fold.data.metrics["best_selection"])
    (parent,) = context.tracker.runs(Kind.STUDY)
    point = json.loads(parent.data.tags["point.000"])
    best = max(scores, key=lambda lr: np.mean(scores[lr]))
    assert (point["lr"], point["pool"]) == (float(best), np.mean(scores[best]))
    assert {r.data.params["lr"] for r in context.tracker.runs(Kind.CONFIRMATION)} == {best}


def _four_heads(base: RunConfig, spec: BackboneSpec) -> list[PlannedPoint]:
    points = [
        guide_point("linear_probe", base, spec, {}, lr=lr, **scales(s))
        for lr in (1e-3, 2e-2)
        for s in (0.2, 0.4)
    ]
    grid = tuple(point.candidates[0] for point in points)
    return [
        PlannedPoint("linear_probe", {"variant": "guide"}, grid[:1]),
        PlannedPoint("linear_probe", {"variant": "best"}, grid),
    ]


def test_a_grid_of_heads_is_one_run_a_fold_and_its_best_is_confirmed(
    opened: Callable[[str], Context], setup: Setup, tmp_path: Path
) -> None:
    design, context = (
        StudyDesign("heads", "which heads?", _four_heads, stacked=True),
        opened("heads"),
    )
    started = run(design, context, setup, tmp_path)
    folds = len(context.plan.folds)
    assert [name for name in started if "-pool" in name] == started[:folds]
    stacks = context.tracker.runs(Kind.STACK)
    assert len(stacks) == folds
    (parent,) = context.tracker.runs(Kind.STUDY)
    guide, best = (json.loads(parent.data.tags[f"point.00{k}"]) for k in (0, 1))
    grid = _four_heads(with_settings(setup.base, epochs=2), context.workspace.spec)[1].candidates
    for number, (lr, scale, score) in enumerate(best["grid"]):
        alone = [train_run(grid[number], context.workspace, fold, test=False).best_selection
                 for fold in context.plan.folds]  # fmt: skip
        assert (lr, scale) == (grid[number].optim.lr, grid[number].head.residual_scale_q)
        assert score == pytest.approx(np.mean(alone), abs=1e-4)
    scores = [score for *_, score in best["grid"]]
    assert best["pool"] == max(scores) and best["lr"] == best["grid"][np.argmax(scores)][0]
    assert "grid" not in guide and guide["pool"] is None
    assert run(design, context, setup, tmp_path) == []


def test_the_confirmation_takes_over_what_a_study_computed(
    opened: Callable[[str], Context], setup: Setup, tmp_path: Path
) -> None:
    context = opened("adopted")
    run(SCALES, context, setup, tmp_path)
    before = listing(context, "scale")
    guide = mode_config("linear_probe", setup.base, context.workspace.spec)
    parent = context.tracker.start(RunRecord("linear_probe", Kind.MODE))
    cells = cells_of([ModeSetting("linear_probe", "guide", guide, parent)], 2, context)
    adopt_cells(cells, context)
    engine = InlineEngine(context)
    assert run_cells(cells, context, engine, Board(Console(quiet=True))) == 0
    assert engine.started == []
    taken = context.tracker.runs(Kind.CONFIRMATION, study="confirm", setting="guide")
    assert {r.data.tags["identity"] for r in taken} == set(cells) < before
    assert {r.data.tags[Tag.PARENT] for r in taken} == {parent}
    artifacts = [a.path for a in context.tracker.client.list_artifacts(taken[0].info.run_id)]
    assert {"checkpoint", "predictions.csv", "thumbnails"} <= set(artifacts)
    assert run(SCALES, context, setup, tmp_path) == []


def test_a_cell_that_diverges_is_recorded_once_and_the_study_goes_on(
    opened: Callable[[str], Context], setup: Setup, tmp_path: Path
) -> None:
    context = opened("hopeless")
    first, second = (split.train for split in context.plan.splits)
    rows = np.setdiff1d(first, second)[:4]
    context.workspace.table.frame.loc[rows, "mos_quality"] = np.inf
    assert len(run(SCALES, context, setup, tmp_path)) == 4
    cells = context.tracker.runs(Kind.CONFIRMATION)
    assert sorted(run.info.status for run in cells) == ["FAILED"] * 2 + ["FINISHED"] * 2
    for failed in (run for run in cells if run.info.status == "FAILED"):
        assert failed.data.tags["failure"] == "diverged"
        assert "try a smaller --lr" in failed.data.tags["error"]
    assert run(SCALES, context, setup, tmp_path) == []
    assert len(context.tracker.runs(Kind.CONFIRMATION)) == 4


@dataclass
class BrokenEngine(InlineEngine):
    """Every job fails."""

    def next_outcome(self, timeout_s: float) -> Outcome:
        job = self.queue.pop(0)
        return Outcome(job, None, "Traceback\nRuntimeError: out of memory", 2, 0.0)


def test_a_cell_that_failed_is_tried_again_by_the_next_command_and_counted_once(
    opened: Callable[[str], Context], setup: Setup, tmp_path: Path
) -> None:
    context = opened("broken")
    guide = mode_config("linear_probe", setup.base, context.workspace.spec)
    parent = context.tracker.start(RunRecord("linear_probe", Kind.MODE))
    cells = cells_of([ModeSetting("linear_probe", "guide", guide, parent)], 1, context)
    board = Board(Console(quiet=True))
    for _ in range(2):
        assert run_cells(cells, context, BrokenEngine(context), board) == 1
        (failed,) = context.tracker.runs(Kind.CONFIRMATION)
        assert failed.info.status == "FAILED"
        assert failed.data.tags["error"].endswith("RuntimeError: out of memory")
    assert run_cells(cells, context, InlineEngine(context), board) == 0
    (run,) = context.tracker.runs(Kind.CONFIRMATION)
    assert run.info.status == "FINISHED"
    assert {r.info.status for r in context.tracker.runs(Kind.ORPHAN)} == {"KILLED"}

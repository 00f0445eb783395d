"""Time, disk and memory that an ablation will take, by trying every mode on this machine.

It takes seconds and trains nothing that is kept. Pixels of noise stand in for the images, whose
content has no effect on time, so that no image has to be decoded.
"""

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from qa_core.config import RunConfig, with_settings
from qa_core.data.splits import Split, SplitPlan
from qa_core.modes import BackboneSpec, freezing, prefix_blocks
from qa_core.records.schema import Param
from qa_core.settings.training import N_DRAWN
from studies.designed.catalogue import DESIGNS
from studies.designed.study_design import StudyDesign
from studies.profiles import Profile
from studies.space import ModeSpace
from studies.sweep import ROUND

if TYPE_CHECKING:
    from qa_core.data.rated_table import RatedTable
    from qa_core.features.workspace import Workspace

CALIBRATION_ROWS, SLOW_ROWS, SLOW_S = 48, 12, 0.05
"""Images to try a mode on; of backbones that take longer than so many seconds an image, fewer."""
PASSES = 3
"""Training on an image costs a forward pass and a backward pass of twice that."""
RUN_S = 0.4
"""Seconds to write a run to MLflow, its artifacts included."""
START_S = 15.0
"""Seconds until workers have imported torch and opened their data."""


@dataclass(frozen=True)
class Pace:
    """What a setting costs one worker.

    Attributes:
        train_s: Seconds to train on an image once.
        predict_s: Seconds to score an image.
        cell_s: Seconds of a cell beside its epochs and its test.
        checkpoint_bytes: Size of its checkpoint.
        spec: The backbone.
        places: Places between pretrained and fine-tuned weights at which it is measured as well.
    """

    train_s: float
    predict_s: float
    cell_s: float
    checkpoint_bytes: int
    spec: BackboneSpec
    places: int = 0

    def seconds(self, epochs: int, split: Split, train_share: float = 1.0) -> float:
        """Seconds of a cell: epochs, validation, the gap's subset, test, alignment retention."""
        from qa_core.training.retention import pool_size  # torch: only where something is trained

        scored = len(split.validation) * (2 * (epochs + self.places) + 1) + len(split.test)
        if len(split.test):
            scored += pool_size(self.spec, split) * (1 + self.places)
        return (
            epochs * train_share * len(split.train) * self.train_s
            + scored * self.predict_s
            + self.cell_s
        )


@dataclass(frozen=True)
class Forecast:
    """What an ablation will take.

    At most: each mode is confirmed at two settings, and no trial is pruned. At least: tuning keeps
    the guide's settings, and every trial after the first round is pruned after its first fold.

    Attributes:
        tune_s: Seconds of one worker by mode, at most.
        confirm_s: The same.
        studies_s: The same by designed study, cells that another has counted twice.
        prefix_s: Seconds to fill the cache.
        least_s: Seconds from start to end, at least.
        whole_s: The same, at most.
        disk_gb: Room by what takes it, in 10^9 bytes.
        memory_gb: Memory of all processes, in 10^9 bytes.
    """

    tune_s: dict[str, float]
    confirm_s: dict[str, float]
    studies_s: dict[str, float]
    prefix_s: float
    least_s: float
    whole_s: float
    disk_gb: dict[str, float]
    memory_gb: float

    def params(self) -> dict[str, str]:
        """The forecast as an ablation's parameters; a report sets the time taken beside it."""
        both = {mode: self.tune_s[mode] + self.confirm_s[mode] for mode in self.tune_s}
        named = {Param.planned(mode): f"{seconds:.0f}" for mode, seconds in both.items()}
        return named | {Param.PLANNED_WHOLE: f"{self.whole_s:.0f}"}


def forecast_ablation(
    workspace: "Workspace",
    spaces: dict[str, ModeSpace],
    splits: SplitPlan,
    profile: Profile,
    workers: int,
) -> Forecast:
    """The forecast of an ablation on these data, by trying every mode for a moment.

    Args:
        workspace: Its table and backbone; its images are not looked at.
        spaces: The modes' knobs.
        splits: Its splits.
        profile: Its size.
        workers: Its processes.
    """
    small, spec = _noise_workspace(workspace), workspace.spec
    measure_pace(next(iter(spaces.values())).guide, small)  # what a process computes only once
    modes = {mode: _forecast_mode(space, small, splits, profile) for mode, space in spaces.items()}
    tune = {mode: found.tune_s for mode, found in modes.items()}
    confirm = {mode: found.confirm_s for mode, found in modes.items()}
    paces = {place: pace for found in modes.values() for place, pace in found.paces.items()}
    checkpoints = sum(found.checkpoint_bytes for found in modes.values())
    searched = [config for space in spaces.values() for config in space.depths()]
    guides = [space.guide for space in spaces.values()]
    base = next(iter(spaces.values())).guide
    studies = {
        name: _study_seconds(DESIGNS[name], base, spec, splits, paces) for name in profile.studies
    }
    opened = workspace.n_opened((*splits.folds, *splits.splits))
    prefix = _prefix_seconds(small, searched) * opened / len(small.images)
    least = sum(found.least_s for found in modes.values()) + sum(studies.values())
    most = sum(chain(tune.values(), confirm.values(), studies.values()))
    least, most = (START_S + prefix + seconds / workers for seconds in (least, most))
    disk = _disk(workspace, splits, searched, guides) | {"checkpoints": checkpoints / 1e9}
    memory = (workers + 1) * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return Forecast(tune, confirm, studies, prefix, least, most, disk, memory)


@dataclass(frozen=True)
class _ModeForecast:
    """What one mode will take of one worker: seconds, bytes of checkpoints, and measured paces."""

    tune_s: float
    confirm_s: float
    least_s: float
    checkpoint_bytes: int
    paces: dict[int, Pace]


def _forecast_mode(
    space: ModeSpace, small: "Workspace", splits: SplitPlan, profile: Profile
) -> _ModeForecast:
    """Tuning at the pace of a middle freeze depth, confirmation at that of the guide's."""
    epochs = space.guide.passes
    guide = measure_pace(space.guide, small)
    trial = measure_pace(_middle(space), small) if space.depths()[1:] else guide
    paces = {_place(space.guide, small.spec): guide, _place(_middle(space), small.spec): trial}
    folds = [trial.seconds(epochs, fold) for fold in splits.folds]
    tune_s = profile.n_trials * (sum(folds) + RUN_S) if folds else 0.0
    pruned_s = max(0, profile.n_trials - ROUND) * sum(folds[1:])  # the first round has no bars
    of_tuned = splits.splits[: profile.tuned_splits(len(splits.splits))] if folds else ()
    of_guide, again = (
        sum(guide.seconds(epochs, split) + RUN_S for split in profile.n_seeds * [*cells])
        for cells in (splits.splits, of_tuned)
    )
    n_cells = profile.n_seeds * (len(splits.splits) + len(of_tuned))
    return _ModeForecast(
        tune_s=tune_s,
        confirm_s=of_guide + again,
        least_s=tune_s - pruned_s + of_guide,
        checkpoint_bytes=n_cells * guide.checkpoint_bytes,
        paces=paces,
    )


def measure_pace(config: RunConfig, small: "Workspace") -> Pace:
    """The pace of a setting: a whole run of two epochs on a few images, the first to warm up."""
    from qa_core.training.interpolation import PERCENTS
    from qa_core.training.training_run import train_run

    rows = np.arange(len(small.images))
    third = len(rows) // 3
    split = Split(0, rows[: 2 * third], rows[2 * third :], rows[:0])
    size = min(config.train.batch_size, third)
    started = time.perf_counter()
    result = train_run(with_settings(config, epochs=2, batch_size=size), small, split, test=False)
    wall = time.perf_counter() - started
    epochs = [measures["seconds_per_epoch"] for measures in result.history[1:]]
    # an epoch trains on two thirds and scores as many; a step is a forward pass and one or two more
    passes = len(split.train) * (PASSES + 1)
    predict_s = epochs[-1] / passes
    cell_s = max(0.0, wall - sum(epochs) - third * predict_s)
    trained = int(result.metrics["trainable_parameters"]) * 4
    places = len(PERCENTS) if config.keep.wise_ft else 0
    return Pace(PASSES * predict_s, predict_s, cell_s, trained, small.spec, places)


def _study_seconds(
    design: StudyDesign,
    base: RunConfig,
    spec: BackboneSpec,
    splits: SplitPlan,
    paces: dict[int, Pace],
) -> float:
    """Seconds of one worker for all cells of a designed study, those on the pool too."""
    seconds = 0.0
    for point in design.points(base, spec):
        if point.train_share > splits.largest_share:
            continue
        pace = _pace_at(_place(point.candidates[0], spec), paces)
        epochs = point.candidates[0].passes
        whole = sum(
            pace.seconds(epochs, split, point.train_share) + RUN_S for split in splits.splits
        )
        seconds += whole
        if design.uses_pool:
            folds = sum(pace.seconds(epochs, fold) + RUN_S for fold in splits.folds)
            seconds += len(point.candidates) * folds
    return seconds


def _place(config: RunConfig, spec: BackboneSpec) -> int:
    """Blocks of the image tower's frozen prefix; one more than it has where nothing trains."""
    return prefix_blocks(config, spec.image_depth) + (freezing(config) == "all")


def _pace_at(frozen: int, paces: dict[int, Pace]) -> Pace:
    """The pace at a freeze depth, between those that were measured."""
    depths = sorted(paces)

    def between(name: str) -> float:
        return float(np.interp(frozen, depths, [getattr(paces[depth], name) for depth in depths]))

    spec = paces[depths[0]].spec
    return Pace(between("train_s"), between("predict_s"), between("cell_s"), 0, spec)


def _middle(space: ModeSpace) -> RunConfig:
    depths = space.depths()
    return depths[len(depths) // 2]


def _noise_workspace(workspace: "Workspace") -> "Workspace":
    from qa_core.backbones.tower import EMBEDDING
    from qa_core.features.activations import activations, image_inputs
    from qa_core.features.workspace import Workspace

    backbone, device = workspace.backbone, workspace.device
    noise = np.random.default_rng(0).integers(
        0, 256, (CALIBRATION_ROWS, *workspace.images.shape[1:]), dtype=np.uint8
    )
    inputs = image_inputs(backbone, noise[:2], "noise")
    activations(inputs, [EMBEDDING], None)
    started = time.perf_counter()
    activations(inputs, [EMBEDDING], None)
    slow = (time.perf_counter() - started) / 2 > SLOW_S
    rows = np.linspace(0, len(workspace.images) - 1, SLOW_ROWS if slow else CALIBRATION_ROWS)
    table = workspace.table.of_rows(rows.astype(int)).in_one_piece()

    def crops(own: "RatedTable", _: bool) -> np.ndarray:
        return np.repeat(noise[: len(own.frame), None], N_DRAWN, axis=1)

    return Workspace(table, noise[: len(rows)], backbone, None, device, opener=crops)


def _prefix_seconds(small: "Workspace", configs: Sequence[RunConfig]) -> float:
    started = time.perf_counter()
    small.warm(configs)
    return time.perf_counter() - started


def _disk(
    workspace: "Workspace",
    splits: SplitPlan,
    searched: Sequence[RunConfig],
    guides: Sequence[RunConfig],
) -> dict[str, float]:
    """Room for images and activations, in 10^9 bytes.

    Where the table has blocks, only the pool needs the activations of all depths searched.
    """
    opened = workspace.n_opened((*splits.folds, *splits.splits))
    pictures = workspace.pictures_of(guides[0]) / workspace.views
    images = opened * pictures * float(np.prod(workspace.images.shape[1:])) / 1e9
    if workspace.table.blocks is None:
        kept = workspace.cache_bytes(searched)
    else:
        in_pool = workspace.n_opened(splits.folds) / len(workspace.images)
        tested = workspace.n_opened(splits.splits) / len(workspace.images)
        # guide's and tuned depth
        kept = in_pool * workspace.cache_bytes(searched) + 2 * tested * workspace.cache_bytes(
            guides
        )
    return {"decoded images": images, "activations": kept / 1e9}

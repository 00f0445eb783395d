"""The parent runs in MLflow: one for the ablation, one for each mode."""

import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_core.arms import ARMS
from qa_core.config import RunConfig
from qa_core.data.splits import SplitPlan
from qa_core.errors import UserError
from qa_core.records.schema import Kind, Param, Tag
from qa_core.records.tracking import RunRecord, Tracker, as_text
from studies.context import opened_first
from studies.objective import KNOBS
from studies.profiles import Profile
from studies.space import ModeSpace
from studies.sweep import Choice

if TYPE_CHECKING:
    from mlflow.entities import Run

    from qa_core.features.workspace import Workspace

MUST_AGREE = {
    Param.RESULTS_VERSION: "the version of the results",
    Param.PROFILE: "PROFILE",
    Param.PROTOCOL: "PROTOCOL",
    Param.DATA_NAME: "the data set",
    Param.RANGE_QUALITY: "RANGE_Q",
    Param.RANGE_CONSISTENCY: "RANGE_C",
    Param.DATA_SHA256: "the data's contents",
    Param.IMAGES_SHA256: "the images",
    Param.BACKBONE: "BACKBONE",
    Param.PRETRAINED: "PRETRAINED",
    Param.IMAGE_VIEW: "IMAGE_VIEW",
    Param.AUGMENT: "AUGMENT",
    Param.BACKBONE_SHA256: "the backbone's weights",
    Param.N_SPLITS: "the number of splits",
    Param.N_TUNED_SPLITS: "the number of splits of the tuned settings",
    Param.N_SEEDS: "SEEDS",
    Param.MARGIN: "MARGIN",
    Param.N_TRIALS: "the number of trials",
    Param.EPOCHS: "the number of epochs",
    Param.SPLIT_SEED: "the seed of the splits",
    "torch": "the version of torch",
    "open_clip": "the version of open_clip",
    "optuna": "the version of optuna",
    "numpy": "the version of numpy",
    "scipy": "the version of scipy",
    Param.DEVICE: "the device",
    Param.CACHE_PRECISION: "CACHE_PRECISION",
    Param.AMP_ON_CPU: "AMP_ON_CPU",
    Param.LEFT_OUT_OF_CACHE: "what CACHE_GB leaves out",
}
"""Parameters that must not change when an ablation is continued, and what messages call them."""


def ablation_params(
    profile_name: str,
    profile: Profile,
    base: RunConfig,
    workspace: "Workspace",
    plan: SplitPlan,
    workers: int,
) -> dict[str, Any]:
    """Everything that a reader has to know of an ablation, by parameter name."""
    from qa_core.features.fitness import fitness
    from qa_core.training.identity import RESULTS_VERSION, device_name

    cache_plan = workspace.cache_plan(base)
    notes = [profile.note, cache_plan.words]
    return {
        Param.PROFILE: profile_name,
        **_data_params(workspace, base),
        Param.IMAGES_SHA256: opened_first(workspace, plan).images_sha256,
        **_split_params(plan),
        Param.N_TUNED_SPLITS: profile.tuned_splits(len(plan.splits)),
        Param.N_SEEDS: profile.n_seeds,
        Param.MARGIN: profile.margin,
        Param.N_TRIALS: profile.n_trials if plan.folds else 0,
        Param.EPOCHS: base.train.epochs,
        Param.FUSION_INPUTS: ",".join(base.head.fusion_inputs),
        Param.BASE_INIT: base.head.base_init,
        Param.BATCH_SIZE: base.train.batch_size,
        Param.THREADS_PER_WORKER: base.train.threads,
        Param.WORKERS: workers,
        Param.RESULTS_VERSION: RESULTS_VERSION,
        Param.MACHINE: _machine(workspace.device),
        Param.DEVICE: device_name(workspace.device),
        Param.CACHE_PRECISION: base.train.cache_precision,
        Param.AMP_ON_CPU: base.train.amp_on_cpu,
        Param.LEFT_OUT_OF_CACHE: ",".join(map(str, cache_plan.left_out)),
        Param.NOTES: [*fitness(base, workspace), *workspace.table.notes, *filter(None, notes)],
        **_versions(),
    }


def _data_params(workspace: "Workspace", base: RunConfig) -> dict[str, Any]:
    """What an ablation is run on: table and backbone."""
    table, frame = workspace.table, workspace.table.frame
    return {
        Param.DATA_NAME: table.name,
        Param.DATA_VERSION: table.version,
        Param.DATA_SHA256: table.sha256,
        Param.N_GENERATORS: frame["generator"].nunique() if "generator" in frame else 0,
        Param.TARGETS: ",".join(table.targets),
        Param.RANGE_QUALITY: table.range_quality,
        Param.RANGE_CONSISTENCY: table.range_consistency,
        Param.BACKBONE: base.clip.backbone,
        Param.PRETRAINED: base.clip.pretrained,
        Param.IMAGE_VIEW: base.image_view,
        Param.AUGMENT: base.train.augment,
        Param.BACKBONE_SHA256: workspace.backbone_sha256,
        Param.IMAGE_DEPTH: workspace.spec.image_depth,
    }


def _split_params(plan: SplitPlan) -> dict[str, Any]:
    """How the table is split, and how intervals over its splits are computed."""
    return {
        Param.PROTOCOL: plan.protocol,
        Param.N_IMAGES: n_images_of(plan),
        Param.N_PROMPTS: plan.n_prompts,
        Param.N_SPLITS: len(plan.splits),
        Param.SPLIT_SEED: plan.seed,
        Param.N_POOL_PROMPTS: plan.n_pool_prompts,
        Param.N_TEST_PROMPTS: plan.n_test_prompts,
        Param.N_ELIGIBLE_PROMPTS: plan.n_eligible_prompts,
        Param.VARIANCE_FACTOR: plan.variance_factor,
        Param.VALIDATION_FACTOR: plan.validation_factor,
        Param.N_FOLDS: plan.n_folds,
        Param.INTERVAL: plan.interval,
    }


def n_images_of(plan: SplitPlan) -> int:
    """Images that some split or fold of the plan holds."""
    parts = ((s.train, s.validation, s.test) for s in (*plan.folds, *plan.splits))
    return len(np.unique(np.concatenate([rows for part in parts for rows in part])))


def open_ablation_run(tracker: Tracker, params: dict[str, Any], place: str) -> "Run":
    """The ablation's run in this place, created where missing.

    Raises:
        UserError: The place holds an ablation of other parameters.
    """
    found = tracker.runs(Kind.ABLATION)
    whole = [run for run in found if Tag.ABLATION_ID in run.data.tags]
    if whole:
        refuse_changes(whole[0].data.params, params, place)
        return whole[0]
    tracker.retire(found)  # of a process that died while it wrote them
    name = f"{params[Param.DATA_NAME]} {params[Param.PROFILE]}"
    tags = {Tag.COMPLETE: "false"}
    run_id = tracker.start(RunRecord(name, Kind.ABLATION, tags=tags, params=params))
    data, sha256 = params[Param.DATA_NAME], params[Param.DATA_SHA256]
    tracker.log_dataset(run_id, data, sha256, params[Param.N_IMAGES], data)
    tracker.log(run_id, tags={Tag.ABLATION_ID: run_id})  # written last, as the sign that the run is
    # complete
    return tracker.client.get_run(run_id)


def refuse_changes(there: dict[str, str], params: dict[str, Any], place: str) -> None:
    """Refuse to mix results that differ in what determines them.

    Args:
        there: Parameters of the ablation that the place holds, as MLflow keeps them.
        params: Those of the present session.
        place: Folder or server, in words.

    Raises:
        UserError: They differ; the message names the parameters.
    """
    earlier = {Param.N_SEEDS: "1", Param.AUGMENT: "none", Param.AMP_ON_CPU: "False"}
    there = earlier | there  # earlier versions noted less
    noted = [name for name in MUST_AGREE if name in there]
    changed = [name for name in noted if there[name] != as_text(params[name])]
    if not changed:
        return
    differences = [
        f"{MUST_AGREE[name]} ({_short(there[name])} there, {_short(as_text(params[name]))} now)"
        for name in changed
    ]
    raise UserError(
        f"{place} holds another ablation, which differs in {', '.join(differences)}."
        " Choose another folder with OUT=, or delete that one."
    )


def _short(value: str) -> str:
    value = value or "none"
    return value if len(value) <= 40 else value[:12] + "…"


def open_mode_run(tracker: Tracker, space: ModeSpace) -> str:
    """Run id of a mode or arm in this ablation, created where missing."""
    params = {Param.GUIDE_SETTING: setting_text(space, space.guide)}
    found = tracker.runs(Kind.MODE, mode=space.mode)
    if found:
        run_id = found[0].info.run_id
        tracker.reopen(run_id)
        tracker.log(run_id, params=params)  # missing where its process died between two writes
        return run_id
    tags = {Tag.MODE: space.mode}
    if space.mode in ARMS:
        tags |= {Tag.ARM_OF: ARMS[space.mode].of, Tag.WORDS: ARMS[space.mode].words}
    return tracker.start(RunRecord(space.mode, Kind.MODE, tracker.ablation_id, tags, params))


def log_choice(tracker: Tracker, mode_run: str, space: ModeSpace, choice: Choice) -> None:
    """Note a mode's tuned setting and why it was chosen."""
    tags = {Tag.TUNED_IS_GUIDE: json.dumps(choice.is_guide), Tag.TUNED_REASON: choice.reason}
    params = {Param.TUNED_SETTING: setting_text(space, space.config(choice.values))}
    tracker.log(mode_run, params=params, tags=tags)


def setting_text(space: ModeSpace, config: RunConfig) -> str:
    """The settings that tuning can change, as JSON; those that a mode lacks are null."""
    flat = config.flat()
    own = [name for name in space.distributions if name not in KNOBS]
    return json.dumps(
        {name: flat[name] if name in space.distributions else None for name in (*KNOBS, *own)}
    )


def _versions() -> dict[str, str]:
    packages = {
        "torch": "torch",
        "open_clip": "open_clip_torch",
        "optuna": "optuna",
        "mlflow": "mlflow",
        "numpy": "numpy",
        "scipy": "scipy",
    }
    versions = {name: importlib.metadata.version(package) for name, package in packages.items()}
    return versions | {"python": platform.python_version(), Param.CODE_VERSION: _code_version()}


def _code_version() -> str:
    """The checkout's commit, `-dirty` where files differ from it; else the package's version."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if _git("status", "-s") else "")
    return importlib.metadata.version("clip-qa")


def _git(*words: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _machine(device: str) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {device}"

"""The runs that hold others: one for the ablation, one for each mode."""

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
from qa_core.records.schema import Kind, Tag
from qa_core.records.tracking import RunRecord, Tracker, as_text
from qa_core.targets import TARGETS
from studies.objective import KNOBS
from studies.profiles import Profile
from studies.space import ModeSpace
from studies.sweep import Choice

if TYPE_CHECKING:
    from mlflow.entities import Run

    from qa_core.features.workspace import Workspace

MUST_AGREE = {
    "results_version": "the version of the results",
    "profile": "PROFILE",
    "protocol": "PROTOCOL",
    "data_name": "the data set",
    "range_quality": "RANGE_Q",
    "range_consistency": "RANGE_C",
    "data_sha256": "the data's contents",
    "backbone": "BACKBONE",
    "pretrained": "PRETRAINED",
    "image_view": "IMAGE_VIEW",
    "backbone_sha256": "the backbone's weights",
    "n_splits": "the number of splits",
    "n_seeds": "SEEDS",
    "margin": "MARGIN",
    "n_trials": "the number of trials",
    "epochs": "the number of epochs",
    "split_seed": "the seed of the splits",
    "torch": "the version of torch",
    "open_clip": "the version of open_clip",
    "optuna": "the version of optuna",
    "numpy": "the version of numpy",
    "scipy": "the version of scipy",
    "device": "the device",
    "left_out_of_cache": "what CACHE_GB leaves out",
}
"""Parameters of an ablation that a later session in the same folder has to share, in words."""


def ablation_params(
    profile_name: str,
    profile: Profile,
    base: RunConfig,
    workspace: "Workspace",
    plan: SplitPlan,
    workers: int,
) -> dict[str, Any]:
    """Everything that a reader has to know of an ablation, by parameter name."""
    from qa_core.training.identity import RESULTS_VERSION, device_name

    table, frame = workspace.table, workspace.table.frame
    cache_plan = workspace.cache_plan(base)
    left_out = cache_plan.words
    notes = [*table.notes, *(note for note in (profile.note, left_out) if note)]
    return {
        "profile": profile_name,
        "protocol": plan.protocol,
        "data_name": table.name,
        "data_version": table.version,
        "data_sha256": table.sha256,
        "n_images": n_images_of(plan),
        "n_prompts": plan.n_prompts,
        "n_generators": frame["generator"].nunique() if "generator" in frame else 0,
        "targets": ",".join(t for t in TARGETS if t.mos in frame),
        "range_quality": table.range_quality,
        "range_consistency": table.range_consistency,
        "backbone": base.clip.backbone,
        "pretrained": base.clip.pretrained,
        "image_view": base.data.image_view,
        "backbone_sha256": workspace.backbone_sha256,
        "image_depth": workspace.spec.image_depth,
        "n_splits": len(plan.splits),
        "n_seeds": profile.n_seeds,
        "margin": profile.margin,
        "n_trials": profile.n_trials if plan.folds else 0,
        "epochs": base.train.epochs,
        "split_seed": plan.seed,
        "n_pool_prompts": plan.n_pool_prompts,
        "n_test_prompts": plan.n_test_prompts,
        "n_eligible_prompts": plan.n_eligible_prompts,
        "variance_factor": plan.variance_factor,
        "validation_factor": plan.validation_factor,
        "n_folds": plan.n_folds,
        "interval": plan.interval,
        "fusion_inputs": ",".join(base.head.fusion_inputs),
        "base_init": base.head.base_init,
        "batch_size": base.train.batch_size,
        "threads_per_worker": base.train.threads,
        "workers": workers,
        "results_version": RESULTS_VERSION,
        "machine": _machine(workspace.device),
        "device": device_name(workspace.device),
        "left_out_of_cache": ",".join(map(str, cache_plan.left_out)),
        "notes": notes,
    } | _versions()


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
    name = f"{params['data_name']} {params['profile']}"
    tags = {Tag.COMPLETE: "false"}
    run_id = tracker.start(RunRecord(name, Kind.ABLATION, tags=tags, params=params))
    tracker.log_dataset(
        run_id, params["data_name"], params["data_sha256"], params["n_images"], params["data_name"]
    )
    tracker.log(run_id, tags={Tag.ABLATION_ID: run_id})  # the last thing: now it is whole
    return tracker.client.get_run(run_id)


def refuse_changes(there: dict[str, str], params: dict[str, Any], place: str) -> None:
    """Refuse to mix results that differ in what determines them.

    Args:
        there: Parameters of the ablation that the place holds, as MLflow keeps them.
        params: Those of the present session.
        place: Folder or server, in words.

    Raises:
        UserError: They differ; it names what in.
    """
    there = {"n_seeds": "1"} | there  # earlier versions noted less
    noted = [name for name in MUST_AGREE if name in there]
    changed = [name for name in noted if there[name] != as_text(params[name])]
    if not changed:
        return
    name = changed[0]
    others = [MUST_AGREE[other] for other in changed[1:]]
    beside = f" Also different: {', '.join(others)}." if others else ""
    raise UserError(
        f"{place} holds another ablation: {MUST_AGREE[name]} was {_short(there.get(name))} there"
        f" and is {_short(as_text(params[name]))} now.{beside}"
        " Choose another folder with OUT=, or delete that one."
    )


def _short(value: str | None) -> str:
    value = value or "none"
    return value if len(value) <= 40 else value[:12] + "…"


def open_mode_run(tracker: Tracker, space: ModeSpace) -> str:
    """Run id of a mode or arm in this ablation, created where missing."""
    params = {"guide_setting": setting_text(space, space.guide)}
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
    params = {"tuned_setting": setting_text(space, space.config(choice.values))}
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
    return versions | {"python": platform.python_version(), "code_version": _code_version()}


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

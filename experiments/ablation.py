"""The whole ablation, from data to PDF; run again, it goes on where it stopped."""

import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.cli.data_flags import DataFlags, data_settings
from experiments.cli.ended import has_ended, note_end, state_asked
from qa_core import command_line as cli
from qa_core.arms import parse_arms
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.errors import UserError
from qa_core.records.schema import MARGIN, Kind, check_margin
from qa_core.settings.data import ImageView, ProtocolName
from qa_core.settings.model import EMBEDDED_BACKBONE
from qa_core.settings.training import Augmentation, CachePrecision
from reports.current import is_current
from studies.engine.local import interrupts_held
from studies.engine.machines import EngineChoice, EngineName
from studies.profiles import PROFILES, Profile, StudyRequest

if TYPE_CHECKING:
    from studies.stores import Stores


@dataclass(frozen=True)
class AblationArgs(DataFlags):
    """Compare the four canonical modes and write a report."""

    profile: Literal["smoke", "default", "full"] = "default"
    """smoke: a few minutes, proves nothing; default: ten splits; full: for a night or a GPU."""
    protocol: ProtocolName = "auto"
    """How images are split (auto: replicates for the embedded benchmark, grouped_kfold below 100
    prompts, honest from 100 on)."""
    backbone: str = EMBEDDED_BACKBONE
    """An open_clip model name, or a folder with open_clip_config.json and weights."""
    pretrained: str = "default"
    """open_clip tag, a weights file, none, or default (the embedded weights, the folder's, or a
    published tag's)."""
    tokenizer: Path | None = None
    """Folder with tokenizer.json (default: the backbone's own)."""
    image_view: ImageView | None = None
    """whole: resize to the model's square; padded: the same with the aspect ratio kept; centre: the
    window in the middle at native resolution; crops: the whole and nine such windows (training
    draws some, testing averages all). Default: centre where qa-tiny sees one's own images, or else
    whole."""
    augment: Augmentation | None = None
    """crop_flip: each training step sees one of eight random crops of an image, half of them
    mirrored; validation and test see the image itself. Default: crop_flip with protocol published,
    or else none."""
    engine: EngineName = "local"
    """local: processes of this machine; ray: the cluster at RAY_ADDRESS (docs/cluster.md)."""
    workers: int = 0
    """Worker processes, of one thread each (default: one per GPU, or one per core without a
    GPU)."""
    out: Path = Path("runs/ablation")
    """Where report.pdf, results.json, mlflow.db and artifacts go."""
    cache: Path = Path(".cache")
    """Folder of decoded images and activations of frozen layers, shared by all runs; safe to
    delete."""
    arms: str = ""
    """Arms (variants of the modes) to run as well, as in lp_ft,llrd,ema; all: every one."""
    seeds: int = 1
    """Training seeds per split of the confirmation; a split's result is their mean."""
    margin: float = MARGIN
    """Differences in SROCC below this count as none: within it two modes are "the same"."""
    cache_gb: float = 20.0
    """Disk space for activations of frozen layers, in 10^9 bytes; freeze depths that do not fit are
    computed at every step."""
    cache_precision: CachePrecision = "full"
    """full: store activations of frozen layers in float32; half: in float16, half the space."""
    amp_on_cpu: bool = False
    """Train in bfloat16 on CPU too: twice as fast for CLIP's own backbones on processors with AMX,
    slower on others and for the embedded backbone."""
    tracking_uri: str | None = None
    """MLflow server for the runs, http://HOST:PORT; requires --optuna_storage."""
    optuna_storage: str | None = None
    """PostgreSQL database for the trials, postgresql://USER@HOST:PORT/DATABASE."""
    debug: bool = False
    """Show the traceback of an error as well."""


def main() -> None:
    """Parse the command line, run the studies, build the report."""
    args = cli.parse(AblationArgs, str(AblationArgs.__doc__))
    cli.end_on_signals()
    run_ablation(args)


def run_ablation(args: AblationArgs, only: StudyRequest | None = None) -> None:
    """Run what is missing in `args.out`, or of one study alone, and build the report.

    Raises:
        UserError: Flags, data or the folder cannot be used, or cells failed.
    """
    asked = state_asked(args)
    if args.tracking_uri is None and has_ended(args, asked):
        print("everything is there already")
        return _say_where(args.out, None)
    base, profile = base_config(args), profile_of(args)
    choice, arms = engine_choice(args), parse_arms(args.arms)
    from studies.stores import stores_of  # MLflow and Optuna: --help must not wait

    stores = stores_of(args.out, args.tracking_uri, args.optuna_storage)
    with stores.held():
        from experiments.pilot import power_params  # torch
        from experiments.reach import out_of_reach
        from studies.ablation import run_studies
        from studies.context import Setup

        setup = Setup(base, args.cache, args.protocol, 0, profile.n_splits, profile.max_prompts)
        # a smoke run decides nothing, and should not take longer for being told so
        is_smoke = args.profile == "smoke"
        foresee = None if is_smoke else partial(power_params, base, margin=profile.margin)
        if only is None and not is_smoke:
            for line in out_of_reach(base, args.protocol, profile):
                print(f"left open   {line}")
        if profile.max_prompts is not None:
            what = "prompts by name (or images, where they have none)"
            what = what if base.data.is_own else "prompts or so of each replicate"
            print(f"smoke       the first {profile.max_prompts} {what}, and no others")
        failed = run_studies(setup, args.profile, profile, stores, choice, only, arms, foresee)
        if not is_current(args.out, stores.open_tracker().runs(Kind.ABLATION)[0].info.end_time):
            build_report(args.out, stores.tracking_uri)
            publish_overview(stores)
        if not failed:
            note_end(args, asked)
    _say_where(args.out, stores.tracking_uri)
    if failed:
        raise UserError(
            f"{failed} cells failed and are missing in the report; their traces are in"
            " MLflow. The same command tries them again."
        )


def _say_where(out: Path, tracking_uri: str | None) -> None:
    print(f"\nreport      {out / 'report.pdf'}, for a browser {out / 'report.html'}")
    print(f"comparison  {tracking_uri or f'make ui OUT={out}'}")


def build_report(out: Path, tracking_uri: str | None = None) -> None:
    """Build the report of a folder, in a process of its own, which need not hold torch and data.

    Raises:
        UserError: It could not be built.
    """
    command = [sys.executable, "-m", "reports.build", "--out", str(out)]
    if tracking_uri is not None:
        command += ["--tracking_uri", tracking_uri]
    print("building    the report", flush=True)
    with interrupts_held():
        build = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # where it lies is said later
    try:
        code = build.wait()
    except KeyboardInterrupt:
        build.kill()
        raise KeyboardInterrupt(
            f"all results are kept in {out}; the same command builds the report"
        ) from None
    if code:
        raise UserError(f"The report could not be built, see above; make report OUT={out} retries.")


def publish_overview(stores: "Stores") -> None:
    """Update MLflow's pages: report, descriptions and prepared views."""
    from reports.mlflow_pages.overview import publish

    publish(stores.open_tracker(), stores.out)


def engine_choice(args: AblationArgs) -> EngineChoice:
    """Which engine the flags name.

    Raises:
        UserError: They make no sense.
    """
    if args.workers < 0:
        raise UserError(f"--workers {args.workers} is negative.")
    return EngineChoice(args.engine, args.workers)


def profile_of(args: AblationArgs) -> Profile:
    """The size that the flags name.

    Raises:
        UserError: It makes no sense.
    """
    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds} is less than 1.")
    margin = check_margin(args.margin)
    return replace(PROFILES[args.profile], n_seeds=args.seeds, margin=margin)


def base_config(args: AblationArgs) -> RunConfig:
    """The configuration that all modes share.

    Raises:
        UserError: Flags contradict each other or name what is not there.
    """
    from qa_core.data.protocols import protocol_settings  # pandas: --help must not wait

    return run_config_from_flat(
        data_settings(args)
        | {
            "backbone": args.backbone,
            "pretrained": args.pretrained,
            "tokenizer": None if args.tokenizer is None else str(args.tokenizer),
            "image_view": args.image_view,
            **protocol_settings(args.protocol),
            **({} if args.augment is None else {"augment": args.augment}),
            "epochs": PROFILES[args.profile].epochs,
            "threads": 1,
            "cache_gb": args.cache_gb,
            "cache_precision": args.cache_precision,
            "amp_on_cpu": args.amp_on_cpu,
        }
    )


if __name__ == "__main__":
    cli.run(main)

"""One training run, with the guide's command line."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.cli.panel import configuration_panel, epoch_line
from qa_core import command_line as cli
from qa_core import modes
from qa_core.config import RunConfig, run_config_from_flat, with_settings
from qa_core.errors import UserError
from qa_core.recipes import apply_recipe
from qa_core.settings.data import ProtocolName

if TYPE_CHECKING:
    from qa_core.data.splits import Split
    from qa_core.features.workspace import Workspace
    from qa_core.training.training_run import RunResult


INTERRUPTED = "--resume_from with the …_last.pt in --output_dir goes on, once an epoch was finished"
"""What is said after Ctrl-C."""
FEW_SPLITS, MANY_SPLITS = 10, 20
"""Number of splits to choose from, as in the profiles default and full."""


@dataclass(frozen=True)
class BaselineArgs:
    """Train one model on one split; the test part is read only with --test."""

    run: RunConfig = field(default_factory=RunConfig)
    recipe: Literal["plenty", "medium", "scarce", "quick"] | None = None
    """plenty: from 3,000 images on; medium; scarce: below 1,000; quick: a first look. Flags given
    beside it override it."""
    protocol: ProtocolName = "auto"
    """How images are split (auto: replicates for the embedded benchmark, grouped_kfold below 100
    prompts, honest from 100 on)."""
    split: int = 0
    """Which of the protocol's splits, from 0."""
    split_seed: int = 0
    """Seed of the splits."""
    test: bool = False
    """Read the split's test part, once, after training."""
    output_dir: Path = Path("outputs/baseline")
    """Where checkpoints and mlflow.db go."""
    cache_dir: Path = Path(".cache")
    """Folder of decoded images and activations of frozen layers, shared by all runs; safe to
    delete."""
    resume_from: Path | None = None
    """The …_last.pt of the same run, to resume from."""
    debug: bool = False
    """Show the traceback of an error as well."""


def main() -> None:
    """Parse the command line and train."""
    train(cli.parse(BaselineArgs, str(BaselineArgs.__doc__)), sys.argv[1:])


def train(args: BaselineArgs, argv: Sequence[str]) -> "RunResult":
    """Train as the flags say, telling the user what happens."""
    from qa_core.data.protocols import plan_protocol, protocol_settings, resolve_protocol
    from qa_core.features.fitness import fitness
    from qa_core.features.workspace import Workspace
    from qa_core.measures.advice import advise
    from qa_core.measures.references import floor_scores

    protocol = resolve_protocol(args.protocol, args.run.data)
    n_splits = FEW_SPLITS if args.split < FEW_SPLITS else MANY_SPLITS
    workspace = Workspace.open(args.run, args.cache_dir, None, n_replicates=n_splits)
    fixed = {k: v for k, v in protocol_settings(protocol).items() if k not in _flag_names(argv)}
    given = with_settings(_with_recipe(args, argv, workspace.spec), **fixed)
    config = modes.resolve(given, workspace.spec)
    plan = plan_protocol(workspace.table.frame, protocol, args.split_seed, n_splits)
    if not 0 <= args.split < len(plan.splits):
        raise UserError(
            f"--split {args.split}: this protocol has splits 0 to {len(plan.splits) - 1}."
        )
    split = plan.splits[args.split]
    rate_of_recipe = args.recipe is not None and "lr" not in _flag_names(argv)
    for warning in modes.warnings(given, config, workspace.spec, rate_of_recipe):
        print(f"warning: {warning}", file=sys.stderr)
    print(configuration_panel(config, workspace.spec, workspace.table, fitness(config, workspace)))
    print(
        f"split {args.split} of {plan.protocol}, seed {args.split_seed}: {len(split.train)} images"
        f" to train, {len(split.validation)} to choose, {len(split.test)} to test\n"
    )
    result = _run(args, config, workspace, split)
    on_rate = [] if rate_of_recipe else modes.rate_advice(config, workspace.spec)
    floors = floor_scores(workspace.table.frame, split.train, split.validation)
    best = result.history[result.best_epoch]
    said = advise(config, best, len(result.history) - 1, result.best_epoch, floors, on_rate)
    _print_end(args, result, said)
    return result


def _with_recipe(args: BaselineArgs, argv: Sequence[str], spec: modes.BackboneSpec) -> RunConfig:
    if args.recipe is None:
        return args.run
    flat = args.run.flat()
    given = {name: flat[name] for name in _flag_names(argv) if name in flat}
    return run_config_from_flat(apply_recipe(given, args.recipe, spec))


def _flag_names(argv: Sequence[str]) -> list[str]:
    names = (word[2:].split("=")[0].replace("-", "_") for word in argv if word.startswith("--"))
    return [name.removeprefix("no_") for name in names]


def _run(
    args: BaselineArgs, config: RunConfig, workspace: "Workspace", split: "Split"
) -> "RunResult":
    from rich.progress import Progress

    from qa_core.records.single_run import track_single_run
    from qa_core.training.training_run import train_run

    epochs = config.passes
    with (
        track_single_run(args.output_dir, config, workspace, args.split) as tracked,
        Progress(transient=True, disable=not sys.stdout.isatty()) as bar,
    ):
        task = bar.add_task("training", total=None)

        def on_epoch(epoch: int, measures: dict[str, float], checkpoint: Path | None) -> None:
            bar.console.print(epoch_line(epoch, epochs, measures), highlight=False, soft_wrap=True)
            if checkpoint is not None:
                bar.console.print(
                    f"  best so far, saved {checkpoint}", highlight=False, soft_wrap=True
                )
            tracked.log_epoch(epoch, measures)

        result = train_run(
            config,
            workspace,
            split,
            test=args.test,
            output_dir=args.output_dir,
            on_epoch=on_epoch,
            on_step=lambda done, total: bar.update(task, completed=done, total=total),
            resume_from=args.resume_from,
            standalone=True,
        )
        tracked.log_result(result)
    return result


def _print_end(args: BaselineArgs, result: "RunResult", said: Sequence[str]) -> None:
    print(f"\nbest epoch {result.best_epoch}: {result.checkpoint}")
    for sentence in said:
        print(f"advice: {sentence}")
    if args.test:
        for name in sorted(n for n in result.metrics if n.startswith("test_")):
            print(f"{name:<40} {result.metrics[name]:.4f}")
        for name, reason in sorted(result.undefined.items()):
            print(f"{name:<40} undefined: {reason}")


if __name__ == "__main__":
    cli.run(main, INTERRUPTED)

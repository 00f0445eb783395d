"""Forecast of an ablation: time, disk and memory, by mode."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.ablation import AblationArgs, base_config, engine_choice, profile_of
from qa_core import command_line as cli
from qa_core.arms import parse_arms
from qa_core.config import with_settings
from qa_core.errors import UserError

if TYPE_CHECKING:
    from experiments.pilot import Power
    from qa_core.targets import Target
    from studies.forecast import Forecast
    from studies.paper_forecast import PaperForecast


@dataclass(frozen=True)
class PlanArgs(AblationArgs):
    """Forecast time, disk and memory of an ablation; takes the same flags."""

    cards: int = 0
    """Forecast on paper for this many H100 cards, without data; 0: try each mode briefly here."""
    n_images: int | None = None
    """Number of images, for a forecast on paper."""


def main() -> None:
    """Parse the command line and print the forecast."""
    args = cli.parse(PlanArgs, str(PlanArgs.__doc__))
    if args.cards < 0:
        raise UserError(f"--cards {args.cards} is negative.")
    if (args.cards == 0) != (args.n_images is None):
        raise UserError(
            "A forecast on paper needs both --cards and --n_images; give both or neither."
        )
    if args.n_images is not None:
        print_on_paper(args, args.n_images)
    else:
        print_calibrated(args)


def print_calibrated(args: PlanArgs) -> None:
    """Try every mode briefly on this machine, and print the forecast."""
    from experiments.pilot import foresee_power  # torch: --help must not wait
    from experiments.reach import out_of_reach
    from qa_core.features.fitness import fitness
    from studies.context import Setup, open_workspace
    from studies.engine.machines import open_machines
    from studies.forecast import forecast_ablation
    from studies.space import all_spaces

    base, profile = base_config(args), profile_of(args)
    undecoded = with_settings(base, cache=False)
    setup = Setup(undecoded, args.cache, args.protocol, 0, profile.n_splits, profile.max_prompts)
    workspace, splits = open_workspace(setup)
    spaces = all_spaces(parse_arms(args.arms), base, workspace.spec, workspace.table.targets)
    with open_machines(engine_choice(args)) as machines:
        workers = machines.workers
    print_forecast(forecast_ablation(workspace, spaces, splits, profile, workers), workers)
    print_power(foresee_power(base, workspace, splits, profile.margin), profile.margin)
    for note in (*fitness(base, workspace), workspace.cache_plan(base).words):
        if note:
            print(f"note     {note}")
    for line in out_of_reach(base, args.protocol, profile):
        print(f"open     {line}")


def print_forecast(forecast: "Forecast", workers: int) -> None:
    """Print the forecast for this machine."""
    from rich.console import Console
    from rich.table import Table

    table = Table("mode", "tuning, s", "confirmation, s", title="worker seconds, at most")
    for mode in forecast.tune_s:
        table.add_row(mode, f"{forecast.tune_s[mode]:.0f}", f"{forecast.confirm_s[mode]:.0f}")
    Console().print(table)
    for study, seconds in forecast.studies_s.items():
        print(f"study    {study}: {seconds:.0f} worker seconds")
    least, most = forecast.least_s / 60, forecast.whole_s / 60
    print(
        f"time     {least:.1f} to {most:.1f} minutes with {workers} workers, by how many trials are"
    )
    print(f"         pruned and modes tuned; {forecast.prefix_s:.0f} s of them to fill the cache")
    rooms = ", ".join(f"{what} {gb:.2f} GB" for what, gb in forecast.disk_gb.items())
    print(f"disk     {rooms}")
    print(f"memory   about {forecast.memory_gb:.1f} GB, all processes together")


def print_power(powers: "dict[Target, Power]", margin: float) -> None:
    """Print what the splits will show in four of five runs, by a pilot of a linear probe."""
    if not powers:
        print("power    unknown: this protocol decides nothing, or there are too few prompts")
    for target, power in powers.items():
        if power.difference[0] > 1:
            print(f"power    {target}: these splits are too few to call any difference")
            continue
        least, most = power.difference
        print(f"power    {target}: a true difference of {least:.3f} to {most:.3f} SROCC is called,")
        print("         the smaller the more alike two modes rank, which only the runs tell;")
        least, most = power.margin
        print(f"         equal modes are called the same within +- {least:.3f} to {most:.3f}")
        if most > margin:
            few, many = power.prompts
            print(f"         (within +- {margin:g} takes about {few:,} to {many:,} prompts: claims")
            print("         that modes are the same may well not be decided)")


def print_on_paper(args: PlanArgs, n_images: int) -> None:
    """Print a forecast for H100 cards, computed from the architecture."""
    from studies.paper_forecast import SHARE_OF_PEAK, backbone_spec, forecast_on_paper
    from studies.space import all_spaces

    spec = backbone_spec(args.backbone)
    spaces = all_spaces(parse_arms(args.arms), base_config(args), spec)
    configs = {name: space.guide for name, space in spaces.items()}
    forecast = forecast_on_paper(configs, profile_of(args), n_images, args.cards)
    print(f"{args.backbone}, {n_images} images, {args.cards} H100, bf16; on paper:")
    print(f"{SHARE_OF_PEAK:.0%} of the cards' peak is assumed, nothing is measured.")
    _print_paper(forecast)


def _print_paper(forecast: "PaperForecast") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("mode", "card hours", "card memory, GB")
    for mode, hours in forecast.hours.items():
        table.add_row(mode, f"{hours:.2f}", f"{forecast.card_gb[mode]:.1f}")
    Console().print(table)
    print(f"time     {forecast.whole_hours:.1f} hours from start to end")
    for what, gb in forecast.disk_gb.items():
        print(f"disk     {what}: {gb:.1f} GB")
    print(
        f"cache    --cache_gb allows for {forecast.cached_depths} freeze depths, from the top;"
        " at others the frozen blocks run at every step"
    )


if __name__ == "__main__":
    cli.run(main)

"""What the table alone predicts, without a pixel: the floor that every model has to clear."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cli.data_flags import DataFlags, data_settings
from qa_core import command_line as cli
from qa_core.config import run_config_from_flat
from qa_core.targets import Target

if TYPE_CHECKING:
    import pandas as pd

    from qa_core.settings.data import ProtocolName

N_SPLITS = 100
"""Splits of protocols that can draw any number: exact to the third digit within seconds."""

WORDS = {Target.QUALITY: "quality", Target.CONSISTENCY: "alignment"}


@dataclass(frozen=True)
class FloorArgs(DataFlags):
    """Mean test SROCC of generator mean + prompt mean, under each protocol; needs no images."""

    cache: Path = Path(".cache")
    """Where the embedded benchmark is rendered."""
    debug: bool = False
    """Show the traceback of an error as well."""


def main() -> None:
    """Parse the command line and print the floor."""
    print_floor(cli.parse(FloorArgs, str(FloorArgs.__doc__)))


def print_floor(args: FloorArgs) -> None:
    """Print what was read, then one line a protocol.

    Raises:
        UserError: The table cannot be used as it is.
    """
    from qa_core.data.open_table import open_table

    config = run_config_from_flat(data_settings(args))
    table = open_table(config.data, config.loss.explanation_column, args.cache, False)
    makers = [column for column in ("generator", "setting") if column in table.frame]
    kinds = len(table.frame[makers].drop_duplicates()) if makers else 0
    print(
        f"{table.name}: {table.size_in_words},"
        f" {kinds} kinds of image by {' and '.join(makers) or 'nothing'}"
    )
    protocols: dict[str, ProtocolName] = {"prompt-disjoint": "auto", "random": "common"}
    if config.data.test_dataset is not None:
        protocols = {"cross": "cross"}
    elif "part" in table.frame and "replicate" not in table.frame:
        protocols["official"] = "official"
    for name, protocol in protocols.items():
        print(f"{name} {_floor_words(table.frame, protocol)}")


def _floor_words(frame: "pd.DataFrame", protocol: "ProtocolName") -> str:
    import numpy as np

    from qa_core.data.protocols import plan_protocol
    from qa_core.measures.metrics import srocc
    from qa_core.measures.references import pixel_free_floor

    replicates = "replicate" in frame and protocol == "auto"
    n_splits = int(np.max(frame["replicate"])) + 1 if replicates else N_SPLITS
    splits = plan_protocol(frame, protocol, n_splits=n_splits).splits
    words: list[str] = []
    for target, word in WORDS.items():
        if target.mos not in frame:
            continue
        mos = frame[target.mos].to_numpy(float)
        rated = np.flatnonzero(~np.isnan(mos))
        tested = [np.intersect1d(split.test, rated) for split in splits]
        scores = [
            srocc(pixel_free_floor(frame, split.train, test, target), mos[test])
            for split, test in zip(splits, tested, strict=True)
        ]
        known = [score for score in scores if score is not None]
        value = f"{np.mean(known):.3f}".replace("0.", ".", 1) if known else "undefined"
        words.append(f"{word} {value}")
    return " ".join(words)


if __name__ == "__main__":
    cli.run(main)

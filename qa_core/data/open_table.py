"""From the data flags to the one frame that everything downstream knows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from qa_core.data.identical import keep_copies_together
from qa_core.data.rated_table import RatedTable
from qa_core.data.synthetic.rendered import N_REPLICATES, load_benchmark
from qa_core.data.tables.columns import parse_columns
from qa_core.data.tables.csv_table import read_csv_folder, read_csv_table
from qa_core.data.tables.registry import READERS
from qa_core.errors import UserError
from qa_core.settings.data import DataConfig
from qa_core.targets import TARGETS, Target


def open_table(
    config: DataConfig,
    explanation_column: str,
    cache_dir: Path,
    require_images: bool = True,
    n_replicates: int = N_REPLICATES,
) -> RatedTable:
    """The rated table that the flags name; the embedded benchmark without any.

    Where they name a second data set, to test on, both in one (see `join_for_cross`).

    Args:
        config: Which table, and how its scores are read.
        explanation_column: Column of a CSV table that holds explanations, if it has one.
        cache_dir: Where the benchmark is rendered.
        require_images: False reads the labels alone; a missing image is no error then.
        n_replicates: Replicates of the embedded benchmark.

    Raises:
        UserError: The table or its images cannot be used as they are.
    """
    if not (config.dataset or config.data_csv_path):
        if config.test_dataset is not None:
            raise UserError(
                "The embedded benchmark cannot be trained on to test on another data set: name one"
                " by DATA."
            )
        return load_benchmark(cache_dir, n_replicates)
    tables = [_open_named(config, explanation_column, require_images)]
    if config.test_dataset is not None and config.test_root is not None:
        reader = READERS[config.test_dataset]
        tables.append(reader(Path(config.test_root), None, require_images))
    if require_images:
        tables = keep_copies_together(tables)
    return join_for_cross(*tables) if len(tables) > 1 else _with_parts_told(tables[0])


def join_for_cross(train: RatedTable, test: RatedTable) -> RatedTable:
    """One table of two data sets: `part` says train for the first and test for the second.

    Only scores that both have are kept, each on its own set's scale. Images of the first set whose
    prompt occurs in the second are left out: no tested prompt was trained on.

    Raises:
        UserError: The two have no score in common, or no prompt is left to train on.
    """
    common = [t for t in TARGETS if t.mos in train.frame and t.mos in test.frame]
    if not common:
        raise UserError(f"{train.name} and {test.name} have no score in common.")
    seen = np.isin(train.frame["group"].to_numpy(str), test.frame["group"].to_numpy(str))
    if seen.all():
        raise UserError(
            f"Every prompt of {train.name} is in {test.name}: nothing is left to train."
        )
    frames = [train.frame[~seen].assign(part="train"), test.frame.assign(part="test")]
    frame = pd.concat(frames, ignore_index=True, join="inner")
    lone = [f"{kind}_{t}" for kind in ("mos", "std") for t in TARGETS if t not in common]
    frame = frame.drop(columns=lone, errors="ignore")
    ranges = {t: getattr(train, f"range_{t}") if t in common else None for t in TARGETS}
    notes = [*train.notes, *test.notes, f"Trained on {train.name}, tested on {test.name}."]
    if seen.any():
        notes.append(f"{seen.sum()} training images left out: their prompts are in {test.name}.")
    return RatedTable(
        frame,
        f"{train.name} to {test.name}",
        f"{train.version}, {test.version}",
        ranges[Target.QUALITY],
        ranges[Target.CONSISTENCY],
        tuple(notes),
    )


def _with_parts_told(table: RatedTable) -> RatedTable:
    """The table; a note says how much of an official part shows what was trained on."""
    if "part" not in table.frame:
        return table
    groups, parts = (table.frame[name].to_numpy(str) for name in ("group", "part"))
    trained = np.isin(groups, groups[parts == "train"])
    notes: list[str] = []
    for part in ("validation", "test"):
        there = parts == part
        shared = there & trained
        if shared.any():
            notes.append(
                f"{len(np.unique(groups[shared]))} prompts of the official {part} part, with"
                f" {shared.sum()} of its {there.sum()} images, are also in its train part."
            )
    return replace(table, notes=(*table.notes, *notes))


def _open_named(config: DataConfig, explanation_column: str, require_images: bool) -> RatedTable:
    ranges = config.nominal_range(Target.QUALITY), config.nominal_range(Target.CONSISTENCY)
    columns = parse_columns(config.columns)
    if config.dataset is not None and config.data_root is not None:
        root = Path(config.data_root)
        images = None if config.image_base_dir is None else Path(config.image_base_dir)
        if config.dataset == "csv":  # the only one that declares none
            return read_csv_folder(
                root, images, require_images, *ranges, explanation_column, columns
            )
        return READERS[config.dataset](root, images, require_images)
    csv_path = Path(str(config.data_csv_path))
    image_dir = csv_path.parent if config.image_base_dir is None else Path(config.image_base_dir)
    return read_csv_table(csv_path, image_dir, *ranges, explanation_column, require_images, columns)

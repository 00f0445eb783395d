"""From the data flags to the one frame that everything downstream knows."""

from pathlib import Path

from qa_core.config import DataConfig
from qa_core.data.rated_table import RatedTable
from qa_core.data.synthetic.benchmark import load_benchmark
from qa_core.data.tables.csv_table import read_csv_table


def open_table(config: DataConfig, explanation_column: str, cache_dir: Path) -> RatedTable:
    """The rated table that the flags name; the embedded benchmark without any.

    Args:
        config: Which table, and how its scores are read.
        explanation_column: Column of a CSV table that holds explanations, if it has one.
        cache_dir: Where the benchmark is rendered.

    Raises:
        UserError: The table or its images cannot be used as they are.
    """
    if config.data_csv_path is None:
        return load_benchmark(cache_dir)
    csv_path = Path(config.data_csv_path)
    image_dir = csv_path.parent if config.image_base_dir is None else Path(config.image_base_dir)
    ranges = config.nominal_range("q"), config.nominal_range("c")
    return read_csv_table(csv_path, image_dir, *ranges, explanation_column)

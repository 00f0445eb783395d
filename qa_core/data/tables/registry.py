"""The readers of published data sets by name; every one returns the same frame."""

from pathlib import Path
from typing import Protocol

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.agiqa1k import read_agiqa1k
from qa_core.data.tables.agiqa3k import read_agiqa3k
from qa_core.data.tables.aigciqa2023 import read_aigciqa2023
from qa_core.data.tables.aigiqa20k import read_aigiqa20k
from qa_core.data.tables.csv_table import read_csv_folder
from qa_core.data.tables.evalmi50k import read_evalmi50k
from qa_core.data.tables.evalmuse40k import read_evalmuse40k
from qa_core.data.tables.genai_bench import read_genai_bench
from qa_core.data.tables.pku_aigiqa4k import read_pku_aigiqa4k
from qa_core.data.tables.qeval100k import read_qeval100k
from qa_core.settings.data import DatasetName


class Reader(Protocol):
    """Reads a data set from its folder, with or without its images."""

    def __call__(
        self, root: Path, image_dir: Path | None = None, require_images: bool = True
    ) -> RatedTable:
        """The rated table; UserError where a file is missing or a row is wrong."""
        ...


READERS: dict[DatasetName, Reader] = {
    "agiqa3k": read_agiqa3k,
    "aigciqa2023": read_aigciqa2023,
    "agiqa1k": read_agiqa1k,
    "pku_aigiqa4k": read_pku_aigiqa4k,
    "aigiqa20k": read_aigiqa20k,
    "evalmuse40k": read_evalmuse40k,
    "evalmi50k": read_evalmi50k,
    "qeval100k": read_qeval100k,
    "genai_bench": read_genai_bench,
    "csv": read_csv_folder,
}

"""Reader of GenAI-Bench (Li et al., 2024): prompts of composition, six generators, alignment."""

from pathlib import Path
from typing import Any

import pandas as pd

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.build import build_table
from qa_core.data.tables.entries import is_rating, rating_cells, read_entries, require_entries
from qa_core.data.tables.images import find_table, image_folder
from qa_core.targets import Target

READER_VERSION = "1"
RANGE = (1.0, 5.0)


def read_genai_bench(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder, which holds `genai_image.json`.

    For each id the file has the prompt and, by generator, the ratings of its image, which lies in
    `{generator}/{id}.jpeg`; consistency is their mean. There is no score of quality.

    Args:
        root: The data set's folder.
        image_dir: Folder of the generators' folders; without it, the one that holds the first.
        require_images: False reads the labels alone.

    Raises:
        UserError: If a file is missing or an entry is wrong, with file and row.
    """
    path = find_table(root, "genai_image.json")
    entries = read_entries(path, ("id", "prompt"))
    require_entries(path, entries, _fault)
    rows = [
        {
            "name": f"{model}/{entry['id']}.jpeg",
            "prompt": entry["prompt"].strip(),
            "generator": model,
        }
        | rating_cells(ratings, "align")
        for entry in entries
        for model, ratings in entry["models"].items()
    ]
    cells = pd.DataFrame(rows).astype(str)
    folder = image_folder(root, image_dir, cells["name"].tolist(), require_images)
    ranges = {Target.CONSISTENCY: RANGE}
    return build_table(cells, path, folder, "genai_bench", READER_VERSION, ranges, require_images)


def _fault(entry: dict[str, Any]) -> str | None:
    models = entry.get("models")
    if not isinstance(models, dict) or not models:
        return "has no ratings by model."
    wrong = [model for model, ratings in models.items() if not is_rating(ratings)]
    return f"the ratings of {wrong[0]} are no numbers." if wrong else None

"""Reader of EvalMi-50K (Wang et al., 2025): images by 24 generators, perception and alignment."""

from pathlib import Path

from qa_core.data.findings import RowProblems
from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.build import build_table
from qa_core.data.tables.cells import pick_columns, read_cells
from qa_core.data.tables.images import find_table, image_folder
from qa_core.targets import Target

READER_VERSION = "1"
RANGE = (0.0, 100.0)
"""The values seen are 15.95 to 73.30 (perception) and 22.06 to 70.25 (correspondence)."""

COLUMNS = {"ImageName": "name", "MOS1": "mos_quality", "MOS2": "mos_align"}


def read_evalmi50k(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder: `AIGI2025_MOS_yn.xlsx` and `question.xlsx`.

    `MOS1`, perception, is quality and `MOS2`, correspondence, consistency. Image `model/NNN.png` is
    of the prompt in row NNN of `question.xlsx`, counted from 0 where an image is numbered 0.

    Args:
        root: The data set's folder.
        image_dir: Folder of the generators' folders; without it, the one that holds the first.
        require_images: False reads the label tables alone.

    Raises:
        UserError: If a file is missing or a row is wrong, with file and row.
    """
    path, questions = (find_table(root, n) for n in ("AIGI2025_MOS_yn.xlsx", "question.xlsx"))
    cells = pick_columns(read_cells(path), path, COLUMNS)
    asked = pick_columns(read_cells(questions), questions, {"prompt": "prompt"})
    prompts = {int(row): str(text) for row, text in zip(asked.index, asked["prompt"], strict=True)}
    parts = cells["name"].str.extract(r"^(?P<model>.+)/(?P<number>\d+)\.\w+$")
    numbers = [int(text) if isinstance(text, str) else None for text in parts["number"]]
    from_zero = 0 in numbers
    problems = RowProblems(path, cells)
    found: list[str] = []
    for place, number in enumerate(numbers):
        if number is None:
            text = "is not named like an image of EvalMi-50K (model/number.png)."
            problems.add(place, "names are of another kind", text)
            continue
        row = number if from_zero else number - 1
        if row not in prompts:
            text = f"{questions.name} has no row {number} with its prompt."
            problems.add(place, "prompts are missing", text)
        found.append(prompts.get(row, ""))
    problems.raise_if_any()
    cells = cells.assign(prompt=found, generator=parts["model"])
    folder = image_folder(root, image_dir, cells["name"].tolist(), require_images)
    ranges = {Target.QUALITY: RANGE, Target.CONSISTENCY: RANGE}
    return build_table(cells, path, folder, "evalmi50k", READER_VERSION, ranges, require_images)

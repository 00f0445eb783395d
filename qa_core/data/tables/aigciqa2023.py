"""Reader of AIGCIQA2023 (Wang et al., CICAI 2023): 2,400 images, 100 prompts, six generators."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import loadmat

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.cells import find_images, find_table, read_cells, read_sheet
from qa_core.data.tables.csv_table import build_table
from qa_core.errors import UserError

READER_VERSION = "1"
RANGE = (0.0, 100.0)
"""Both scores are z-scores mapped to 0–100; the values seen are about 26.6 to 73.7."""

GENERATORS = ("Controlnet", "DALLE", "Glide", "Lafite", "stable-diffusion", "Unidiffuser")
IMAGES_A_PROMPT = 4
PROMPT_FILES = (
    "AIGCIQA2023_Prompts.xlsx",
    "AIGCIQA2023_Prompts.csv",
    "prompts.xlsx",
    "prompt.xlsx",
)
PROMPT_COLUMN = 2
"""Where the spreadsheet, which has no header, keeps the prompt: after scene and challenge."""

SCORES = {"quality": ("mosz1.mat", "SD1.mat"), "align": ("mosz3.mat", "SD3.mat")}
"""Files of mean and standard deviation; `mosz2.mat`, authenticity, is not a target here."""


def read_aigciqa2023(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder, which holds `mosz1.mat`, `mosz3.mat` and the prompts.

    Image i is by generator i // 400 and of prompt i % 400 // 4.

    Args:
        root: The data set's folder; the files may lie anywhere below it.
        image_dir: Folder of `0.png`, `1.png` …; without it, the one below `root` that holds them.
        require_images: False reads the labels alone.

    Raises:
        UserError: If a file is missing or a row is wrong, with file and row.
    """
    prompts = _read_prompts(find_table(root, *PROMPT_FILES))
    count = len(GENERATORS) * len(prompts) * IMAGES_A_PROMPT
    image = np.arange(count)
    a_generator = len(prompts) * IMAGES_A_PROMPT
    columns: dict[str, object] = {
        "name": [f"{i}.png" for i in image],
        "prompt": np.array(prompts)[image % a_generator // IMAGES_A_PROMPT],
        "generator": np.array(GENERATORS)[image // a_generator],
    }
    path = find_table(root, SCORES["quality"][0])
    for word, (mean_file, spread_file) in SCORES.items():
        mean_path = find_table(root, mean_file)
        columns[f"mos_{word}"] = _read_vector(mean_path, "MOSz", count)
        spread_path = mean_path.parent.parent / "STD" / spread_file
        if spread_path.is_file():
            columns[f"std_{word}"] = _read_vector(spread_path, "SD", count)
    cells = pd.DataFrame(columns).astype(str)
    if image_dir is None:
        image_dir = find_images(root, cells["name"].tolist()) if require_images else root
    ranges = {"quality": RANGE, "consistency": RANGE}
    return build_table(
        cells, path, image_dir, "aigciqa2023", READER_VERSION, ranges, require_images
    )


def _read_prompts(path: Path) -> list[str]:
    """The prompts in order, from a column headed `prompt` or, without header, the third."""
    sheet = read_cells(path) if path.suffix == ".csv" else read_sheet(path, header=None)
    heads = [str(cell).strip().casefold() for cell in sheet.iloc[0]]
    names = [str(name).casefold() for name in sheet.columns]
    if "prompt" in names:
        texts = sheet.iloc[:, names.index("prompt")]
    elif "prompt" in heads:
        texts = sheet.iloc[1:, heads.index("prompt")]
    elif sheet.shape[1] > PROMPT_COLUMN:
        texts = sheet.iloc[:, PROMPT_COLUMN]
    else:
        raise UserError(f"{path} has no column 'prompt' and no third column to find prompts in.")
    return texts.astype(str).str.strip().tolist()


def _read_vector(path: Path, key: str, count: int) -> np.ndarray:
    try:
        values = loadmat(path)[key].ravel()
    except Exception as error:  # a damaged file breaks SciPy's reader in many ways
        raise UserError(f"{path} cannot be read as a MATLAB file with {key!r}: {error}") from None
    if len(values) != count:
        raise UserError(
            f"{path} has {len(values)} scores, but the prompts make {count} images"
            f" ({len(GENERATORS)} generators, {IMAGES_A_PROMPT} images a prompt)."
        )
    return values

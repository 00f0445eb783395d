"""Reader of AIGCIQA2023 (Wang et al., CICAI 2023): 2,400 images, 100 prompts, six generators.

Its makers published it twice: MATLAB files beside a spreadsheet of prompts, and later text files
and JSON with an official split and explanations, read by `aigciqa2023_plus`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.aigciqa2023_plus import TRAIN, find_names, range_of, read_plus
from qa_core.data.tables.build import build_table
from qa_core.data.tables.cells import read_cells
from qa_core.data.tables.images import find_file, find_table
from qa_core.data.tables.matlab import read_matlab
from qa_core.data.tables.spreadsheet import read_sheet
from qa_core.errors import UserError
from qa_core.targets import TARGETS

READER_VERSION = "1"

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

SCORES = {"quality": ("mosz1.mat", "moz1.txt"), "align": ("mosz3.mat", "moz3.txt")}
"""Files of the mean, in MATLAB's form or as text; number 2, authenticity, is not a target here."""
_KEYS = {"mos": "MOSz", "std": "SD"}


def read_aigciqa2023(
    root: Path, image_dir: Path | None = None, require_images: bool = True
) -> RatedTable:
    """Read the data set from its folder, as its makers published it first or later.

    First: `mosz1.mat`, `mosz3.mat` (or `moz1.txt`, `moz3.txt`) and the prompts; image i is by
    generator i // 400 and of prompt i % 400 // 4. Later: see `read_plus`. An image lies in `i.png`,
    or in `generator/PPP-J.png`, prompt P's Jth.

    Args:
        root: The data set's folder; the files may lie anywhere below it.
        image_dir: Folder of the images; without it, the one below `root` that holds them.
        require_images: False reads the labels alone.

    Raises:
        UserError: If a file is missing or a row is wrong, with file and row.
    """
    if find_file(root, *PROMPT_FILES) is None and find_file(root, TRAIN) is not None:
        return read_plus(root, image_dir, require_images)
    prompts = _read_prompts(find_table(root, *PROMPT_FILES))
    count = len(GENERATORS) * len(prompts) * IMAGES_A_PROMPT
    image = np.arange(count)
    a_generator = len(prompts) * IMAGES_A_PROMPT
    prompt, makers = image % a_generator // IMAGES_A_PROMPT, image // a_generator
    columns: dict[str, object] = {
        "prompt": np.array(prompts)[prompt],
        "generator": np.array(GENERATORS)[makers],
    }
    columns |= _read_scores(root, count)
    ranges = dict.fromkeys(TARGETS, range_of(columns["mos_quality"], columns["mos_align"]))
    names, folder = find_names(root, image_dir, _forms(makers, prompt), require_images)
    cells = pd.DataFrame({"name": names} | columns).astype(str)
    path = find_table(root, *SCORES["quality"])
    return build_table(cells, path, folder, "aigciqa2023", READER_VERSION, ranges, require_images)


def _forms(makers: np.ndarray, prompt: np.ndarray) -> list[list[str]]:
    """The names (n,) of all images in each form that copies of the set have."""
    image = np.arange(len(prompt))
    forms = [[f"{i}.png" for i in image]]
    for first in (1, 0):  # a prompt's images are numbered from 1, or from 0
        places = zip(makers, prompt, image % IMAGES_A_PROMPT + first, strict=True)
        forms.append([f"{GENERATORS[g]}/{p:03d}-{j}.png" for g, p, j in places])
    return forms


def _read_prompts(path: Path) -> list[str]:
    """The prompts in order, from a column headed `prompt` or, without header, the third."""
    if path.suffix == ".csv":
        cells = read_cells(path)
        rows = [list(cells.columns), *cells.to_numpy().tolist()]
    else:
        rows = [row for row in read_sheet(path) if any(row)]
    heads = [cell.strip().casefold() for cell in rows[0]]
    if "prompt" in heads:
        texts = [row[heads.index("prompt")] for row in rows[1:]]
    elif len(heads) > PROMPT_COLUMN:
        texts = [row[PROMPT_COLUMN] for row in rows]
    else:
        raise UserError(f"{path} has no column 'prompt' and no third column to find prompts in.")
    return [text.strip() for text in texts]


def _read_scores(root: Path, count: int) -> dict[str, np.ndarray]:
    """Means of the scores, and their standard deviations where they lie beside them."""
    files: dict[str, Path] = {}
    for word, names in SCORES.items():
        files[f"mos_{word}"] = path = find_table(root, *names)
        spread = path.parent.parent / "STD" / f"SD{names[0][4]}.mat"
        if spread.is_file():
            files[f"std_{word}"] = spread
    in_matlab = {n: (file, _KEYS[n[:3]]) for n, file in files.items() if file.suffix != ".txt"}
    read = dict(zip(in_matlab, read_matlab([*in_matlab.values()]), strict=True))
    read |= {n: _read_text(file) for n, file in files.items() if n not in read}
    for name, values in read.items():
        if len(values) != count:
            raise UserError(
                f"{files[name]} has {len(values)} scores, but the prompts make {count} images"
                f" ({len(GENERATORS)} generators, {IMAGES_A_PROMPT} images a prompt)."
            )
    return read


def _read_text(path: Path) -> np.ndarray:
    try:
        return np.loadtxt(path).ravel()
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as numbers: {error}") from None

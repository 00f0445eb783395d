"""The embedded benchmark as a rated table, drawn into a cache as far as it is used."""

import functools
import hashlib
import os
from functools import cache
from pathlib import Path

import pandas as pd
from PIL import Image

from qa_core.data.rated_table import RatedTable, blocks_of
from qa_core.data.synthetic import rating
from qa_core.data.synthetic.benchmark import (
    BENCHMARK_VERSION,
    Picture,
    Prompt,
    answer_prompts,
    draw_picture,
    draw_sets,
    rate_pictures,
)
from qa_core.data.synthetic.seen import SEEN_FILE
from qa_core.system.locking import waiting_lock

N_REPLICATES = 10


def load_benchmark(cache_dir: Path, n_replicates: int = N_REPLICATES) -> RatedTable:
    """The embedded benchmark with so many replicates; its pictures are drawn when they are needed.

    Several processes may ask at once: one does what is missing, and the others wait.
    """
    folder = Path(cache_dir) / f"benchmark-{BENCHMARK_VERSION}-{source_digest()}"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(n_replicates + 1)
    with waiting_lock(folder / "tables.lock"):
        for number in numbers:
            if not _table_file(folder, number).is_file():
                _write_table(folder, n_replicates, number)
    tables = [pd.read_csv(_table_file(folder, k), keep_default_na=False) for k in numbers]
    frame = pd.concat(tables, ignore_index=True)
    folders = {block: str(_image_folder(folder.resolve(), block)) for block in blocks_of(frame)}
    pairs = zip(blocks_of(frame), frame["name"], strict=True)
    frame["image_path"] = [f"{folders[block]}/{name}" for block, name in pairs]
    return RatedTable(
        frame=frame,
        name="embedded benchmark",
        version=BENCHMARK_VERSION,
        range_quality=rating.MARKS,
        range_consistency=rating.MARKS,
        notes=(
            "Rendered scenes rated by a simulated panel: verdicts hold on this benchmark.",
            "Pretraining of the embedded backbone showed none of its scenes; the distortions"
            " warping and ghosting, six shape-colour pairs and the relations 'in front of' and"
            " 'inside' were withheld from it altogether.",
        ),
        draw=functools.partial(_draw, folder, n_replicates),
    )


def _write_table(folder: Path, n_replicates: int, number: int) -> None:
    """Write the table of a set, whole or not at all."""
    file = _table_file(folder, number)
    draft = file.with_suffix(".part")
    rate_pictures(_pictures(n_replicates, number), number).to_csv(draft, index=False)
    os.replace(draft, file)


def _draw(folder: Path, n_replicates: int, block: int, names: list[str]) -> None:
    """Draw these pictures of a block (see `blocks_of`) where they are not there yet."""
    target = _image_folder(folder, block)
    target.mkdir(exist_ok=True)
    if not set(names) - set(os.listdir(target)):
        return
    number, draft = (block + 1) // 2, folder / f"{target.name}.part"
    with waiting_lock(folder / f"images-{block}.lock"):
        missing = set(names) - set(os.listdir(target))
        if not missing:
            return
        pictures = _pictures(n_replicates, number)
        of_set = pd.read_csv(_table_file(folder, number))["name"].tolist()
        for index, name in enumerate(of_set):
            if name in missing:
                pixels = draw_picture(pictures[index], number, index)
                Image.fromarray(pixels).save(draft, "PNG", compress_level=1)
                os.replace(draft, target / name)


@functools.lru_cache(maxsize=1)
def _sets(n_replicates: int) -> list[list[Prompt]]:
    return draw_sets(n_replicates)


@functools.lru_cache(maxsize=2)
def _pictures(n_replicates: int, number: int) -> list[Picture]:
    return answer_prompts(_sets(n_replicates)[number], number)


def _table_file(folder: Path, number: int) -> Path:
    return folder / f"table-{number:02d}.csv"


def _image_folder(folder: Path, block: int) -> Path:
    return folder / f"images-{block:02d}"


@cache
def source_digest() -> str:
    """Hash of the code of this package and of what pretraining saw, which decide what it draws."""
    digest = hashlib.sha256(SEEN_FILE.read_bytes())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]

"""What a look at a rated table finds before anything is trained on it."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from qa_core.data.decode import UNREADABLE, decode_image
from qa_core.data.rated_table import MosRange, RatedTable

BINS, BAR = 10, 40
_SMALL = 32
_THREADS = 4
_LONGER = 8  # how many contexts a prompt may fill before its length is no longer told apart


def summarise(table: RatedTable) -> str:
    """Rows, prompts, generators, official parts, ranges and histograms, a line each."""
    frame = table.frame
    lines = [
        f"data set    {table.name}, reader version {table.version}",
        f"rows        {len(frame)}",
        f"prompts     {frame['group'].nunique()} that a split keeps together",
    ]
    for column in ("generator", "setting", "part"):
        if column in frame:
            counts = frame[column].value_counts().sort_index()
            names = ", ".join(f"{name or 'none'} {count}" for name, count in counts.items())
            lines.append(f"{column + 's':<11} {len(counts)}: {names}")
    for target, nominal in _targets(table).items():
        lines += ["", *_histogram(target, frame[f"mos_{target}"].to_numpy(float), nominal)]
    return "\n".join(lines + [f"\nnote: {note}" for note in table.notes])


def _targets(table: RatedTable) -> dict[str, MosRange]:
    ranges = {"quality": table.range_quality, "consistency": table.range_consistency}
    return {target: nominal for target, nominal in ranges.items() if nominal is not None}


def _histogram(target: str, mos: np.ndarray, nominal: MosRange) -> list[str]:
    low, high = nominal
    seen = low + mos * (high - low)
    counts, edges = np.histogram(seen, BINS, nominal)
    head = (
        f"{target}: nominal range {low:g} to {high:g}, seen {seen.min():.3f} to {seen.max():.3f},"
        f" mean {seen.mean():.3f}"
    )
    bars = (
        f"  {left:7.2f} to {right:7.2f}  {count:6d}  {'#' * round(BAR * count / counts.max())}"
        for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True)
    )
    return [head, *bars]


def image_problems(
    paths: Sequence[Path], progress: Callable[[int, int], None] = lambda done, total: None
) -> list[str]:
    """A sentence for each file that cannot be decoded, moves, or repeats an earlier one.

    Args:
        paths: Image files, one a row.
        progress: Told how many of how many images are done.
    """
    problems: list[str] = []
    first_of: dict[bytes, int] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for row, (digest, problem) in enumerate(pool.map(_try_image, paths)):
            if problem is not None:
                problems.append(f"data row {row + 1}: {paths[row]} {problem}")
            first = first_of.setdefault(digest, row)
            if first != row:
                problems.append(
                    f"data row {row + 1}: {paths[row]} is the same file as in data row {first + 1}"
                )
            progress(row + 1, len(paths))
    return problems


def _try_image(path: Path) -> tuple[bytes, str | None]:
    """Hash of a file's bytes (its name where it has none), and what is wrong with it."""
    try:
        digest = hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        return os.fsencode(path), f"cannot be read: {error}"
    try:
        decode_image(path, _SMALL)
        with Image.open(path) as file:
            frames = getattr(file, "n_frames", 1)
    except UNREADABLE as error:
        return digest, f"cannot be read: {str(error).rstrip('.')}"
    return digest, f"moves ({frames} frames): only the first is looked at" if frames > 1 else None


def prompt_problems(prompts: Sequence[str], tokenizer: Any) -> list[str]:
    """A sentence for each distinct prompt that is longer than the text tower's context.

    Args:
        prompts: One a row.
        tokenizer: One of open_clip's; it cuts what is too long.
    """
    problems: list[str] = []
    context = tokenizer.context_length
    first_of: dict[str, int] = {}
    for row, prompt in enumerate(prompts):
        if first_of.setdefault(prompt, row) != row:
            continue
        long = tokenizer([prompt], context_length=_LONGER * context)
        if not torch.equal(tokenizer([prompt]), long[:, :context]):
            problems.append(
                f"data row {row + 1}: the prompt is longer than the {context} tokens that the text"
                f" tower reads, and is cut: {prompt[:60]}…"
            )
    return problems

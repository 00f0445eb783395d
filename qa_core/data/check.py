"""What is wrong or worth knowing in a rated table, before anything is trained on it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qa_core.data.decode import UnreadableImage, count_frames, decode_image
from qa_core.data.findings import Finding, listed
from qa_core.data.identical import first_copies
from qa_core.data.rated_table import MosRange, RatedTable
from qa_core.targets import TARGETS, Target

BINS, BARS = 10, " ▁▂▃▄▅▆▇█"
NAMED = 12
"""How many generators are listed by name."""

_SMALL = 32
_THREADS = 4
_LONGER = 8  # how many contexts a prompt may fill before its length is no longer told apart


def summarise(table: RatedTable) -> str:
    """Rows, prompts, generators, official parts, ranges and counts along the scale, in a screen."""
    frame = table.frame
    kept = f"{frame['group'].nunique()} that a split keeps together"
    lines = [
        f"data set    {table.name}, reader version {table.version}",
        f"rows        {len(frame)}",
        f"prompts     {kept if table.has_prompts else 'none: each image counts as one'}",
    ]
    for column in ("generator", "setting", "part"):
        if column in frame:
            counts = frame[column].value_counts().sort_index()
            names = listed([f"{name or 'none'} {count}" for name, count in counts.items()], NAMED)
            lines.append(f"{column + 's':<11} {len(counts)}: {names}")
    for target, nominal in _ranges(table).items():
        lines += _counts(target, frame[target.mos].dropna().to_numpy(float), nominal)
    return "\n".join(lines)


def _ranges(table: RatedTable) -> dict[Target, MosRange]:
    ranges = zip(TARGETS, (table.range_quality, table.range_consistency), strict=True)
    return {target: nominal for target, nominal in ranges if nominal is not None}


def _counts(target: Target, mos: np.ndarray, nominal: MosRange) -> list[str]:
    low, high = nominal
    seen = low + mos * (high - low)
    counts, _ = np.histogram(mos, BINS, (0, 1))
    bars = "".join(BARS[round((len(BARS) - 1) * count / counts.max())] for count in counts)
    return [
        f"{target:<11} {len(mos)} ratings, nominal range {low:g} to {high:g}, seen {seen.min():.3f}"
        f" to {seen.max():.3f}, mean {seen.mean():.3f}",
        f"            by tenth of the range {bars} {' '.join(map(str, counts))}",
    ]


def image_findings(
    paths: Sequence[Path], progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[list[Finding], list[Finding]]:
    """Files that cannot be decoded, which are problems; and, as notes, files that move.

    Args:
        paths: Image files, one a row.
        progress: Told how many of how many images are done.
    """
    problems: list[Finding] = []
    notes: list[Finding] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for row, (fault, remark) in enumerate(pool.map(_try_image, paths)):
            place = f"data row {row + 1}: {paths[row]}"
            if fault is not None:
                problems.append(Finding("images cannot be read", f"{place} {fault}"))
            if remark is not None:
                notes.append(Finding("images move", f"{place} {remark}"))
            progress(row + 1, len(paths))
    return problems, notes


def _try_image(path: Path) -> tuple[str | None, str | None]:
    """What is wrong with a file, and what is worth knowing of it."""
    try:
        decode_image(path, _SMALL)
        frames = count_frames(path)
    except UnreadableImage as error:
        return f"cannot be read: {str(error).rstrip('.')}", None
    return None, f"moves ({frames} frames): only the first is looked at" if frames > 1 else None


def copy_notes(paths: Sequence[Path]) -> list[Finding]:
    """A sentence for each image that is the same file as an earlier one."""
    first = first_copies(paths)
    return [
        Finding(
            "images are the same file",
            f"data row {row + 1}: {paths[row].name} is the same file as in data row"
            f" {first[row] + 1}, {paths[first[row]].name}",
        )
        for row in np.flatnonzero(first != np.arange(len(first))).tolist()
    ]


def prompt_notes(prompts: Sequence[str], tokenizer: Any) -> list[Finding]:
    """A sentence for each distinct prompt that is longer than the text tower's context.

    Args:
        prompts: One a row.
        tokenizer: One of open_clip's; it cuts what is too long.
    """
    notes: list[Finding] = []
    context = tokenizer.context_length
    first_of: dict[str, int] = {}
    for row, prompt in enumerate(prompts):
        if first_of.setdefault(prompt, row) != row:
            continue
        long = tokenizer([prompt], context_length=_LONGER * context)
        if not torch.equal(tokenizer([prompt]), long[:, :context]):
            text = (
                f"data row {row + 1}: the prompt is longer than the {context} tokens that the text"
                f" tower reads, and is cut: {prompt[:40]}…"
            )
            notes.append(Finding("prompts are cut", text))
    return notes

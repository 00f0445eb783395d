"""Inputs of an ablation that change between two of its sessions, and are as before afterwards."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors.numpy import load_file, save

from qa_core.backbones.registry import TINY_NAME, TINY_WEIGHTS

_PROMPTS, _IMAGES_A_PROMPT, _PX = 20, 4, 64
_TABLE, _IMAGE, _WEIGHTS = "data.csv", "p00-0.png", "weights.safetensors"


def write_inputs(folder: Path) -> list[str]:
    """Write a table of noise, brighter where it is rated higher, and weights; their flags."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for number in range(_PROMPTS * _IMAGES_A_PROMPT):
        prompt, image = divmod(number, _IMAGES_A_PROMPT)
        quality, consistency = rng.uniform(1, 5, 2)
        pixels = rng.normal(50 * quality, 30, (_PX, _PX, 3)).clip(0, 255).astype(np.uint8)
        name = f"p{prompt:02d}-{image}.png"
        Image.fromarray(pixels).save(folder / name)
        row: dict[str, object] = {"name": name, "prompt": f"a picture of thing number {prompt}"}
        rows.append(row | {"mos_quality": quality, "mos_align": consistency})
    pd.DataFrame(rows).to_csv(folder / _TABLE, index=False)
    (folder / _WEIGHTS).write_bytes(TINY_WEIGHTS.read_bytes())
    flags = ["--table", str(folder / _TABLE), "--range_q", "1:5", "--range_c", "1:5"]
    flags += ["--protocol", "honest", "--cache", str(folder / "cache")]
    return [*flags, "--backbone", TINY_NAME, "--pretrained", str(folder / _WEIGHTS)]


def _brighter(image: Path) -> None:
    Image.fromarray((np.asarray(Image.open(image)) // 2 + 120).astype(np.uint8)).save(image)


def _other_weights(file: Path) -> None:
    weights = load_file(file)
    weights["text_projection"] = weights["text_projection"] * np.float32(1.01)
    file.write_bytes(save(weights))


def _other_rating(file: Path) -> None:
    table = pd.read_csv(file)
    table.loc[0, "mos_quality"] = 6 - table.loc[0, "mos_quality"]  # pyright: ignore[reportOperatorIssue]
    table.to_csv(file, index=False)


CHANGES: dict[str, tuple[str, Callable[[Path], None] | None, str]] = {
    "image": (_IMAGE, _brighter, "the images"),
    "weights": (_WEIGHTS, _other_weights, "the backbone's weights"),
    "rating": (_TABLE, _other_rating, "the data's contents"),
    "flag": ("", None, "MARGIN"),
}
"""File of each change, what is done to it, and the words by which the command names it."""


@contextlib.contextmanager
def changed(folder: Path, what: str) -> Iterator[list[str]]:
    """Change one input inside; yields the flags that the command has besides."""
    name, change, _ = CHANGES[what]
    if change is None:
        yield ["--margin", "0.05"]
        return
    file = folder / name
    before = file.read_bytes()
    change(file)
    try:
        yield []
    finally:
        file.write_bytes(before)


def refuses(command: list[str], folder: Path, what: str) -> str:
    """What is wrong with how a command takes a changed input, or nothing."""
    with changed(folder, what) as flags:
        done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode != 2 or CHANGES[what][2] not in done.stderr or "Traceback" in said:
        return f"a changed {what} was taken, exit status {done.returncode}:\n{said[-1000:]}"
    return ""

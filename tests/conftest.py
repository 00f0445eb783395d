"""Fixtures that several tests share: a narrow backbone and a small table of images."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.soak import ablation_command

NARROW_MODELS = Path(__file__).parent / "narrow_models"
SHARED = Path(__file__).resolve().parents[2] / "shared"
SHARED_DATA = SHARED / "data"


@pytest.fixture(scope="session")
def narrow_models() -> None:
    """Register the narrow models with open_clip: narrow-3 and narrow-24."""
    import open_clip

    open_clip.add_model_config(NARROW_MODELS)


def write_table(folder: Path, prompts: int = 12, images_per_prompt: int = 2) -> Path:
    """A small table of noise images whose brightness follows the quality; returns its CSV."""
    rng = np.random.default_rng(0)
    rows = []
    for prompt in range(prompts):
        for image in range(images_per_prompt):
            quality = rng.uniform(1, 5)
            pixels = rng.normal(50 * quality, 30, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            name = f"p{prompt:02d}_{image}.png"
            Image.fromarray(pixels).save(folder / name)
            rows.append(
                {
                    "name": name,
                    "prompt": f"a picture of thing number {prompt}",
                    "generator": f"generator {image}",
                    "mos_quality": quality,
                    "mos_align": rng.uniform(1, 5),
                    "explanation": "too dark" if quality < 3 else "",
                }
            )
    path = folder / "data.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The CSV of a small table: 12 prompts, 24 images of 32 px, both scores from 1 to 5."""
    yield write_table(tmp_path_factory.mktemp("table"))


@dataclass(frozen=True)
class FinishedAblation:
    """An ablation that nothing disturbed.

    Attributes:
        flags: What its command says beside the folder.
        out: Its folder.
        said: What it printed.
    """

    flags: list[str]
    out: Path
    said: str


@pytest.fixture(scope="session")
def finished_ablation(tmp_path_factory: pytest.TempPathFactory) -> FinishedAblation:
    """A smoke ablation of 20 prompts, with a tuning pool, on a backbone of random weights.

    Tests that use it belong to the group `ablation`, so that one worker makes it, once.
    """
    folder = tmp_path_factory.mktemp("ablation")
    values = {
        "profile": "smoke",
        "table": write_table(folder, prompts=20, images_per_prompt=4),
        "range_q": "1:5",
        "range_c": "1:5",
        "protocol": "honest",
        "pretrained": "none",
        "workers": "1",
        "cache": folder / "cache",
    }
    flags = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    out = folder / "out"
    done = subprocess.run(
        ablation_command(out, *flags), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return FinishedAblation(flags, out, done.stdout)

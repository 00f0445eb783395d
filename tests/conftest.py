"""Fixtures that several tests share: a narrow backbone and a small table of images."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

NARROW_MODELS = Path(__file__).parent / "narrow_models"
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


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
    """An ablation that was killed on its way and finished by the same command.

    Attributes:
        command: The command.
        out: Its folder.
        said: What the second run printed.
    """

    command: list[str]
    out: Path
    said: str


@pytest.fixture(scope="session")
def finished_ablation(tmp_path_factory: pytest.TempPathFactory) -> FinishedAblation:
    """A smoke ablation of 20 prompts, with a tuning pool, on a backbone of random weights.

    Tests that use it belong to the group `ablation`, so that one worker makes it, once.
    """
    folder = tmp_path_factory.mktemp("ablation")
    flags = {
        "profile": "smoke",
        "table": write_table(folder, prompts=20, images_per_prompt=4),
        "range_q": "1:5",
        "range_c": "1:5",
        "protocol": "honest",
        "pretrained": "none",
        "workers": "1",
        "out": folder / "out",
        "cache": folder / "cache",
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "experiments.ablation", *words]
    first = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert first.stdout is not None
    for line in first.stdout:
        if " confirm " in line:
            os.killpg(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stdout + second.stderr
    return FinishedAblation(command, folder / "out", second.stdout)

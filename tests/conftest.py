"""Fixtures that several tests share: a narrow backbone and a small table of images."""

from collections.abc import Iterator
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

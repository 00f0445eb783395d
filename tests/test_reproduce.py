"""What docs/reproduce.md types against the published tables runs, on a small random network."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
LINES = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()


@pytest.fixture
def agiqa3k(tmp_path: Path) -> Path:
    """AGIQA-3K in small: 12 prompts by two generators, files and columns named as its makers do."""
    root, rng = tmp_path / "AGIQA-3K", np.random.default_rng(0)
    root.mkdir()
    rows = ["name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align"]
    for maker in ("sd1.5_lowstep", "AttnGAN_normal"):
        for prompt in range(12):
            name, (quality, align) = f"{maker}_{prompt:03d}.jpg", rng.uniform(0.5, 4.5, 2)
            pixels = rng.normal(50 * quality, 30, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name)
            rows.append(f"{name},thing number {prompt},,,anime style,{quality},.5,{align},.5")
    (root / "data.csv").write_text("\n".join(rows))
    return root


def test_the_script_runs_with_a_small_network(
    agiqa3k: Path, narrow_folder: Path, tmp_path: Path
) -> None:
    assert len(LINES) <= 10
    small = {
        "/data/AGIQA-3K": str(agiqa3k),
        "BACKBONE=ViT-L-14": f"BACKBONE={narrow_folder}",
        "PRETRAINED=openai": f"PRETRAINED=none PROFILE=smoke WORKERS=1 CACHE={tmp_path / 'cache'}",
        "runs/": f"{tmp_path}/",
    }
    longer = ("OUT=runs/l14", "OUT=runs/l14-common", "OUT=runs/l14-table")  # tested elsewhere
    for line in LINES:
        if line.endswith(longer):
            continue
        for there, here in small.items():
            line = line.replace(there, here)
        command = ["make", "-s", "-o", ".venv/installed", *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, line + done.stdout + done.stderr
    results = json.loads((tmp_path / "l14-published" / "results.json").read_text())
    counts = {mode["srocc_quality"]["n"] for mode in results["guide_modes"].values()}
    assert len(counts) == 1  # prompts of the one test part
    assert results["recommendation"]["mode"] is None  # such a protocol decides nothing

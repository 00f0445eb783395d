"""What several tests share: narrow backbones, a small table, a finished ablation; and the order."""

import json
import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from xdist.scheduler import LoadScopeScheduling

from benchmarks.soak import ablation_command
from qa_core.config import run_config_from_flat
from qa_core.data.splits import Split, plan_splits
from qa_core.features.workspace import Workspace
from qa_core.records.mlflow_store import open_store
from qa_core.system.locking import waiting_lock
from qa_core.system.processes import usable_cores
from studies.engine.local import preload

NARROW_MODELS = Path(__file__).parent / "narrow_models"
SHARED = Path(__file__).resolve().parents[2] / "shared"
SHARED_DATA = SHARED / "data"

TOGETHER = {
    "test_ui": "test_ablation",
    "test_activations": "test_engine",
    "test_designed": "test_engine",
    "test_image_store": "test_engine",
    "test_tracking": "test_engine",
}
"""Files whose tests run in the worker of another file's, with which they share what is made."""

SLOWEST = (
    *("test_ablation", "test_engine", "test_baseline_cli"),
    *("test_cluster", "test_faults", "test_readme", "test_reproduce"),
)
"""Files that begin before all others, so that the workers end together."""


class ByFile(LoadScopeScheduling):
    """Gives all tests of a file to one worker, so that its fixtures are made once; files in order.

    xdist 3.8 ignores `xdist_group` under pytest 9.2, which keeps the names of tests elsewhere.
    """

    def __init__(self, config: pytest.Config, log: Any):
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return worker_of(Path(nodeid.partition("::")[0]))


def worker_of(file: Path) -> str:
    """What names the worker of a file's tests."""
    return TOGETHER.get(file.stem, file.stem)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """How `-n` shares out tests."""
    return ByFile(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than cores: tests of processes and servers wait half of their time."""
    return usable_cores() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first."""
    order = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: order.get(worker_of(item.path), len(order)))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random weights of a test are the same in every run and in every order of the tests."""
    torch.manual_seed(0)


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


@pytest.fixture(scope="module")
def workspace(
    narrow_models: None, small_table: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """The small table opened with the narrow model."""
    flags = {"backbone": "narrow-3", "pretrained": "none", "data_csv_path": str(small_table)}
    return Workspace.open(run_config_from_flat(flags), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def split(workspace: Workspace) -> Split:
    """The first split of the workspace, a file's own where it has one."""
    return plan_splits(workspace.table.frame["group"].to_numpy(str)).splits[0]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of all processes of this test run; who makes something in it holds a lock."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def narrow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The narrow model of 3 blocks as a folder, which any process can open by its path."""
    folder = tmp_path_factory.mktemp("narrow")
    architecture = json.loads((NARROW_MODELS / "narrow-3.json").read_text())
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": architecture}))
    return folder


@pytest.fixture(scope="session")
def created_store(shared_folder: Path) -> Path:
    """A folder with an empty store, made once for all processes because it takes seconds."""
    folder = shared_folder / "store"
    open_store(folder)
    return folder


@pytest.fixture
def processes() -> ForkServerContext | SpawnContext:
    """Starts processes that need not import anything first, where they can be forked.

    Files that use it, or the local engine, run together (`TOGETHER`): one server for all.
    """
    start = multiprocessing.get_context
    return start("forkserver") if preload() else start("spawn")


@dataclass(frozen=True)
class FinishedAblation:
    """An ablation that nothing disturbed.

    Attributes:
        flags: What its command says beside the folder and the number of workers.
        out: Its folder.
        said: What it printed.
    """

    flags: list[str]
    out: Path
    said: str


@pytest.fixture(scope="session")
def finished_ablation(shared_folder: Path, narrow_folder: Path) -> FinishedAblation:
    """A smoke ablation of 20 prompts, with a tuning pool, on a narrow backbone of random weights.

    The first process of a test run that asks for it makes it, once for all: no test may change it
    but those beside `test_ablation`, which one process runs, and they leave its results alone.
    """
    folder = shared_folder / "ablation"
    folder.mkdir(exist_ok=True)
    made = shared_folder / "ablation.json"  # not beside the table, whose folder is looked at
    with waiting_lock(made.with_suffix(".lock")):
        if not made.is_file():
            made.write_text(json.dumps(_run_ablation(folder, narrow_folder)))
    flags, said = json.loads(made.read_text())
    return FinishedAblation(flags, folder / "out", said)


def _run_ablation(folder: Path, backbone: Path) -> tuple[list[str], str]:
    """Run the ablation below a folder; its flags, and what it printed."""
    values = {
        "profile": "smoke",
        "table": write_table(folder, prompts=20, images_per_prompt=4),
        "range_q": "1:5",
        "range_c": "1:5",
        "protocol": "honest",
        "backbone": backbone,
        "pretrained": "none",
        "cache": folder / "cache",
    }
    flags = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    command = [*ablation_command(folder / "out", *flags), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return flags, done.stdout

"""Whether a device gives the answers of a processor, and the same ones twice."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.sizes import Sizes
from qa_core.arms import MODES
from qa_core.config import run_config_from_flat
from qa_core.data.protocols import plan_protocol
from qa_core.data.splits import Split
from qa_core.features.workspace import Workspace
from qa_core.measures.catalogue import SROCC
from qa_core.modes import mode_config
from qa_core.targets import TARGETS
from qa_core.training.training_run import RunResult, train_run


def answers(sizes: Sizes, device: str, scratch: Path, cache: Path) -> dict[str, Any]:
    """Test SROCC [device, CPU]; the largest differences of it, of embeddings, of a repeated run.

    The modes train on replicates of the embedded benchmark, on the device and on the CPU. On a card
    training is in bf16, so scores differ; the pretrained embeddings are computed in full precision.
    """
    here, there = (_open(name, sizes, cache) for name in (device, "cpu"))
    splits = plan_protocol(here.table.frame, n_splits=sizes.replicates).splits
    rows: list[dict[str, Any]] = []
    apart: list[float] = []
    for split in splits:
        for mode in MODES:
            ours, theirs = (_srocc(_run(mode, w, split, sizes)) for w in (here, there))
            apart += [abs(ours[target] - theirs[target]) for target in TARGETS]
            found = {t: [ours[t], theirs[t]] for t in TARGETS}
            rows.append({"mode": mode, "replicate": split.index} | found)
    parts = [w.holding(splits[0])[0].pretrained_embeddings().image for w in (here, there)]
    twice = [_run("residual", here, splits[0], sizes).predictions for _ in range(2)]
    assert twice[0] is not None and twice[1] is not None
    again = np.abs(twice[0][["q", "c"]].to_numpy() - twice[1][["q", "c"]].to_numpy())
    return {
        "rows": rows,
        "srocc_apart": max(apart),
        "embeddings_apart": float(np.abs(parts[0] - parts[1]).max()),
        "repeat_apart": float(again.max()),
    }


def _open(device: str, sizes: Sizes, cache: Path) -> Workspace:
    base = run_config_from_flat({"device": device})
    return Workspace.open(base, cache, None, sizes.replicates, sizes.of_replicate)


def _run(mode: str, workspace: Workspace, split: Split, sizes: Sizes) -> RunResult:
    base = run_config_from_flat({"device": workspace.device, "epochs": sizes.epochs})
    return train_run(mode_config(mode, base, workspace.spec), workspace, split, test=True)


def _srocc(result: RunResult) -> dict[str, float]:
    return {target: result.metrics[f"test_{SROCC.key(target)}"] for target in TARGETS}

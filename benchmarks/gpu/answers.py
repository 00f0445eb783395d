"""Whether a device gives the answers of a processor, and the same ones twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.sizes import Found, Sizes
from qa_core.config import run_config_from_flat
from qa_core.data.protocols import plan_protocol
from qa_core.data.splits import Split
from qa_core.features.workspace import Workspace
from qa_core.measures.metrics import srocc
from qa_core.modes import mode_config
from qa_core.targets import TARGETS
from qa_core.training.training_run import prepare_run


def answers(sizes: Sizes, device: str, scratch: Path, cache: Path) -> Iterator[Found]:
    """Test SROCC [device, CPU]; the largest differences of it, of embeddings, of a repeated run.

    The modes train on replicates of the embedded benchmark, on the device and on the CPU, and are
    tested after their last epoch. On a card training is in bf16 and convolutions in TF32, so scores
    and embeddings differ.
    """
    here, there = (_open(name, sizes, cache) for name in (device, "cpu"))
    splits = plan_protocol(here.table.frame, n_splits=sizes.replicates).splits
    rows: list[dict[str, Any]] = []
    for split in splits:
        for mode in sizes.modes:
            scores = [_scores(mode, w, split, sizes) for w in (here, there)]
            mos = here.table.frame.iloc[split.test]
            found = {
                t: [srocc(s[t.letter], mos[t.mos].to_numpy(float)) for s in scores] for t in TARGETS
            }
            rows.append({"mode": mode, "replicate": split.index} | found)
            yield {"rows": rows}
    parts = [w.holding(splits[0])[0].pretrained_embeddings().image for w in (here, there)]
    twice = [_scores(sizes.modes[0], here, splits[0], sizes) for _ in range(2)]
    yield {
        "rows": rows,
        "srocc_apart": max(abs(row[t][0] - row[t][1]) for row in rows for t in TARGETS),
        "embeddings_apart": float(np.abs(parts[0] - parts[1]).max()),
        "repeat_apart": max(float(np.abs(twice[0][k] - twice[1][k]).max()) for k in ("q", "c")),
    }


def _open(device: str, sizes: Sizes, cache: Path) -> Workspace:
    base = run_config_from_flat({"device": device})
    return Workspace.open(base, cache, None, sizes.replicates, sizes.of_replicate)


def _scores(mode: str, workspace: Workspace, split: Split, sizes: Sizes) -> dict[str, np.ndarray]:
    """Scores of the test part after training, by name."""
    base = run_config_from_flat({"device": workspace.device, "epochs": sizes.epochs})
    part, own = workspace.holding(split)
    _, trainer = prepare_run(mode_config(mode, base, workspace.spec), part, own)
    trainer.fit()
    return trainer.predict(own.test)

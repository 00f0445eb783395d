"""Full fine-tuning by images a second, memory, and the share of a card's peak that it reaches.

Random weights and pixels, images resident, bf16 where the device is a card; operations are counted
by torch on one step. The peak is that of the card given by name, dense bf16.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.sizes import Sizes
from benchmarks.sides import PROMPT, weights_of
from qa_core.backbones.backbone import load_backbone
from qa_core.backbones.tower import FROM_RAW
from qa_core.config import run_config_from_flat
from qa_core.model.quality_model import Batch, QualityModel, QualityOutput
from qa_core.modes import resolve
from qa_core.training.optim import make_optimizer

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 operations a second (NVIDIA data sheets, SXM)."""

Step = Callable[[], None]
Row = dict[str, Any]


def throughput(sizes: Sizes, device: str, scratch: Path, cache: Path) -> dict[str, list[Row]]:
    """A row for each backbone, batch and way to run a step, or why it could not be measured.

    Batches double for as long as they fit. On a card a step is also recorded as a CUDA graph, and,
    of the first backbone at the usual batch and of the last at its fastest, compiled.
    """
    rows: list[Row] = []
    for name in sizes.models:
        fitting = _doubled(name, sizes, device)
        rows += fitting
        if not _is_card(device) or "failed" in fitting[0]:
            continue
        fastest = max(fitting, key=lambda row: row.get("images_per_s", 0.0))["batch"]
        for batch in dict.fromkeys((sizes.batch, fastest)):
            rows.append(_row(name, batch, "graph", sizes, device))
        compiled_at = {sizes.models[-1]: fastest, sizes.models[0]: sizes.batch}
        if name in compiled_at:
            rows.append(_row(name, compiled_at[name], "compiled", sizes, device))
    return {"rows": rows}


def _doubled(name: str, sizes: Sizes, device: str) -> list[Row]:
    """Rows of eager steps; the last is the first that failed, where one did."""
    rows: list[Row] = []
    batch = sizes.batch
    while batch <= sizes.largest and not (rows and "failed" in rows[-1]):
        rows.append(_row(name, batch, "eager", sizes, device))
        batch *= 2
    return rows


def _row(name: str, batch: int, way: str, sizes: Sizes, device: str) -> Row:
    row = {"backbone": name, "batch": batch, "way": way}
    try:
        return row | measured(name, batch, way, sizes.steps, device)
    except Exception as error:  # one that does not run leaves the others their turn
        return row | {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}


def measured(backbone: str, batch_size: int, way: str, steps: int, device: str) -> Row:
    """Images a second, peak memory in GB, operations a step, and the share of the card's peak.

    Args:
        backbone: Any open_clip ViT.
        batch_size: Images a step.
        way: `eager`, `compiled` or `graph`.
        steps: Steps that are timed together, after some to warm up.
        device: Where to train.
    """
    base = run_config_from_flat(weights_of(backbone))
    tower = load_backbone(base.clip)
    config = resolve(base, tower.spec)
    model = QualityModel(tower, config).to(device).train()
    optimizer = make_optimizer(model, config.optim)
    batch = _noise(model, batch_size, device)
    # the weights of a forward pass are cast once each anyway, and a graph may not hold them
    amp = torch.autocast("cuda", torch.bfloat16, enabled=_is_card(device), cache_enabled=False)

    def eager(forward: Callable[[Batch], QualityOutput] = model) -> None:
        optimizer.zero_grad(set_to_none=True)
        with amp:
            output = forward(batch)
        (output.q.square().mean() + output.c.square().mean()).backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        eager()
    ways: dict[str, Callable[[], Step]] = {
        "eager": lambda: eager,
        "compiled": lambda: partial(eager, torch.compile(model)),
        "graph": lambda: _recorded(eager, optimizer),
    }
    seconds = _seconds_of(ways[way](), steps, device)
    operations, peak = counter.get_total_flops(), _peak(device)
    return {
        "images_per_s": batch_size / seconds,
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if _is_card(device) else None,
        "operations": operations,
        "share_of_peak": operations / seconds / peak if peak else None,
    }


def _seconds_of(step: Step, steps: int, device: str) -> float:
    """Mean seconds of a step, of many that follow each other; two go before."""
    for _ in range(2):
        step()
    if _is_card(device):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    if _is_card(device):
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def _recorded(step: Step, optimizer: torch.optim.Optimizer) -> Step:
    """The same step recorded once as a CUDA graph, and replayed."""
    for group in optimizer.param_groups:
        group["capturable"] = True
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _noise(model: QualityModel, batch_size: int, device: str) -> Batch:
    tower = model.backbone
    pixels = torch.randint(0, 256, (batch_size, 3, tower.image_size, tower.image_size))
    ids = tower.tokenize([PROMPT] * batch_size)
    parts = (pixels.to(torch.uint8), ids, ids, torch.arange(batch_size))
    return Batch(*(part.to(device) for part in parts), entry=FROM_RAW)


def _is_card(device: str) -> bool:
    return torch.device(device).type == "cuda"


def _peak(device: str) -> float | None:
    if not _is_card(device):
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for card, peak in PEAKS.items() if card in name), None)

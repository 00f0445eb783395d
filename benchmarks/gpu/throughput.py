"""Full fine-tuning by images a second, memory, and the share of a card's peak that it reaches.

Random weights and pixels, images resident, bf16 where the device is a card; operations are counted
by torch on one step. The peak is that of the card given by name, dense bf16.
"""

import copy
import functools
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch.nn.utils import clip_grad_norm_
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.sizes import Found, Sizes
from benchmarks.sides import PROMPT, weights_of
from qa_core.backbones.backbone import Backbone, load_backbone
from qa_core.backbones.tower import FROM_RAW
from qa_core.config import run_config_from_flat
from qa_core.model.quality_model import Batch, QualityModel, QualityOutput
from qa_core.modes import resolve
from qa_core.system.device import is_card
from qa_core.training.optim import make_optimizer

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 operations a second (NVIDIA data sheets, SXM)."""

Step = Callable[[], None]


def throughput(sizes: Sizes, device: str, scratch: Path, cache: Path) -> Iterator[Found]:
    """A row for each backbone, batch and way to run a step, or why it could not be measured.

    Batches double for as long as they fit. On a card a step is also recorded as a CUDA graph, and,
    of the first backbone at the usual batch and of the last at its fastest, compiled.
    """
    rows: list[Found] = []
    for name in sizes.models:
        of_model: list[Found] = []
        for batch in _doubled(sizes):
            of_model.append(_row(name, batch, "eager", sizes, device))
            yield {"rows": rows + of_model}
            if "failed" in of_model[-1]:
                break
        rows += of_model
        if not is_card(device) or "failed" in of_model[0]:
            continue
        fastest = max(of_model, key=lambda row: row.get("images_per_s", 0.0))["batch"]
        more = [("graph", batch) for batch in dict.fromkeys((sizes.batch, fastest))]
        more += [("compiled", sizes.batch)] if name == sizes.models[0] else []
        more += [("compiled", fastest)] if name == sizes.models[-1] else []
        for way, batch in more:
            rows.append(_row(name, batch, way, sizes, device))
            yield {"rows": rows}


def _doubled(sizes: Sizes) -> Iterator[int]:
    batch = sizes.batch
    while batch <= sizes.largest:
        yield batch
        batch *= 2


def _row(name: str, batch: int, way: str, sizes: Sizes, device: str) -> Found:
    row = {"backbone": name, "batch": batch, "way": way}
    try:
        return row | measured(name, batch, way, sizes.steps, device)
    except Exception as error:  # one that does not run leaves the others their turn
        return row | {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}


@functools.cache
def _tower(name: str) -> Backbone:
    """A backbone, made once: its weights are hashed, which takes seconds."""
    return load_backbone(run_config_from_flat(weights_of(name)).clip)


def measured(backbone: str, batch_size: int, way: str, steps: int, device: str) -> Found:
    """Images a second, peak memory in GB, operations a step, and the share of the card's peak.

    Args:
        backbone: Any open_clip ViT.
        batch_size: Images a step.
        way: `eager`, `compiled` or `graph`.
        steps: Steps that are timed together, after some to warm up.
        device: Where to train.
    """
    tower = copy.deepcopy(_tower(backbone))
    config = resolve(run_config_from_flat(weights_of(backbone)), tower.spec)
    model = QualityModel(tower, config).to(device).train()
    optimizer = make_optimizer(model, config.optim)
    batch = _noise(model, batch_size, device)
    # the weights of a forward pass are cast once each anyway, and a graph may not hold them
    amp = torch.autocast("cuda", torch.bfloat16, enabled=is_card(device), cache_enabled=False)

    def eager(forward: Callable[[Batch], QualityOutput] = model) -> None:
        optimizer.zero_grad(set_to_none=True)
        with amp:
            output = forward(batch)
        (output.q.square().mean() + output.c.square().mean()).backward()
        clip_grad_norm_(model.parameters(), config.optim.max_grad_norm)
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
        "peak_memory_gb": _peak_memory_gb(way, device),
        "operations": operations,
        "share_of_peak": operations / seconds / peak if peak else None,
    }


def _seconds_of(step: Step, steps: int, device: str) -> float:
    """Mean seconds of a step, of many that follow each other; two go before."""
    for _ in range(2):
        step()
    if is_card(device):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    if is_card(device):
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def _peak_memory_gb(way: str, device: str) -> float | None:
    """What was allocated; None of a graph, whose memory the allocator does not see used again."""
    if way == "graph" or not is_card(device):
        return None
    return torch.cuda.max_memory_allocated() / 1e9


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


def _peak(device: str) -> float | None:
    if not is_card(device):
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for card, peak in PEAKS.items() if card in name), None)

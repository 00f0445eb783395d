"""Full fine-tuning by images a second, memory, and the share of a card's peak that it reaches.

    python -m benchmarks.gpu_throughput --device cuda

Random weights and pixels, images resident, bf16 where the device has it; operations are counted by
torch on one step. The peak is that of the card given by name, dense bf16.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from qa_core.backbones.backbone import load_backbone
from qa_core.backbones.tower import FROM_RAW
from qa_core.config import run_config_from_flat
from qa_core.model.quality_model import Batch, QualityModel
from qa_core.modes import resolve
from qa_core.training.optim import make_optimizer

MODELS = ("ViT-B-32", "ViT-B-16", "ViT-L-14")
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 operations a second (NVIDIA data sheets, SXM)."""
PROMPT = "a small dark purple ring, a large brown heart and a dark green diamond"


def throughput(backbone: str, batch_size: int, device: str, steps: int = 20) -> dict[str, Any]:
    """Images a second, peak memory in GB, operations a step, and the share of the card's peak.

    Args:
        backbone: Any open_clip ViT.
        batch_size: Images a step.
        device: Where to train.
        steps: Steps of which the median counts, after two to warm up.
    """
    flags = {"backbone": backbone, "pretrained": "none"}
    base = run_config_from_flat(flags)
    tower = load_backbone(base.clip)
    config = resolve(base, tower.spec)
    model = QualityModel(tower, config).to(device).train()
    optimizer = make_optimizer(model, config.optim)
    batch = _noise(model, batch_size, device)
    on_card = torch.device(device).type == "cuda"

    def step() -> None:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=on_card):
            output = model(batch)
        (output.q.square().mean() + output.c.square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_card:
            torch.cuda.synchronize()

    with FlopCounterMode(display=False) as counter:
        step()
    step()
    seconds = statistics.median(_timed(step) for _ in range(steps))
    operations = counter.get_total_flops()
    peak = _peak(device)
    return {
        "images_per_s": batch_size / seconds,
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if on_card else None,
        "operations": operations,
        "share_of_peak": None if peak is None else operations / seconds / peak,
    }


def _noise(model: QualityModel, batch_size: int, device: str) -> Batch:
    tower = model.backbone
    pixels = torch.randint(0, 256, (batch_size, 3, tower.image_size, tower.image_size))
    ids = tower.tokenize([PROMPT] * batch_size)
    parts = (pixels.to(torch.uint8), ids, ids, torch.arange(batch_size))
    return Batch(*(part.to(device) for part in parts), entry=FROM_RAW)


def _timed(step: Any) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def _peak(device: str) -> float | None:
    if torch.device(device).type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for card, peak in PEAKS.items() if card in name), None)


def main() -> None:
    """Measure every model and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch_size", type=int, default=128)
    args = parser.parse_args()
    table = Table("backbone", "images/s", "GB", "share of peak")
    for name in MODELS:
        found = throughput(name, args.batch_size, args.device)
        memory, share = found["peak_memory_gb"], found["share_of_peak"]
        words = ["" if memory is None else f"{memory:.1f}", "" if share is None else f"{share:.0%}"]
        table.add_row(name, f"{found['images_per_s']:.0f}", *words)
    Console().print(table)


if __name__ == "__main__":
    main()

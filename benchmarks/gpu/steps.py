"""Where a step of training waits: time in kernels against the clock, and waits for the card."""

import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.sizes import Sizes, bench_of, config_of
from qa_core.training.training_run import prepare_run

KERNELS_SHOWN = 8


def steps(sizes: Sizes, device: str, scratch: Path, cache: Path) -> dict[str, Any]:
    """An epoch of full fine-tuning on the first backbone, as training does it, by its steps.

    `waits` are the operations of an epoch in which the processor waited for the card, by torch's
    own count; the sums of its losses are read once, after this.
    """
    backbone, on_card = sizes.models[0], torch.device(device).type == "cuda"
    bench = bench_of(backbone, sizes, device, scratch)
    _, trainer = prepare_run(
        config_of(bench, backbone, "residual", sizes), bench.workspace, bench.split
    )
    trainer.model.train()

    def epoch() -> None:
        for micro_batches in trainer._steps(1):
            trainer._step(micro_batches)

    def settled_epoch() -> None:
        epoch()
        if on_card:
            torch.cuda.synchronize()

    settled_epoch()
    started = time.perf_counter()
    settled_epoch()
    clock_s = time.perf_counter() - started
    with profile(activities=[ProfilerActivity.CUDA if on_card else ProfilerActivity.CPU]) as seen:
        settled_epoch()
    kernels = {
        event.key: (event.self_device_time_total if on_card else event.self_cpu_time_total) / 1e6
        for event in seen.key_averages()
    }
    longest = sorted(kernels, key=lambda key: -kernels[key])[:KERNELS_SHOWN]
    count = trainer.steps_per_epoch
    return {
        "backbone": backbone,
        "batch": trainer.config.train.batch_size,
        "step_s": clock_s / count,
        "kernels_s": sum(kernels.values()) / count,
        "longest_s": {name[:80]: kernels[name] / count for name in longest},
        "waits": _waits(epoch) if on_card else None,
    }


def _waits(work: Any) -> int:
    """How often some work waits for the card."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in told)

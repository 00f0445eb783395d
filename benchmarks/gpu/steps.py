"""Where a step of training waits: time in kernels against the clock, and waits for the card."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.sizes import Found, Sizes, bench_of, config_of
from qa_core.system.device import is_card
from qa_core.training.training_run import prepare_run

STEPS, KERNELS_SHOWN = 10, 8


def steps(sizes: Sizes, device: str, scratch: Path, cache: Path) -> Iterator[Found]:
    """Some steps of full fine-tuning on the first backbone, as training does them.

    `waits` are the operations of a step in which the processor waited for the card, by torch's own
    count; the sums of losses are read once an epoch, after this.
    """
    backbone, on_card = sizes.models[0], is_card(device)
    bench = bench_of(backbone, sizes, device, scratch)
    config = config_of(bench, backbone, "residual", sizes)
    _, trainer = prepare_run(config, bench.workspace, bench.split)
    trainer.model.train()
    count = min(STEPS, trainer.steps_per_epoch)

    def some() -> None:
        for micro_batches in itertools.islice(trainer._steps(1), count):
            trainer._step(micro_batches)

    def settled() -> None:
        some()
        if on_card:
            torch.cuda.synchronize()

    settled()
    started = time.perf_counter()
    settled()
    step_s = (time.perf_counter() - started) / count
    found: Found = {"backbone": backbone, "batch": config.train.batch_size, "step_s": step_s}
    found["waits"] = _waits(some) / count if on_card else None
    yield found
    yield found | _kernels(settled, count, on_card)


def _kernels(work: Callable[[], None], count: int, on_card: bool) -> Found:
    """Seconds of a step in kernels, and in those that take longest."""
    with profile(activities=[ProfilerActivity.CUDA if on_card else ProfilerActivity.CPU]) as seen:
        work()
    kernels = {
        event.key: (event.self_device_time_total if on_card else event.self_cpu_time_total) / 1e6
        for event in seen.key_averages()
    }
    if not sum(kernels.values()):
        raise RuntimeError("The profiler saw no kernel: CUPTI may be missing or forbidden here.")
    longest = sorted(kernels, key=lambda key: -kernels[key])[:KERNELS_SHOWN]
    return {
        "kernels_s": sum(kernels.values()) / count,
        "longest_s": {name[:80]: kernels[name] / count for name in longest},
    }


def _waits(work: Callable[[], None]) -> int:
    """How often some work waits for the card."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in told)

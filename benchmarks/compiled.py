"""What `torch.compile` would earn: a training step of full fine-tuning, eager and compiled."""

from typing import Any

import torch

from benchmarks.sides import Bench, bench_config, comparison, in_memory, timed, training_step


def compiled_step(bench: Bench) -> dict[str, Any]:
    """`compiled_step` (eager / compiled, steps in turn) and `compiling_s`.

    `compiling_s` is the first pass over the batches, in which the graphs are made, for each length
    of text and then for any; nothing kept on disk from earlier processes helps it.
    """
    config = bench_config(bench, "residual")
    model, batches = in_memory(bench, config)
    eager, compiled = (
        training_step(model, forward, config) for forward in (model, torch.compile(model))
    )
    with torch.compiler.config.patch(force_disable_caches=True):  # pyright: ignore[reportAttributeAccessIssue]
        compiling = timed(lambda: [compiled(batch) for batch in batches])
        row = comparison(
            lambda: timed(lambda: [eager(batch) for batch in batches]),
            lambda: timed(lambda: [compiled(batch) for batch in batches]),
        )
    return {"compiled_step": row, "compiling_s": compiling}

"""What freezing saves: the first pass over a data set and the later epochs, by how much trains."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.sizes import Found, Sizes, bench_of, config_of
from benchmarks.sides import our_epoch, timed


def frozen(sizes: Sizes, device: str, scratch: Path, cache: Path) -> Iterator[Found]:
    """Seconds of the pass that fills the cache, and of the last epoch with its validation."""
    bench = bench_of(sizes.large, sizes, device, scratch)
    modes: dict[str, tuple[str, dict[str, Any]]] = {
        "probe": ("linear_probe", {}),
        "partial_freeze": ("residual_partial_freeze", {"freeze_layers": sizes.frozen_blocks}),
        "full": ("residual", {}),
    }
    rows: dict[str, dict[str, float]] = {}
    for name, (mode, flags) in modes.items():
        config = config_of(bench, sizes.large, mode, sizes, **flags)
        first = timed(lambda config=config: bench.workspace.warm([config]))
        rows[name] = {"first_pass_s": first, "epoch_s": our_epoch(bench, config)}
        yield {"backbone": sizes.large, "images": sizes.images, "rows": rows}

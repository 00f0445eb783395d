"""The measurement of full fine-tuning runs on a CPU as well, and counts the operations."""

import pytest

from benchmarks.gpu_throughput import throughput


def test_operations_grow_with_the_batch(narrow_models: None) -> None:
    one, two = (throughput("narrow-3", size, "cpu", steps=1) for size in (2, 4))
    assert two["operations"] == pytest.approx(2 * one["operations"], rel=0.01)
    assert one["images_per_s"] > 0 and one["share_of_peak"] is None

"""Seeds: the same seed gives the same run, whatever ran before it in the process."""

import hashlib
import random

import numpy as np
import torch


def seed_everything(*parts: object) -> None:
    """Seed Python, NumPy and torch from the given values, such as a seed and an epoch."""
    seed = derived_seed(*parts)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 -- libraries below may use the global generator
    torch.manual_seed(seed)


def derived_seed(*parts: object) -> int:
    """A seed in [0, 2**32) that depends on every part and on nothing else."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

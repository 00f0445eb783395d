"""Seeds: the same seed gives the same run, whatever ran before it in the process."""

import hashlib
import random

import numpy as np
import torch
from torch import Tensor


def seed_everything(*parts: object) -> None:
    """Seed Python, NumPy and torch from the given values, such as a seed and an epoch."""
    seed = derived_seed(*parts)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 -- libraries below may use the global generator
    torch.manual_seed(seed)


def random_state() -> list[Tensor]:
    """State of torch's random generators, on the CPU and on every card in use."""
    cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *cards]


def restore_random_state(state: list[Tensor]) -> None:
    """Restore the state of torch's random generators."""
    torch.set_rng_state(state[0])
    if state[1:]:
        torch.cuda.set_rng_state_all(state[1:])


def derived_seed(*parts: object) -> int:
    """A seed in [0, 2**32) that depends on every part and on nothing else."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def seed_of_split(seed: int, index: int) -> int:
    """The seed in [0, 2**31) of a run on the split of this number, the same for all modes."""
    return derived_seed(seed, "split", index) % 2**31

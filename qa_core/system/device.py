"""The device that tensors are computed on."""

import torch
from torch import Tensor

from qa_core.errors import UserError

DEVICES = ("cpu", "cuda", "mps")


def pick_device(asked: str) -> str:
    """The device to run on: as asked, or the best there is for `auto`.

    Raises:
        UserError: This machine has no such device.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        known = torch.empty(0, device=asked).device.type in DEVICES
    except (RuntimeError, AssertionError):  # the latter from a torch that was built without CUDA
        known = False
    if not known:
        raise UserError(f"--device {asked} is not on this machine: take cpu, or leave it at auto.")
    return asked


def is_card(device: str) -> bool:
    """Whether a device is an NVIDIA GPU."""
    return device.startswith("cuda")


def copied_to(device: str, part: Tensor) -> Tensor:
    """A tensor on a device: a copy, for whose way to a GPU the processor does not wait.

    On the processor it is copied too: torch aligns its memory, NumPy does not, and MKL's last
    digits may depend on it.
    """
    if is_card(device):
        if part.is_cuda:
            return part
        # of a tensor with gaps torch would first make one without, in memory that is not pinned
        return part.contiguous().pin_memory().to(device, non_blocking=True)
    return part.to(device, copy=True)

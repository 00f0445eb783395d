"""The device that tensors are computed on."""

import torch

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

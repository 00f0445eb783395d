"""Doing the same work in smaller pieces where a device's memory does not suffice."""

from collections.abc import Callable
from typing import TypeVar

import torch

from qa_core.errors import UserError

Result = TypeVar("Result")


def in_pieces_that_fit(rows: int, attempt: Callable[[int], Result]) -> tuple[Result, int]:
    """What `attempt(rows)` returns, the rows halved for as long as the memory does not suffice.

    Args:
        rows: The most rows to hold in memory at once.
        attempt: Does all of the work, so many rows at once; called again from the start.

    Returns:
        Its result, and the number of rows that fitted.

    Raises:
        UserError: Not even a single row fits.
    """
    while True:
        try:
            return attempt(rows), rows
        except torch.OutOfMemoryError as error:
            if rows == 1:
                raise UserError(
                    "Not even one image fits into the memory of this device: take a smaller"
                    " --backbone, freeze more of it, or --device cpu."
                ) from error
        # Outside `except`: there the traceback still holds the tensors that did not fit.
        rows = -(-rows // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

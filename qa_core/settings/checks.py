"""Checks of flags: whoever gives a bad value is told in one sentence."""

import math

from qa_core.errors import UserError


def require(condition: bool, sentence: str) -> None:
    """Raise a UserError with this sentence unless a condition holds."""
    if not condition:
        raise UserError(sentence)


def require_range(flag: str, value: float | None, low: float, high: float) -> None:
    """Refuse a flag's value outside a closed range; None, which is not set, passes."""
    if value is not None and not low <= value <= high:
        raise UserError(f"--{flag} {value:g} is outside {low:g} to {high:g}.")


def require_positive(flag: str, value: float | None) -> None:
    """Refuse a flag's value that is not above 0 and finite; None, which is not set, passes."""
    if value is not None and not 0 < value < math.inf:
        raise UserError(f"--{flag} must be a positive number, not {value:g}.")

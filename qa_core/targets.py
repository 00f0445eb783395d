"""The two targets, and how each is spelled: in tables, predictions, flags and words."""

from enum import StrEnum


class Target(StrEnum):
    """What a model predicts of an image, in [0, 1]; equal to its name as text."""

    QUALITY = "quality"
    CONSISTENCY = "consistency"

    @property
    def letter(self) -> str:
        """What its predictions and flags are spelled with: `q` or `c`."""
        return self.value[0]

    @property
    def mos(self) -> str:
        """Column of its mean opinion score."""
        return f"mos_{self.value}"

    @property
    def prediction(self) -> str:
        """Column of its prediction, and the key of the forward pass's output."""
        return self.letter

    @property
    def base(self) -> str:
        """Column of the prediction's base, where there is a residual."""
        return f"{self.letter}_base"

    @property
    def delta(self) -> str:
        """Column of the bounded correction in [-1, 1], where there is a residual."""
        return f"{self.letter}_delta"

    @property
    def scale(self) -> str:
        """Flag, and column, of the factor on the correction."""
        return f"residual_scale_{self.letter}"


TARGETS = tuple(Target)
"""Both, in the order of tables and pages."""

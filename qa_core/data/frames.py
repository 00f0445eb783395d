"""Parts of frames by the types that they have; pandas' own annotations leave them open."""

from typing import cast

import pandas as pd


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column (n,) of a frame."""
    return cast("pd.Series", frame[name])


def rows_where(frame: pd.DataFrame, chosen: object) -> pd.DataFrame:
    """The rows of a frame that a column (n,) of truth values chooses."""
    return cast("pd.DataFrame", frame[chosen])

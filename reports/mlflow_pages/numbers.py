"""Scores as MLflow's pages write them."""

from collections.abc import Mapping
from typing import Any

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Param
from reports.statistics import told_bounds


def size_words(params: Mapping[str, str], results: Mapping[str, Any]) -> str:
    """How many images, and of how many prompts where there are any."""
    if results.get("recommendation", {}).get("counted") == "images":
        return f"{params[Param.N_IMAGES]} images without prompts"
    return f"{params[Param.N_IMAGES]} images of {params[Param.N_PROMPTS]} prompts"


def score_words(entry: Mapping[str, Any], scale: tuple[float, float] = SROCC.scale) -> str:
    """A mean with its interval, within what it can be; a dash where it is undefined."""
    if entry.get("mean") is None:
        return "–"
    words = f"{entry['mean']:.3f}"
    if entry.get("low") is None:
        return words
    bounds = told_bounds(entry["low"], entry["high"], scale)
    return f"{words} [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else f"{words} [cannot be told]"

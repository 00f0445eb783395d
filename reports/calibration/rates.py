"""How often the shipped decisions err on families of contrasts whose truth is 0, and what they see.

A truth other than 0 is had by moving every estimate: errors do not depend on it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qa_core.system.files import written_whole
from reports.inference.decisions import ALPHA, MARGIN, Word, decide_family
from reports.inference.estimates import Estimate

Families = Sequence[Sequence[Estimate]]
Rates = dict[str, Any]

LIFTS = (0.01, 0.02, 0.03)
MARGINS = (0.01, 0.02, 0.03)


def rates_of(families: Families, lifted: Sequence[int]) -> Rates:
    """What the decisions do, as calibration.json holds it for a design.

    `fwer`: share of families in which any of the equal contrasts is called better or worse.
    `wrong_same`: in which any is called the same, where all truths lie at the margin. `coverage`:
    share of single 95 % intervals that hold the truth. `power`: share of lifted contrasts called
    better within their family. `same_within`: share of equal contrasts called the same.

    Args:
        families: Estimates of each simulated data set, every truth 0.
        lifted: Contrasts that are lifted together to count power.
    """
    covered = [low <= 0 <= high for family in families for low, high in _bounds(family)]
    plain = [decide_family(family) for family in families]
    at_margin = [decide_family(_moved(family, MARGIN)) for family in families]
    called = [any(d.word in (Word.BETTER, Word.WORSE) for d in found) for found in plain]
    fooled = [any(d.within_margin for d in found) for found in at_margin]
    return {
        "fwer": float(np.mean(called)),
        "wrong_same": float(np.mean(fooled)),
        "coverage": float(np.mean(covered)),
        "power": {f"{lift:.2f}".lstrip("0"): _power(families, lift, lifted) for lift in LIFTS},
        "same_within": {f"{m:.2f}".lstrip("0"): _same(families, m) for m in MARGINS},
        "half_width": float(np.median([h - low for f in families for low, h in _bounds(f)]) / 2),
        "n": len(families),
    }


def worst_of(worlds: dict[str, Rates]) -> Rates:
    """The least favourable figure of several worlds, measure by measure, and the worlds apart."""
    rates = list(worlds.values())

    def least(measure: str) -> dict[str, float]:
        return {at: min(own[measure][at] for own in rates) for at in rates[0][measure]}

    return {
        "fwer": max(own["fwer"] for own in rates),
        "wrong_same": max(own["wrong_same"] for own in rates),
        "coverage": min(own["coverage"] for own in rates),
        "power": least("power"),
        "same_within": least("same_within"),
        "n": rates[0]["n"],
        "worlds": worlds,
    }


def table(designs: dict[str, Rates]) -> str:
    """The rates of each design as a Markdown table, one row a world."""
    powers, margins = (f"{lift:.2f}".lstrip("0") for lift in LIFTS), MARGINS
    lines = [
        "| design | world | equals called | wrong “same” | intervals cover | half-width "
        + "".join(f"| power at {lift} " for lift in powers)
        + "".join(f"| same within {m:.2f} " for m in margins)
        + "|",
        "|---" * (6 + len(LIFTS) + len(MARGINS)) + "|",
    ]
    for design, own in designs.items():
        for world, rates in own["worlds"].items():
            measured = ("fwer", "wrong_same", "coverage", "half_width")
            cells = [f"{rates[measure]:.3f}" for measure in measured]
            cells += [f"{v:.2f}" for m in ("power", "same_within") for v in rates[m].values()]
            lines.append(f"| {' | '.join([design, world, *cells])} |")
    return "\n".join(lines)


def write_rates(out: Path, found: Rates, words: str) -> None:
    """Write keys of calibration.json, whose others stay, and print what they say."""
    before: Rates = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as partial:
        partial.write_text(json.dumps(before | found, indent=1) + "\n", encoding="utf-8")
    print(words, f"Written to {out}.", sep="\n\n")


def _power(families: Families, lift: float, lifted: Sequence[int]) -> float:
    found = (decide_family(_moved(family, lift, lifted)) for family in families)
    return float(np.mean([decided[k].word is Word.BETTER for decided in found for k in lifted]))


def _same(families: Families, margin: float) -> float:
    found = (decide_family(family, margin) for family in families)
    return float(np.mean([decision.word is Word.SAME for decided in found for decision in decided]))


def _moved(
    family: Sequence[Estimate], by: float, which: Sequence[int] | None = None
) -> list[Estimate]:
    chosen = range(len(family)) if which is None else which
    return [replace(e, mean=e.mean + by) if k in chosen else e for k, e in enumerate(family)]


def _bounds(family: Sequence[Estimate]) -> list[tuple[float, float]]:
    return [estimate.bounds(1 - ALPHA) for estimate in family]

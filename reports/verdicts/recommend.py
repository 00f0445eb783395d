"""Which mode to take: the cheapest that is shown to be not worse than the best, but for a margin.

A mode is not worse than the best where it is not worse than each rival on each target, so one-sided
tests against a shortfall of the margin must all hold (the intersection-union test: Berger 1982);
over the modes their p values are Holm's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qa_core.arms import MODES
from qa_core.measures.catalogue import EPOCH_SECONDS, GAP_LAST, PARAMETERS, RETENTION, SROCC
from qa_core.records.schema import Param, Setting
from reports.evidence.ablation import Ablation
from reports.inference.decisions import ALPHA
from reports.inference.estimates import Estimate
from reports.inference.power import prompts_needed, smallest_difference
from reports.language import phrase
from reports.statistics import holm, holm_levels
from reports.verdicts.measured import Entry, measure_pair
from reports.verdicts.standing import Table, unbeaten

FEWEST_DEGREES = 4
"""With fewer degrees of freedom an error is too uncertain to say how many prompts it would take."""


@dataclass(frozen=True)
class Shortfall:
    """A mode beside a rival on a target, and what tells that it is not worse.

    Attributes:
        target: The target.
        rival: The other mode.
        estimate: Mode minus rival.
        p: One-sided p value against a shortfall of the margin or more.
    """

    target: str
    rival: str
    estimate: Estimate
    p: float


def recommend(ablation: Ablation, entries: Table, baselines: Table) -> Entry:
    """`recommendation` of results.json, at the guide's setting.

    Args:
        ablation: The ablation.
        entries: Entries of the modes.
        baselines: Entries of the references.
    """
    margin = ablation.margin
    asked = {
        "margin": margin,
        "setting": Setting.GUIDE.value,
        "n_targets": len(ablation.targets),
        "counted": "prompts" if ablation.has_prompts else "images",
        "unbeaten": unbeaten(ablation, entries, baselines),
    }
    contrasts = _contrasts(ablation) if ablation.decides else {}
    weakest = {mode: max(own, key=lambda one: one.p) for mode, own in contrasts.items()}
    if not weakest:
        reason = phrase("no two modes can be compared on every target by this protocol’s splits")
        if len(MODES.keys() & set(ablation.mode_names)) < 2:
            reason = phrase("fewer than two modes were confirmed")
        return asked | {"mode": None, "reason": str(reason)}
    p_values = np.array([one.p for one in weakest.values()])
    adjusted = dict(zip(weakest, map(float, holm(p_values)), strict=True))
    levels = dict(zip(weakest, map(float, holm_levels(p_values, ALPHA)), strict=True))
    shown = [mode for mode in weakest if adjusted[mode] <= ALPHA]
    one_sided = {mode: 1 - 2 * (1 - level) for mode, level in levels.items()}
    best = max(weakest, key=lambda mode: _mean_srocc(ablation, entries[mode]))
    chosen = min(shown, key=lambda mode: _cost(entries[mode]), default=None)
    named = dict.fromkeys(mode for mode in (chosen, best) if mode is not None)
    return asked | {
        "mode": chosen,
        "reason": str(_reason(chosen, weakest, margin)),
        "best": best,
        "figures": {mode: _figures(ablation, entries[mode]) for mode in named},
        "candidates": {
            mode: {
                "p_holm": adjusted[mode],
                "target": one.target,
                "rival": one.rival,
                "difference": one.estimate.mean,
                "low_holm": one.estimate.bounds(one_sided[mode])[0],
                "lowest_holm": min(c.estimate.bounds(one_sided[mode])[0] for c in contrasts[mode]),
            }
            for mode, one in weakest.items()
        },
        "prompts_needed": None if chosen is not None else _prompts(ablation, weakest),
    }


def _contrasts(ablation: Ablation) -> dict[str, list[Shortfall]]:
    """By mode, of those of the four that have finished; none where a contrast is missing."""
    modes = [mode for mode in MODES if mode in ablation.mode_names]
    found: dict[str, list[Shortfall]] = {}
    for mode in modes if len(modes) > 1 else ():
        contrasts: list[Shortfall] = []
        for target in ablation.targets:
            for rival in modes:
                if rival == mode:
                    continue
                metric = SROCC.logged(target)
                estimate = measure_pair(ablation, mode, rival, metric, Setting.GUIDE).estimate
                if estimate is None:
                    return {}
                p = estimate.p_above(-ablation.margin)
                contrasts.append(Shortfall(target, rival, estimate, p))
        found[mode] = contrasts
    return found


def _mean_srocc(ablation: Ablation, entries: Mapping[str, Entry]) -> float:
    return float(np.mean([entries[SROCC.key(target)]["mean"] for target in ablation.targets]))


def _cost(entries: Mapping[str, Entry]) -> float:
    """Trained parameters: unlike seconds they are the same in every run."""
    parameters = entries[PARAMETERS.key()]["mean"]
    return float("inf") if parameters is None else float(parameters)


def _figures(ablation: Ablation, entries: Mapping[str, Entry]) -> dict[str, float | None]:
    names = [measure.key(target) for measure in (SROCC, GAP_LAST) for target in ablation.targets]
    names += [measure.key() for measure in (RETENTION, PARAMETERS, EPOCH_SECONDS)]
    return {name: entries[name]["mean"] for name in names}


def _reason(chosen: str | None, weakest: Mapping[str, Shortfall], margin: float) -> str:
    words = f"{margin:g}".removeprefix("0")
    if chosen is not None:
        return phrase(
            "the cheapest of the modes that are shown to be not worse than the best by more than"
            " {margin} SROCC on any target",
            margin=words,
        )
    if all(one.estimate.mean < -margin for one in weakest.values()):
        return phrase(
            "each mode falls short of another by more than {margin} SROCC on some target",
            margin=words,
        )
    return phrase(
        "no mode is shown to be not worse than the best by more than {margin} SROCC on every"
        " target",
        margin=words,
    )


def _prompts(ablation: Ablation, weakest: Mapping[str, Shortfall]) -> int | None:
    """Prompts at which four of five runs would show the likeliest mode, if none is better.

    None where every mode falls short in the mean, or the error is too uncertain.
    """
    within = [one for one in weakest.values() if one.estimate.mean >= -ablation.margin]
    if not within:
        return None
    estimate = min(within, key=lambda one: one.p).estimate
    if estimate.degrees < FEWEST_DEGREES:
        return None
    # a two-sided test at twice the level is a one-sided one
    smallest = smallest_difference(estimate.error, estimate.degrees, 2 * ALPHA / len(weakest))
    return prompts_needed(smallest, ablation.margin, int(ablation.params[Param.N_PROMPTS]))

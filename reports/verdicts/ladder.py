"""The ladder: what each rung scores, keeps and trains, and which are not worse than all of CLIP.

A rung is not worse than full fine-tuning where it is so on each target, so one-sided tests against
a shortfall of the margin must all hold (the intersection-union test: Berger 1982); over the rungs
their p values are Holm's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qa_core.measures.catalogue import PARAMETERS, RETENTION, SROCC
from qa_core.targets import Target
from reports.evidence.frames import mode_rank
from reports.evidence.studies import Study
from reports.inference.decisions import ALPHA
from reports.statistics import Interval, holm
from reports.verdicts.measured import measure, measure_study, side_of_study

FULL = "residual"
"""The rung at which all of CLIP trains, with nothing to keep it near its start."""


@dataclass(frozen=True)
class Rung:
    """One rung.

    Attributes:
        name: Its mode or arm.
        srocc: Test SROCC by target.
        retention: Alignment retention; None where it is undefined in every run.
        parameters: Trained parameters, the heads' included.
        p: That it is worse than full fine-tuning by the margin or more, Holm-adjusted; None for
            full fine-tuning itself, and where a spread is unknown.
    """

    name: str
    srocc: Mapping[Target, Interval]
    retention: Interval | None
    parameters: float
    p: float | None = None

    @property
    def is_kept(self) -> bool:
        """Whether it is shown to be not worse than full fine-tuning by more than the margin."""
        return self.p is not None and self.p <= ALPHA


def climb(study: Study, targets: Sequence[Target], margin: float) -> list[Rung]:
    """The rungs that have every score, from the fewest trained parameters to the most."""
    names = sorted(set(study.cells["rung"]), key=mode_rank) if "rung" in study.cells else []
    found = [rung for name in names if (rung := _rung(study, name, targets)) is not None]
    p_values = {
        rung.name: p
        for rung in found
        if rung.name != FULL and (p := _p_worse(study, rung.name, targets, margin)) is not None
    }
    holms = map(float, holm(np.array([*p_values.values()]))) if p_values else ()
    adjusted = dict(zip(p_values, holms, strict=True))
    whole = [
        Rung(one.name, one.srocc, one.retention, one.parameters, adjusted.get(one.name))
        for one in found
    ]
    return sorted(whole, key=lambda rung: rung.parameters)


def cheapest(ladder: Sequence[Rung]) -> Rung | None:
    """The rung of the fewest trained parameters that is shown to be not worse; None without one."""
    return min((one for one in ladder if one.is_kept), key=lambda one: one.parameters, default=None)


def _rung(study: Study, name: str, targets: Sequence[Target]) -> Rung | None:
    scores = {target: measure_study(study, SROCC.logged(target), rung=name) for target in targets}
    parameters = study.values(PARAMETERS.logged(), rung=name)
    if parameters.empty or any(one.by_split.empty for one in scores.values()):
        return None
    retention = measure_study(study, RETENTION.logged(), rung=name)
    kept = None if retention.by_split.empty else retention.interval
    srocc = {target: one.interval for target, one in scores.items()}
    return Rung(name, srocc, kept, float(parameters.mean()))


def _p_worse(study: Study, name: str, targets: Sequence[Target], margin: float) -> float | None:
    """The largest p value over the targets; None where one is unknown."""
    sides = [(1.0, side_of_study(study, rung=name)), (-1.0, side_of_study(study, rung=FULL))]
    estimates = [measure(study.design, sides, SROCC.logged(t)).estimate for t in targets]
    known = [one.p_above(-margin) for one in estimates if one is not None]
    return max(known) if known and len(known) == len(estimates) else None

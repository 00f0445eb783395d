"""How claims are decided: from contrasts, one value a split each, to verdicts.

A contrast holds for a claim when it lies on the named side of its null value. All tests are
Nadeau-Bengio; the p values of all claims on accuracy that could be tested form one declared family,
adjusted by Holm (cost stands apart); the interval shown beside a verdict is adjusted with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qa_core.targets import TARGETS
from reports.language import phrase
from reports.statistics import Interval, holm, holm_levels, nadeau_bengio_interval
from reports.verdicts.contrasts import Contrast, Evidence, NotTested

ALPHA = 0.05


@dataclass(frozen=True)
class Claim:
    """One of the guide's claims.

    Attributes:
        id: Stable name in results.json.
        question: The claim in words.
        rule: What decides it, fixed beforehand.
        contrasts: The contrasts for one target; raises NotTested with the reason.
        combine: "all" must hold (no correction among them), or "any" (Holm among them).
        targets: The targets on which it is decided; ("cost",) for one that has none.
        family: Claims of one family are adjusted together. Cost stands apart, so that a
            machine's timings cannot move an interval on SROCC.
    """

    id: str
    question: str
    rule: str
    contrasts: Callable[[Evidence, str], Sequence[Contrast]]
    combine: str = "all"
    targets: tuple[str, ...] = TARGETS
    family: str = "accuracy"


@dataclass(frozen=True)
class Verdict:
    """A decided claim on one target.

    Attributes:
        claim: The claim.
        target: The target.
        verdict: "supported", "refuted", "inconclusive" or "not tested".
        effect: Mean of the deciding contrast; None if not tested.
        low: Lower bound, adjusted with the verdict.
        high: Upper bound, adjusted likewise.
        n: Number of splits.
        p: Holm-adjusted p value.
        contrast: The deciding contrast in words.
        reason: Why it was not tested; empty otherwise.
        null: The value that the effect is held against.
    """

    claim: Claim
    target: str
    verdict: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p: float | None = None
    contrast: str = ""
    reason: str = ""
    null: float = 0.0


@dataclass(frozen=True)
class _Candidate:
    """The contrast that decides a claim, with the claim's one p value in the family."""

    claim: Claim
    target: str
    contrast: Contrast
    p: float
    share: float  # part of the family's level that this contrast has (1, or 1/k after Holm)


def decide(claims: Sequence[Claim], evidence: Evidence, targets: Sequence[str]) -> list[Verdict]:
    """Decide every claim on every target, Holm-adjusted over all that could be tested."""
    untested: dict[tuple[str, str], Verdict] = {}
    candidates: list[_Candidate] = []
    asked = [(c, t) for c in claims for t in c.targets if t in targets or t == "cost"]
    for claim, target in asked:
        try:
            candidates.append(_candidate(claim, target, evidence))
        except NotTested as reason:
            verdict = Verdict(claim, target, "not tested", reason=reason.args[0])
            untested[claim.id, target] = verdict
    found = untested
    for family in sorted({claim.family for claim in claims}):
        members = [c for c in candidates if c.claim.family == family]
        found |= {(v.claim.id, v.target): v for v in _decide_family(members, evidence)}
    return [found[claim.id, target] for claim, target in asked]


def _candidate(claim: Claim, target: str, evidence: Evidence) -> _Candidate:
    """Reduce a claim's contrasts to the one that decides it, and its p.

    One contrast on the wrong side settles "all", one on the right side settles "any": then the
    strongest such contrast decides, its p times the number of contrasts. Otherwise every
    contrast must agree, and the weakest decides without correction (the intersection-union
    test: Berger, "Multiparameter Hypothesis Testing and Acceptance Sampling", 1982).
    """
    scored = [(c, _p(c, evidence)) for c in claim.contrasts(evidence, target)]
    if not scored:
        raise NotTested(phrase("no finished run"))
    settling = [(c, p) for c, p in scored if (c.margin > 0) == (claim.combine == "any")]
    if settling:
        contrast, p = min(settling, key=lambda item: item[1])
        return _Candidate(claim, target, contrast, min(1.0, len(scored) * p), 1.0 / len(scored))
    contrast, p = max(scored, key=lambda item: item[1])
    return _Candidate(claim, target, contrast, p, 1.0)


def _p(contrast: Contrast, evidence: Evidence) -> float:
    factor = _factor(contrast, evidence)
    interval = nadeau_bengio_interval(contrast.values, factor, null=contrast.null)
    if interval.p is None:
        raise NotTested(phrase("one split alone has no spread"))
    return interval.p


def _factor(contrast: Contrast, evidence: Evidence) -> float:
    own = contrast.variance_factor
    return evidence.ablation.variance_factor(contrast.values.size) if own is None else own


def _decide_family(candidates: Sequence[_Candidate], evidence: Evidence) -> list[Verdict]:
    """Holm over the family, and the verdicts with intervals adjusted with it."""
    if not candidates:
        return []
    p_values = np.array([candidate.p for candidate in candidates])
    adjusted, levels = holm(p_values), holm_levels(p_values, ALPHA)
    verdicts: list[Verdict] = []
    for candidate, p, level in zip(candidates, adjusted, levels, strict=True):
        own_level = 1.0 - (1.0 - float(level)) * candidate.share
        interval = nadeau_bengio_interval(
            candidate.contrast.values, _factor(candidate.contrast, evidence), own_level
        )
        verdicts.append(_verdict(candidate, interval, float(p)))
    return verdicts


def _verdict(candidate: _Candidate, interval: Interval, p: float) -> Verdict:
    """Supported or refuted where the adjusted p is at most .05, by the side of the effect."""
    contrast = candidate.contrast
    word = "inconclusive"
    if p <= ALPHA:
        word = "supported" if contrast.margin > 0 else "refuted"
    return Verdict(
        claim=candidate.claim,
        target=candidate.target,
        verdict=word,
        effect=interval.mean,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        p=p,
        contrast=contrast.label,
        null=contrast.null,
    )

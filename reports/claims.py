"""The guide's claims: each a question, the contrasts that decide it, and a rule.

A claim is decided per target from contrasts, one value a split each, that hold for it when they
lie on the named side of their null value. All tests are Nadeau-Bengio; the p values of all claims
on accuracy that could be tested form one declared family, adjusted by Holm (cost stands apart);
the interval shown beside a verdict is adjusted with it.

A claim of a user's own is read from a file (`reports.verdicts.own_claims`);
docs/report.md shows one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reports.language import phrase
from reports.statistics import Interval, holm, holm_levels, nadeau_bengio_interval
from reports.verdicts.contrasts import Contrast, Evidence, NotTested
from reports.verdicts.study_contrasts import (
    batch_size_hardly_matters,
    freeze_band_best,
    full_catches_up,
    lr_range_holds_best,
    probe_enough_small_data,
    scale_suits_data,
)

ALPHA = 0.05
LIMIT_GAP = 0.05
RESIDUAL_MODES = ("residual", "residual_partial_freeze")


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
    targets: tuple[str, ...] = ("quality", "consistency")
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


def _lift(evidence: Evidence, target: str) -> Sequence[Contrast]:
    return [evidence.difference("residual", "traditional", f"test_srocc_{target}")]


def _best_overall(evidence: Evidence, target: str) -> Sequence[Contrast]:
    rivals = ("traditional", "residual", "linear_probe")
    measure = f"test_srocc_{target}"
    return [evidence.difference("residual_partial_freeze", rival, measure) for rival in rivals]


def _beats_zeroshot(evidence: Evidence, target: str) -> Sequence[Contrast]:
    measure = f"test_srocc_{target}"
    return [evidence.over_reference(mode, "zeroshot", measure) for mode in evidence.canonical_modes]


def _probe_cheapest(evidence: Evidence, target: str) -> Sequence[Contrast]:
    rivals = [mode for mode in evidence.canonical_modes if mode != "linear_probe"]
    if not rivals:
        raise NotTested(phrase("no other mode was run"))
    measures = ("trainable_parameters", "seconds_per_epoch")
    return [
        evidence.log_ratio("linear_probe", rival, measure)
        for measure in measures
        for rival in rivals
    ]


def _converges(evidence: Evidence, target: str) -> Sequence[Contrast]:
    own = evidence.first_epoch_near_end("residual", target)
    other = evidence.first_epoch_near_end("traditional", target)
    return [
        Contrast("epochs of residual", own.to_numpy(), null=10.0, above=False),
        evidence.pair(own, other, "epochs, residual − traditional", above=False),
    ]


def _steadier(evidence: Evidence, target: str) -> Sequence[Contrast]:
    own = evidence.late_fluctuation("residual", target)
    other = evidence.late_fluctuation("traditional", target)
    return [evidence.pair(own, other, "fluctuation, residual − traditional", above=False)]


def _gap_under_limit(evidence: Evidence, target: str) -> Sequence[Contrast]:
    return [
        evidence.level(mode, f"last_train_val_gap_{target}", null=LIMIT_GAP, above=False)
        for mode in RESIDUAL_MODES
    ]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "residual_lifts_srocc",
        "Residual learning lifts SROCC over direct prediction",
        "test SROCC, residual − traditional: above 0; below 0 refutes",
        _lift,
    ),
    Claim(
        "residual_partial_freeze_best",
        "Residual with partial freeze is best overall",
        "it beats each of its three rivals; a rival ahead of it refutes",
        _best_overall,
    ),
    Claim(
        "full_catches_up",
        "Full fine-tuning catches up on more data",
        "slope of (residual − partial freeze) over log data size: above 0",
        full_catches_up,
    ),
    Claim(
        "modes_beat_zeroshot",
        "Raw cos is too coarse: some mode beats zero-shot cos",
        "mode − zero-shot cos: above 0 for any mode (Holm over the modes)",
        _beats_zeroshot,
        combine="any",
        targets=("consistency",),
    ),
    Claim(
        "probe_cheapest",
        "The linear probe is cheapest",
        "log ratio to every rival, trained parameters and time: below 0",
        _probe_cheapest,
        targets=("cost",),
        family="cost",
    ),
    Claim(
        "probe_enough_small_data",
        "The linear probe is enough for very little data",
        "at 10 % of the prompts, against each rival: above −.02",
        probe_enough_small_data,
    ),
    Claim(
        "residual_converges_early",
        "Residual learning converges within 5–10 epochs",
        "first epoch at 98 % of the last five’s mean: ≤ 10, before traditional",
        _converges,
    ),
    Claim(
        "residual_is_steadier",
        "Residual learning's validation curve fluctuates less",
        "SD of late epoch differences, residual − traditional: below 0",
        _steadier,
    ),
    Claim(
        "gap_under_limit",
        "The train–val gap stays under .05",
        "last epoch, both residual modes: below .05; one above refutes",
        _gap_under_limit,
    ),
    Claim(
        "freeze_band_best",
        "Freezing between 2/3 and 5/6 of the depth is best",
        "the band’s mean − best depth outside it, chosen on the pool: above 0",
        freeze_band_best,
    ),
    Claim(
        "scale_suits_data",
        "Small scales suit little data, .3–.5 much",
        "slope of SROCC over log scale: at 10 % of the prompts below 100 %",
        scale_suits_data,
    ),
    Claim(
        "lr_range_holds_best",
        "The recommended LR range of each mode holds its best LR",
        "best rate inside − best outside, chosen on the pool: above 0 in all modes",
        lr_range_holds_best,
    ),
    Claim(
        "batch_size_hardly_matters",
        "Batch size hardly matters for residual learning",
        "each interval against batch 32 within ± .02; outside refutes",
        batch_size_hardly_matters,
    ),
)
"""The guide's claims, in the order in which the report prints them."""


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

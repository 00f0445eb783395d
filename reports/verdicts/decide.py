"""How claims are decided: from contrasts, one value a split each, to verdicts.

A contrast holds for a claim when it lies on the named side of its null value. Claims of one family
are adjusted together by Holm, and families stand apart: what a study, a user or a machine's timings
add moves no interval of another family. The interval shown beside a verdict is adjusted with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qa_core.records.schema import Param
from qa_core.settings.model import EMBEDDED_BACKBONE
from qa_core.targets import TARGETS
from reports.inference.decisions import ALPHA, Decision, Word, decide_family, p_same
from reports.inference.estimates import Estimate
from reports.language import phrase
from reports.statistics import holm, holm_levels
from reports.verdicts.contrasts import Contrast, Evidence, NotTested

PRIMARY, SECONDARY, COST, OWN = "primary", "secondary", "cost", "own"
"""Families: the contrasts fixed beforehand (`reports.verdicts.pairs`), what else the modes tell of
accuracy, cost, and a user's own claims. The claims of a study have its name."""

WITHOUT_TARGET = ("cost", "model")
"""What stands for the target of a claim that has none."""
NOT_TESTED = "not tested"
"""The verdict where runs are missing or a measure is undefined."""


@dataclass(frozen=True)
class Claim:
    """One of the guide's claims, or of a user's own.

    Attributes:
        id: Stable name in results.json.
        question: The claim in words.
        rule: What decides it, fixed beforehand.
        contrasts: The contrasts for one target; raises NotTested with the reason.
        combine: "all" must hold (no correction among them), or "any" (Holm among them).
        targets: The targets on which it is decided; ("cost",) for one about time and parameters,
            ("model",) for another measure that has no target, such as alignment retention.
        family: Claims of one family are adjusted together. In the primary one every contrast is
            a hypothesis of its own.
        epochs: It needs runs of so many epochs, none stopped early.
        published_backbone: It is about published backbones, not about the embedded one.
    """

    id: str
    question: str
    rule: str
    contrasts: Callable[[Evidence, str], Sequence[Contrast]]
    combine: str = "all"
    targets: tuple[str, ...] = TARGETS
    family: str = OWN
    epochs: int = 0
    published_backbone: bool = False


@dataclass(frozen=True)
class Verdict:
    """A decided claim on one target.

    Attributes:
        claim: The claim.
        target: The target.
        verdict: "supported", "refuted", "the same within ± m", "not decided" or "not tested".
        effect: Mean of the deciding contrast; None if not tested.
        low: Lower bound, adjusted with the verdict.
        high: Upper bound, adjusted likewise.
        n: Number of splits.
        p: Holm-adjusted p value, for "the same" that of the two one-sided tests.
        contrast: The deciding contrast in words.
        reason: Why it was not tested; empty otherwise.
        null: The value that the effect is held against.
        in_srocc: Whether the effect is a difference of SROCCs.
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
    in_srocc: bool = False

    @property
    def kind(self) -> str:
        """The verdict without its margin: "same" where it is "the same within ± m"."""
        return "same" if self.verdict.startswith("the same") else self.verdict


@dataclass(frozen=True)
class _Tested:
    """A claim on one target with its contrasts, each with its estimate."""

    claim: Claim
    target: str
    contrasts: tuple[tuple[Contrast, Estimate], ...]

    def told(
        self, word: str, one: tuple[Contrast, Estimate], bounds: tuple[float, float], p: float
    ) -> Verdict:
        """The verdict that one of the contrasts decides."""
        contrast, estimate = one
        return Verdict(
            claim=self.claim,
            target=self.target,
            verdict=word,
            effect=estimate.mean,
            low=bounds[0],
            high=bounds[1],
            n=estimate.n,
            p=p,
            contrast=contrast.label,
            null=contrast.null,
            in_srocc=contrast.in_srocc,
        )


def decide(claims: Sequence[Claim], evidence: Evidence, targets: Sequence[str]) -> list[Verdict]:
    """Decide every claim on every target, Holm-adjusted over what its family could test."""
    found: dict[tuple[str, str], Verdict] = {}
    tested: list[_Tested] = []
    asked = [(c, t) for c in claims for t in c.targets if t in (*targets, *WITHOUT_TARGET)]
    for claim, target in asked:
        try:
            tested.append(_test(claim, target, evidence))
        except NotTested as reason:
            verdict = Verdict(claim, target, NOT_TESTED, reason=reason.args[0])
            found[claim.id, target] = verdict
    margin = evidence.ablation.margin
    for family in sorted({claim.family for claim in claims}):
        members = [one for one in tested if one.claim.family == family]
        decide_members = _decide_contrasts if family == PRIMARY else _decide_claims
        found |= {(v.claim.id, v.target): v for v in decide_members(members, margin)}
    return [found[claim.id, target] for claim, target in asked]


def same_within(margin: float) -> str:
    """The verdict that a difference is smaller than a margin."""
    return phrase("the same within ± {margin}", margin=f"{margin:g}".removeprefix("0"))


def _test(claim: Claim, target: str, evidence: Evidence) -> _Tested:
    backbone = evidence.ablation.params.get(Param.BACKBONE)
    if claim.published_backbone and backbone == EMBEDDED_BACKBONE:
        raise NotTested(phrase("it is about published backbones"))
    found: list[tuple[Contrast, Estimate]] = []
    for contrast in claim.contrasts(evidence, target):
        estimate = contrast.estimate or evidence.ablation.design.estimate(contrast.values)
        if estimate is None:
            raise NotTested(phrase("one split alone has no spread"))
        found.append((contrast, estimate))
    if not found:
        raise NotTested(phrase("no finished run"))
    return _Tested(claim, target, tuple(found))


def _decide_contrasts(members: Sequence[_Tested], margin: float) -> list[Verdict]:
    """A family of contrasts, all first − second against 0, in which all of a claim's must hold."""
    estimates = [estimate for one in members for _, estimate in one.contrasts]
    decisions = iter(decide_family(estimates, margin))
    return [_of_decisions(one, [next(decisions) for _ in one.contrasts]) for one in members]


def _of_decisions(one: _Tested, decisions: Sequence[Decision]) -> Verdict:
    """The verdict on a claim: what speaks most against it decides."""
    by_word: dict[Word, list[int]] = {}
    for number, decision in enumerate(decisions):
        by_word.setdefault(decision.word, []).append(number)
    p = [d.p_same if d.word is Word.SAME else d.p_difference for d in decisions]
    word = next(w for w in (Word.WORSE, Word.NOT_DECIDED, Word.SAME, Word.BETTER) if w in by_word)
    pick = min if word is Word.WORSE else max
    chosen = pick(by_word[word], key=lambda number: p[number])
    decision = decisions[chosen]
    said = {
        Word.WORSE: "refuted",
        Word.BETTER: "supported",
        Word.SAME: same_within(decision.margin),
    }
    bounds = decision.low, decision.high
    return one.told(said.get(word, word), one.contrasts[chosen], bounds, p[chosen])


@dataclass(frozen=True)
class _Candidate:
    """The contrast that answers a question on a claim, with the claim's one p value for it.

    Attributes:
        chosen: Contrast and estimate.
        p: P value.
        share: Part of the family's level that this contrast has (1, or 1/k after Holm).
    """

    chosen: tuple[Contrast, Estimate]
    p: float
    share: float = 1.0


def _decide_claims(members: Sequence[_Tested], margin: float) -> list[Verdict]:
    """Two Holm families over the claims: does each hold or fail, and is it "the same"."""
    differ = [_difference(one) for one in members]
    alike = [_likeness(one, margin) for one in members]
    differs, likes = _adjust(differ), _adjust(alike)
    verdicts: list[Verdict] = []
    for number, (one, candidate) in enumerate(zip(members, differ, strict=True)):
        assert candidate is not None
        (p, level), same = differs[number], alike[number]
        (contrast, estimate), word = candidate.chosen, "not decided"
        if p <= ALPHA:
            word = "supported" if contrast.lead > 0 else "refuted"
        elif same is not None and likes[number][0] <= ALPHA:
            like_p, like_level = likes[number]
            # Two one-sided tests at a are an interval of coverage 1 - 2 a (Schuirmann 1987).
            bounds = same.chosen[1].bounds(1 - 2 * (1 - like_level))
            verdicts.append(one.told(same_within(margin), same.chosen, bounds, like_p))
            continue
        bounds = estimate.bounds(1.0 - (1.0 - level) * candidate.share)
        verdicts.append(one.told(word, candidate.chosen, bounds, p))
    return verdicts


def _adjust(candidates: Sequence[_Candidate | None]) -> dict[int, tuple[float, float]]:
    """Holm-adjusted p and the level of its interval, by the candidate's number."""
    known = [(number, one.p) for number, one in enumerate(candidates) if one is not None]
    if not known:
        return {}
    p_values = np.array([p for _, p in known])
    adjusted, levels = holm(p_values), holm_levels(p_values, ALPHA)
    return {
        number: (float(p), float(level))
        for (number, _), p, level in zip(known, adjusted, levels, strict=True)
    }


def _difference(one: _Tested) -> _Candidate:
    """Reduce a claim's contrasts to the one that decides it, and its p.

    One contrast on the wrong side settles "all", one on the right side settles "any": then the
    strongest such contrast decides, its p times the number of contrasts. Otherwise every
    contrast must agree, and the weakest decides without correction (the intersection-union
    test: Berger, "Multiparameter Hypothesis Testing and Acceptance Sampling", 1982).
    """
    scored = [(pair, pair[1].p(pair[0].null)) for pair in one.contrasts]
    wanted = one.claim.combine == "any"
    settling = [(pair, p) for pair, p in scored if (pair[0].lead > 0) == wanted]
    if settling:
        chosen, p = min(settling, key=lambda item: item[1])
        return _Candidate(chosen, min(1.0, len(scored) * p), 1.0 / len(scored))
    return _Candidate(*max(scored, key=lambda item: item[1]))


def _likeness(one: _Tested, margin: float) -> _Candidate | None:
    """The weakest of the tests that all contrasts lie within +- margin; None for other units."""
    if not all(contrast.in_srocc for contrast, _ in one.contrasts):
        return None
    scored = [(pair, p_same(pair[1], margin)) for pair in one.contrasts]
    return _Candidate(*max(scored, key=lambda item: item[1]))

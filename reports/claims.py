"""The guide's claims: each a question, the contrasts that decide it, and a rule.

`reports.verdicts.decide` decides them. A claim of a user's own is read from a file
(`reports.own_claims`); docs/report.md shows one.
"""

from collections.abc import Sequence

from qa_core.measures.catalogue import EPOCH_SECONDS, GAP_LAST, PARAMETERS, SROCC
from qa_core.measures.limits import GAP_LIMIT
from qa_core.records.schema import Reference
from qa_core.targets import Target
from reports.language import phrase
from reports.verdicts.contrasts import (
    EPOCHS_FOR_CONVERGENCE,
    Contrast,
    Evidence,
    NotTested,
)
from reports.verdicts.decide import COST, PRIMARY, SECONDARY, Claim
from reports.verdicts.pairs import BEST, LIFT
from reports.verdicts.study_contrasts import (
    batch_size_hardly_matters,
    freeze_band_best,
    full_catches_up,
    lr_range_holds_best,
    probe_enough_small_data,
    scale_suits_data,
)

RESIDUAL_MODES = ("residual", "residual_partial_freeze")


def _lift(evidence: Evidence, target: str) -> Sequence[Contrast]:
    return [evidence.difference(*LIFT, SROCC.logged(target))]


def _best_overall(evidence: Evidence, target: str) -> Sequence[Contrast]:
    return [evidence.difference(*pair, SROCC.logged(target)) for pair in BEST]


def _beats_zeroshot(evidence: Evidence, target: str) -> Sequence[Contrast]:
    measure = SROCC.logged(target)
    return [
        evidence.over_reference(mode, Reference.ZEROSHOT, measure) for mode in evidence.guide_modes
    ]


def _probe_cheapest(evidence: Evidence, target: str) -> Sequence[Contrast]:
    rivals = [mode for mode in evidence.guide_modes if mode != "linear_probe"]
    if not rivals:
        raise NotTested(phrase("no other mode was run"))
    measures = (PARAMETERS.logged(), EPOCH_SECONDS.logged())
    return [
        evidence.log_ratio("linear_probe", rival, measure)
        for measure in measures
        for rival in rivals
    ]


def _converges(evidence: Evidence, target: str) -> Sequence[Contrast]:
    own = evidence.first_epoch_near_end("residual", target)
    other = evidence.first_epoch_near_end("traditional", target)
    return [
        evidence.contrast(own, "epochs of residual", 10.0, above=False, on_validation=True),
        evidence.pair(
            own, other, "epochs, residual − traditional", above=False, on_validation=True
        ),
    ]


def _steadier(evidence: Evidence, target: str) -> Sequence[Contrast]:
    own = evidence.late_fluctuation("residual", target)
    other = evidence.late_fluctuation("traditional", target)
    label = "fluctuation, residual − traditional"
    return [evidence.pair(own, other, label, above=False, on_validation=True)]


def _gap_under_limit(evidence: Evidence, target: str) -> Sequence[Contrast]:
    return [
        evidence.level(mode, GAP_LAST.logged(target), null=GAP_LIMIT, above=False)
        for mode in RESIDUAL_MODES
    ]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "residual_lifts_srocc",
        "Residual learning lifts SROCC over direct prediction",
        "test SROCC, residual − traditional: above 0; below 0 refutes",
        _lift,
        family=PRIMARY,
    ),
    Claim(
        "residual_partial_freeze_best",
        "Residual with partial freeze is best overall",
        "it beats each of its three rivals; a rival ahead of it refutes",
        _best_overall,
        family=PRIMARY,
    ),
    Claim(
        "full_catches_up",
        "Full fine-tuning catches up on more data",
        "slope of (residual − partial freeze) over log data size: above 0",
        full_catches_up,
        family="data_size",
    ),
    Claim(
        "modes_beat_zeroshot",
        "Raw cos is too coarse: some mode beats zero-shot cos",
        "mode − zero-shot cos: above 0 for any mode (Holm over the modes)",
        _beats_zeroshot,
        combine="any",
        targets=(Target.CONSISTENCY,),
        family=SECONDARY,
    ),
    Claim(
        "probe_cheapest",
        "The linear probe is cheapest",
        "log ratio to every rival, trained parameters and time: below 0",
        _probe_cheapest,
        targets=("cost",),
        family=COST,
    ),
    Claim(
        "probe_enough_small_data",
        "The linear probe is enough for very little data",
        "at 10 % of the prompts, against each rival: above − the margin",
        probe_enough_small_data,
        family="data_size",
    ),
    Claim(
        "residual_converges_early",
        "Residual learning converges within 5–10 epochs",
        "first epoch at 98 % of the last five’s mean: ≤ 10, before traditional",
        _converges,
        family=SECONDARY,
        epochs=EPOCHS_FOR_CONVERGENCE,
    ),
    Claim(
        "residual_is_steadier",
        "Residual learning's validation curve fluctuates less",
        "SD of late epoch differences, residual − traditional: below 0",
        _steadier,
        family=SECONDARY,
        epochs=EPOCHS_FOR_CONVERGENCE,
    ),
    Claim(
        "gap_under_limit",
        "The train–val gap stays under .05",
        "last epoch, both residual modes: below .05; one above refutes",
        _gap_under_limit,
        family=SECONDARY,
    ),
    Claim(
        "freeze_band_best",
        "Freezing between 2/3 and 5/6 of the depth is best",
        "the band’s mean − best depth outside it, chosen on the pool: above 0",
        freeze_band_best,
        family="depth",
    ),
    Claim(
        "scale_suits_data",
        "Small scales suit little data, .3–.5 much",
        "slope of SROCC over log scale: at 10 % of the prompts below 100 %",
        scale_suits_data,
        family="data_size",
    ),
    Claim(
        "lr_range_holds_best",
        "The recommended LR range of each mode holds its best LR",
        "best rate inside − best outside, chosen on the pool: above 0 in all modes",
        lr_range_holds_best,
        family="lr",
        published_backbone=True,
    ),
    Claim(
        "batch_size_hardly_matters",
        "Batch size hardly matters for residual learning",
        "each interval against batch 32 within ± the margin; outside refutes",
        batch_size_hardly_matters,
        family="batch_size",
    ),
)
"""The guide's claims, in the order in which the report prints them."""

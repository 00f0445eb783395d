"""The main tables and the table of cost, with their headers and captions."""

from collections.abc import Sequence
from typing import Any

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import Param
from reports.evidence.ablation import Ablation
from reports.figures.style import format_score, label
from reports.language import say, say_all
from reports.paper.tables import cost_header, cost_table, main_header, main_table, score_cell
from reports.text.wording import retention_pairs_words
from reports.verdicts.decide import PRIMARY, Verdict
from reports.verdicts.measured import Entry


def table_content(
    ablation: Ablation, results: dict[str, Any], guide: Sequence[Verdict]
) -> dict[str, Any]:
    """Main tables and cost with their headers and captions."""
    modes, baselines = results["guide_modes"], results["baselines"]
    n_splits = ablation.params.get(Param.N_SPLITS, "?")
    caption = _scores_caption(ablation, str(n_splits))
    main = [
        {
            "id": target,
            "target": say(target),
            "caption": say_all([say("Test scores for {target}.", target=target), caption]),
            "short_caption": say("Test scores for {target}, as above.", target=target),
            "groups": main_table(ablation, target, modes, results["modes"], baselines),
        }
        for target in ablation.targets
    ]
    return {
        "main": main,
        "main_header": main_header(),
        "cost": cost_table(modes),
        "cost_header": cost_header(),
        "cost_caption": say(
            "Alignment and cost at the guide’s setting. Retention: rank correlation of cos after "
            "fine-tuning with cos before, within matched and within shuffled pairs, averaged; 1 "
            "for the linear probe by construction. {pairs} R@1 ratio: image-to-text R@1 after over "
            "before. Parameters: those that train. Mean over {n} splits with the interval as "
            "above.",
            n=n_splits,
            pairs=retention_pairs_words(ablation),
        ),
        "claims_note": say(
            "Decided at the guide’s setting; p adjusted by Holm within each family, intervals "
            "with it. The primary family, fixed beforehand, is residual against traditional and "
            "partial freeze against each rival{on_each}, {n} contrasts; the other claims "
            "on accuracy, each study and cost are families of their own. “The same” is shown by "
            "two one-sided tests at ± {margin}. The last column is the same decision at the tuned "
            "setting, a family of its own, conditional on that setting. All verdicts hold on this "
            "data only.",
            on_each=say(" on every target") if len(ablation.targets) > 1 else "",
            n=str(family_size(results)),
            margin=format_score(ablation.margin),
        ),
    }


def _scores_caption(ablation: Ablation, n_splits: str) -> str:
    """What the main tables show, and where their intervals come from."""
    if ablation.has_one_part:
        return say(
            "SROCC and PLCC with their 95 % bootstrap interval over prompts, averaged over the "
            "test parts, or within each left-out generator; the other means over {n} splits have "
            "none. Gap: train − validation SROCC at the last epoch. Saturated: share of test "
            "images whose correction lies within 5 % of its bound. A dash: undefined, not zero.",
            n=n_splits,
        )
    return say(
        "Mean over {n} splits with its 95 % interval, unadjusted ({kind}). Gap: train − "
        "validation SROCC at the last epoch. Saturated: share of test images whose correction "
        "lies within 5 % of its bound. A dash: undefined, not zero.",
        n=n_splits,
        kind=_interval_words(ablation),
    )


def _interval_words(ablation: Ablation) -> str:
    """Where the intervals of the main tables come from."""
    if ablation.design.independent:
        return say("Student’s t over independent replicates")
    factor = format_score(float(ablation.params[Param.VARIANCE_FACTOR]))
    if ablation.design.n_folds:
        return say(
            "SROCC: influence of each prompt and training noise; else Nadeau–Bengio, variance "
            "factor {factor}",
            factor=factor,
        )
    return say("Nadeau–Bengio, variance factor {factor}", factor=factor)


def pooled_content(ablation: Ablation, results: dict[str, Any]) -> dict[str, Any]:
    """The descriptive out-of-fold table; without rows unless the protocol is k-fold."""
    pooled: dict[str, dict[str, Entry]] = results["pooled_out_of_fold"]
    return {
        "pooled": [
            {
                "name": label(mode),
                "cells": [score_cell(row.get(SROCC.key(t))) for t in ablation.targets],
            }
            for mode, row in pooled.items()
        ],
        "pooled_header": [say("mode"), *(say(t) for t in ablation.targets)],
        "pooled_caption": say(
            "Descriptive: SROCC over the pooled out-of-fold predictions, averaged over repeats, "
            "with a 95 % bootstrap interval over prompts. Folds are predicted by different models, "
            "whose offsets mix into these ranks; no verdict rests on them."
        ),
    }


def family_size(results: dict[str, Any]) -> int:
    """Contrasts of the primary family."""
    return sum(one.get("family") == PRIMARY for one in results["comparisons"]["guide"])

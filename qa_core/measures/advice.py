"""Advice in words from the measures of a finished run, by the guide's rules."""

from collections.abc import Mapping, Sequence

from qa_core.config import RunConfig
from qa_core.measures.catalogue import CLAMPED, GAP, SATURATION, SMALL, SROCC
from qa_core.measures.limits import BINDING_SHARE, GAP_LIMIT, OVER_CONSTRAINED_SHARE
from qa_core.modes import freezing
from qa_core.targets import TARGETS, Target


def advise(
    config: RunConfig,
    measures: Mapping[str, float],
    epochs_run: int,
    best_epoch: int,
    floors: Mapping[Target, float],
    on_rate: Sequence[str] = (),
) -> list[str]:
    """Sentences on what to change, none of which the run's own configuration rules out.

    Args:
        config: The resolved configuration.
        measures: Validation measures of the best epoch (`val_srocc_quality`, ...).
        epochs_run: Epochs trained.
        best_epoch: The epoch chosen.
        floors: SROCC on the same images of a prediction that sees no pixels.
        on_rate: What there is to say of the learning rate.
    """
    found = list(on_rate)
    for target in TARGETS:
        found += _on_floor(target, measures, floors) + _on_gap(target, config, measures)
        if config.head.residual_learning:
            found += _on_correction(target, config, measures)
        clamped = measures.get(CLAMPED.curve(target), 0.0)
        if clamped > BINDING_SHARE:
            found.append(f"{target}: {clamped:.0%} of the predictions are clamped at 0 or 1.")
    if best_epoch == epochs_run:
        found.append("The last epoch was the best: more --epochs may help.")
    return found or ["Nothing stands out: gap and saturation are within the guide's limits."]


def _on_floor(
    target: Target, measures: Mapping[str, float], floors: Mapping[Target, float]
) -> list[str]:
    score, floor = measures.get(SROCC.curve(target)), floors.get(target)
    if score is None or floor is None or score > floor:
        return []
    return [
        f"{target}: validation SROCC {score:.3f} is not above {floor:.3f}, which the means of"
        " generators and prompts give without any pixel: first get above that."
    ]


def _on_gap(target: Target, config: RunConfig, measures: Mapping[str, float]) -> list[str]:
    gap = measures.get(GAP.curve(target))
    if gap is None or gap <= GAP_LIMIT:
        return []
    ways = [
        *(["freeze more layers"] if freezing(config) != "all" else []),
        *(["lower the residual scale"] if config.head.residual_learning else []),
        "lower the learning rate",
    ]
    return [
        f"{target}: train-val gap {gap:.3f} is above {GAP_LIMIT}: {', '.join(ways)},"
        " or stop earlier."
    ]


def _on_correction(target: Target, config: RunConfig, measures: Mapping[str, float]) -> list[str]:
    """On a correction that its bound holds back, or that hardly corrects."""
    found: list[str] = []
    larger = f"try a larger --{target.scale}"
    saturated = measures.get(SATURATION.curve(target))
    if saturated is not None and saturated > BINDING_SHARE:
        fit = "" if config.head.base_init == "fit" else ", or --base_init fit"
        found.append(
            f"{target}: {saturated:.0%} of the corrections are at their bound: the bound binds;"
            f" {larger}{fit}."
        )
    small = measures.get(SMALL.curve(target))
    if small is not None and small > OVER_CONSTRAINED_SHARE:
        found.append(
            f"{target}: {small:.0%} of the corrections are small: the base does the work; the"
            f" model may be over-constrained ({larger} or --lr)."
        )
    return found

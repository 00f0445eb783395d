"""Advice in words from the measures of a finished run, by the guide's rules."""

from collections.abc import Sequence

from qa_core.measures.catalogue import CLAMPED, GAP, SATURATION, SMALL
from qa_core.measures.limits import BINDING_SHARE, GAP_LIMIT, OVER_CONSTRAINED_SHARE
from qa_core.targets import TARGETS


def advise(
    measures: dict[str, float], epochs_run: int, best_epoch: int, on_rate: Sequence[str] = ()
) -> list[str]:
    """Sentences on what to change, from the validation measures of the best epoch.

    Args:
        measures: Epoch measures by name (`train_val_gap_quality`, `delta_saturation_quality`, ...).
        epochs_run: Epochs trained.
        best_epoch: The epoch chosen.
        on_rate: What there is to say of the learning rate.
    """
    found = list(on_rate)
    for target in TARGETS:
        gap = measures.get(GAP.curve(target))
        if gap is not None and gap > GAP_LIMIT:
            found.append(
                f"{target}: train-val gap {gap:.3f} is above {GAP_LIMIT}: freeze more layers,"
                " lower the residual scale or the learning rate, or stop earlier."
            )
        saturated = measures.get(SATURATION.curve(target))
        if saturated is not None and saturated > BINDING_SHARE:
            found.append(
                f"{target}: {saturated:.0%} of the corrections are at their bound: the bound binds;"
                f" try a larger --{target.scale}, or --base_init fit."
            )
        small = measures.get(SMALL.curve(target))
        if small is not None and small > OVER_CONSTRAINED_SHARE:
            found.append(
                f"{target}: {small:.0%} of the corrections are small: the base does the work; the"
                f" model may be over-constrained (try a larger --{target.scale} or --lr)."
            )
        clamped = measures.get(CLAMPED.curve(target), 0.0)
        if clamped > BINDING_SHARE:
            found.append(f"{target}: {clamped:.0%} of the predictions are clamped at 0 or 1.")
    if best_epoch == epochs_run:
        found.append("The last epoch was the best: more --epochs may help.")
    return found or ["Nothing stands out: gap and saturation are within the guide's limits."]

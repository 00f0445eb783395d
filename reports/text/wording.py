"""The verdict in plain words, computed from the results."""

from qa_core.measures.alignment import RENDERED_PAIRS
from qa_core.measures.catalogue import GAP_LAST, RETENTION, SATURATION
from qa_core.measures.limits import BINDING_SHARE, GAP_LIMIT
from qa_core.modes import freezing_of
from qa_core.records.schema import Param
from qa_core.settings.model import EMBEDDED_BACKBONE
from reports.evidence.ablation import Ablation
from reports.figures.style import format_score, label
from reports.language import say
from reports.text.standing import standing_in_words
from reports.verdicts.measured import Entry


def protocol_words(ablation: Ablation) -> str:
    """How images were split, and what the reader must know of it."""
    facts = {key: ablation.params.get(key, "?") for key in (Param.PROTOCOL, Param.N_SPLITS)}
    facts["n_models"] = str(int(ablation.params.get(Param.N_SPLITS, 0)) * ablation.n_seeds)
    return {
        "common": say(
            "{protocol}, {n_splits} random splits, best epoch chosen on test: for comparison with "
            "papers only",
            **facts,
        ),
        "published": say(
            "{protocol}, one random split, best epoch chosen on test by consistency: for "
            "comparison with the method’s own ablation only",
            **facts,
        ),
        "official": say("{protocol}, the makers’ own test part, {n_models} models", **facts),
        "cross": say(
            "{protocol}, trained on one data set and tested on another, {n_models} models", **facts
        ),
        "leave_one_generator_out": say(
            "{protocol}, {n_splits} splits, each testing a generator on unseen prompts", **facts
        ),
    }.get(facts["protocol"], say("{protocol}, {n_splits} prompt-disjoint splits", **facts))


def verdict_in_words(
    ablation: Ablation,
    modes: dict[str, dict[str, Entry]],
    baselines: dict[str, dict[str, Entry]],
) -> list[str]:
    """Paragraphs: who leads, is it earned, gap, bound, alignment."""
    paragraphs = [
        standing_in_words(ablation, modes, baselines, target) for target in ablation.targets
    ]
    paragraphs.append(_gap_words(ablation, modes))
    paragraphs.append(_bound_words(ablation, modes))
    paragraphs.append(_retention_words(modes))
    return [p for p in paragraphs if p]


def _gap_words(ablation: Ablation, modes: dict[str, dict[str, Entry]]) -> str:
    """Which modes end with a gap above the guide's limit."""
    over: list[str] = []
    seen = 0
    for mode, entries in modes.items():
        gaps = {t: entries[GAP_LAST.key(t)]["mean"] for t in ablation.targets}
        gaps = {t: g for t, g in gaps.items() if g is not None}
        seen += len(gaps)
        high = [f"{say(t)} {format_score(g)}" for t, g in gaps.items() if g > GAP_LIMIT]
        if high:
            over.append(f"{label(mode)} ({say(', ').join(high)})")
    if not seen:
        return say("No run logged a train–validation gap.")
    if not over:
        return say(
            "No mode’s mean train–validation gap at the last epoch exceeds the limit of .05."
        )
    return say(
        "Mean gaps at the last epoch above the limit of .05: {modes}.", modes=say("; ").join(over)
    )


def _bound_words(ablation: Ablation, modes: dict[str, dict[str, Entry]]) -> str:
    """Whether the residual's bound binds on test."""
    shares = {
        (mode, target): entries[SATURATION.key(target)]["mean"]
        for mode, entries in modes.items()
        for target in ablation.targets
    }
    defined = {key: s for key, s in shares.items() if s is not None}
    if not defined:
        return say("Delta saturation is undefined: no mode with a bounded correction was run.")
    (mode, target), top = max(defined.items(), key=lambda item: item[1])
    where = say(
        "{mode} on {target}, {share} % of test images",
        mode=label(mode),
        target=target,
        share=f"{100 * top:.1f}",
    )
    if top > BINDING_SHARE:
        return say(
            "The bound binds: highest saturation {where}. A larger scale is worth a try.",
            where=where,
        )
    if not top:
        return say("The bound never binds: no test image’s correction comes near it.")
    return say("The bound hardly binds: the highest mean saturation is {where}.", where=where)


def _retention_words(modes: dict[str, dict[str, Entry]]) -> str:
    """How much of CLIP's alignment each mode kept."""
    kept = {m: e[RETENTION.key()]["mean"] for m, e in modes.items()}
    kept = {m: r for m, r in kept.items() if r is not None and freezing_of(m) != "all"}
    if not kept:
        return ""
    return say(
        "Alignment retention (1 keeps CLIP’s ordering whole, as the probe must): {modes}.",
        modes=say(", ").join(f"{label(m)} {format_score(r)}" for m, r in kept.items()),
    )


def retention_pairs_words(ablation: Ablation) -> str:
    """The images and texts whose cos is compared before and after fine-tuning."""
    if ablation.params.get(Param.BACKBONE) == EMBEDDED_BACKBONE:
        return say(
            "Its pairs are {n} rendered images with their prompts, of the kind that the embedded "
            "backbone was pretrained on, whatever the data.",
            n=str(RENDERED_PAIRS),
        )
    return say("Its pairs are the images and prompts of each split’s test part.")

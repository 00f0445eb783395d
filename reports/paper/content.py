"""What the page shows, as plain data: text stays text and never becomes markup."""

from collections.abc import Sequence
from typing import Any

from qa_core.records.schema import Param
from reports.evidence.ablation import Ablation
from reports.language import language, say
from reports.paper.appendix import appendix
from reports.paper.cover import banner, cover_claims, cover_facts, cover_notes
from reports.paper.main_tables import family_size, pooled_content, table_content
from reports.paper.tables import claim_rows, glossary
from reports.paper.worst import worst_cases
from reports.text.advice import earned_words, recommendation_words
from reports.text.missing import missing_sections, on_the_cover
from reports.text.page_text import LONGEST_VALUE, page_text
from reports.text.resolution import find_resolution, resolution_words
from reports.text.wording import verdict_in_words
from reports.verdicts.decide import Verdict


def build_content(
    ablation: Ablation,
    results: dict[str, Any],
    verdicts: tuple[Sequence[Verdict], Sequence[Verdict]],
    figures: list[dict[str, str]],
    not_drawn: list[list[str]],
) -> dict[str, Any]:
    """Everything that template.typ reads."""
    guide, tuned = verdicts
    modes, baselines = results["guide_modes"], results["baselines"]
    data_name = page_text(ablation.params.get(Param.DATA_NAME, "unnamed data"), LONGEST_VALUE)
    size = family_size(results)
    resolutions = {t: find_resolution(ablation, t, size) for t in ablation.targets}
    own = {
        "lang": language(),
        "banner": banner(ablation),
        "running_head": say("Ablation on {data}", data=data_name),
        "subtitle": say("An ablation of fine-tuning modes on {data}", data=data_name),
        "facts": cover_facts(ablation),
        "notes": [*on_the_cover(ablation), *cover_notes(ablation)],
        "resolution": [resolution_words(ablation, t, found) for t, found in resolutions.items()],
        "recommendation": recommendation_words(results["recommendation"]),
        "earned": _earned(ablation, results),
        "cover_claims": cover_claims(ablation, guide),
        "in_words": verdict_in_words(ablation, modes, baselines),
        "claims": claim_rows(guide, tuned, ablation.is_smoke),
        "figures": figures,
        "missing": missing_sections(ablation, results, guide, not_drawn),
        "worst": worst_cases(ablation),
        "glossary": glossary(),
    }
    tables = table_content(ablation, results, guide) | pooled_content(ablation, results)
    return own | tables | appendix(ablation, resolutions)


def _earned(ablation: Ablation, results: dict[str, Any]) -> list[str]:
    """What the bound earns on each target, where the control is."""
    guide = results["comparisons"]["guide"]
    return [words for target in ablation.targets if (words := earned_words(guide, target))]

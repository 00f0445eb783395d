"""The report in Chinese: every sentence of the code has a translation, with the same places."""

import ast
from pathlib import Path
from string import Formatter

import pytest

import reports
from qa_core.arms import ARMS
from qa_core.errors import UserError
from reports.claims import CLAIMS
from reports.figures import style
from reports.figures.arm_pages import ARM_PAGES
from reports.figures.knob import LABELS as KNOB_LABELS
from reports.figures.pages import PAGES
from reports.figures.study_pages import LAYOUTS
from reports.figures.tradeoff import AXES
from reports.figures.trials import KNOBS
from reports.fonts import typeface_for
from reports.language import phrase, read_catalogue, say, say_list, speaking
from reports.paper import published
from reports.paper.content import COST_HEADER, MAIN_HEADER
from reports.paper.typeset import words_of_template

FOLDER = Path(str(reports.__file__)).parent
WORDS = {
    "quality", "consistency", "cost", "guide", "supported", "refuted", "inconclusive",
    "not tested", "ablation", "mode", "trial", "confirmation", "reference", "finished", "complete",
    "failed", "killed", "running", "pruned", "fail", "data-size", "freeze-depth",
    "scale by data size", "learning-rate", "batch-size", "not computed",
    "depth", "scale", "lr", "share with |delta| > .95", "share clamped at 0 or 1", "saturation",
    "How many blocks should be frozen?", "How large may the correction be?",
    "Who profits from more data, and at which scale?", "Does the batch size matter?",
    "Which learning rate suits each mode?", "What do the details of each mode earn?",
    "How far do head settings alone carry?",
}  # fmt: skip
"""Words that reach `say` as data: targets, verdicts, kinds and states of runs, studies."""


def sentences() -> set[str]:
    found = set(WORDS) | set(style.LABELS.values()) | set(style.SHORT.values())
    found |= {*MAIN_HEADER, *COST_HEADER, *AXES.values(), *KNOBS.values()}
    found |= {text for claim in CLAIMS for text in (claim.question, claim.rule)}
    found |= {page.question for page in PAGES}
    found |= {text for _, *both in ARM_PAGES.values() for text in both}
    found |= {arm.words for arm in ARMS.values()} | set(published.HEADER)
    found |= {*KNOB_LABELS.values(), *(caption for _, caption in LAYOUTS.values())}
    found |= words_of_template("template.typ") | words_of_template("side_by_side.typ")
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("say", "phrase"):
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found


def places(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_every_sentence_is_translated_and_none_is_left_over() -> None:
    catalogue = read_catalogue("zh")
    assert sentences() - set(catalogue) == set()
    assert set(catalogue) - sentences() == set()


def test_translations_keep_the_places() -> None:
    for english, chinese in read_catalogue("zh").items():
        assert places(english) == places(chinese), english


def test_a_phrase_is_said_again_in_another_language() -> None:
    reason = phrase("no finished run of {mode}", mode="linear probe")
    assert reason == "no finished run of linear probe" == say(reason)
    with speaking("zh"):
        assert say(reason) != reason
        assert read_catalogue("zh")["linear probe"] in say(reason)
        assert say("a claim of my own {x}") == "a claim of my own {x}"
        assert say_list(["1", "2", "3"]) == "1、2和3"
    assert say_list(["1", "2", "3"]) == "1, 2 and 3"


def test_an_unknown_language_is_told() -> None:
    with pytest.raises(UserError, match="REPORT_LANG=fr"), speaking("fr"):
        pass


def test_a_font_that_is_not_there_is_told() -> None:
    with pytest.raises(UserError, match="no font No Such Face"):
        typeface_for("zh", "No Such Face")
    assert typeface_for("en", None).families == ("Libertinus Serif",)

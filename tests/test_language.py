"""The report in Chinese: every sentence of the code has a translation, with the same places."""

import ast
import warnings
from pathlib import Path
from string import Formatter

import matplotlib
import pytest
from test_claims import make

import reports
from qa_core.arms import ARMS, CONTROLS, MODES
from qa_core.errors import UserError
from qa_core.measures.catalogue import MEASURES
from reports import build
from reports.claims import CLAIMS
from reports.evidence.ablation import Ablation
from reports.figures import style
from reports.figures.catalogue import ARMS as ARM_PAGES
from reports.figures.catalogue import COVER, PAGES
from reports.figures.layout import new_figure
from reports.figures.page import Drawn, Page, draw_pages
from reports.figures.studies.knob import LABELS as KNOB_LABELS
from reports.figures.tradeoff import AXES
from reports.figures.trials import KNOBS
from reports.fonts import typeface_for
from reports.html.page import words_of_page
from reports.language import (
    phrase,
    read_catalogue,
    say,
    say_list,
    say_name,
    speaking,
    untranslated,
)
from reports.paper import published
from reports.paper.typeset import words_of_template

FOLDER = Path(str(reports.__file__)).parent
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
WORDS = {
    "quality", "consistency", "cost", "model", "guide", "supported", "refuted", "not decided",
    "not tested", "data-size", "freeze-depth",
    "scale by data size", "learning-rate", "batch-size", "not computed",
    "depth", "scale", "lr", "effect", "n", "saturation",
    "How many blocks should be frozen?", "How large may the correction be?",
    "Who profits from more data, and at which scale?", "Does the batch size matter?",
    "Which learning rate suits each mode?", "What do the details of each mode earn?",
    "How far do head settings alone carry?", "What do random crops and flips earn?",
    "From which end, and of which tower, should blocks be frozen?",
    "crop_flip", "first blocks", "last blocks",
}  # fmt: skip
"""Words that reach `say` as data: targets, verdicts, studies."""


def sentences() -> set[str]:
    records = (*MODES.values(), *CONTROLS.values(), *ARMS.values())
    found = WORDS | {r.label for r in records} | {r.short for r in records if r.short}
    found |= set(style.REFERENCE_LABELS.values())
    found |= {measure.heading for measure in MEASURES if measure.heading}
    found |= {measure.words for measure in MEASURES if measure.words}
    found |= {*AXES.values(), *KNOBS.values()}
    found |= {text for claim in CLAIMS for text in (claim.question, claim.rule)}
    found |= {page.question for page in (*COVER, *PAGES, *ARM_PAGES)}
    found |= {arm.words for arm in ARMS.values()} | set(published.HEADER)
    found |= set(KNOB_LABELS.values())
    found |= words_of_template("template.typ") | words_of_template("side_by_side.typ")
    found |= words_of_page()
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("say", "phrase"):
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found


def places(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_no_translation_is_left_over_and_missing_ones_are_listed() -> None:
    catalogue, said = set(read_catalogue("zh")), sentences()
    if missing := sorted(said - catalogue):
        lines = "\n  ".join(missing)
        warnings.warn(f"reports/zh.json lacks {len(missing)} sentences:\n  {lines}", stacklevel=1)
    assert catalogue - said == set()


def test_what_stays_untranslated_in_a_report_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPORT_LANG", "zh")
    monkeypatch.setenv("REPORT_FONT", str(FONT))  # not every machine has a Chinese one
    with build._language():
        say("linear probe")
        assert say("{n} new sentences", n="3") == "3 new sentences"
        assert say_name("freeze_layers=3") == "freeze_layers=3"
    told = capsys.readouterr().err
    assert "1 texts have no translation" in told and "{n} new sentences" in told
    with speaking("en"):
        say("another new sentence")
        assert untranslated() == []


def test_what_figures_could_not_translate_is_told_though_they_are_drawn_in_forks(
    tmp_path: Path,
) -> None:
    def draw(_: Ablation) -> Drawn:
        figure, axes = new_figure(1, 1, 1.0)
        axes[0, 0].set_title(say("a new title"))
        return figure, say("a new caption")

    pages = [Page(name, "Does it overfit?", draw) for name in ("first", "second")]
    with speaking("zh"):
        drawn, _ = draw_pages(pages, make({"residual": 0.7}), tmp_path)
        assert untranslated() == ["a new title", "a new caption"]
    assert [page["caption"] for page in drawn] == ["a new caption"] * 2


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

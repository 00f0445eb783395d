"""The report's language: English, as it stands in the code, or a catalogue such as zh.json.

Sentences are looked up as gettext does it, the English one being the key. What a catalogue does
not hold (a user's own claim, the error of a run) stays as it is, and the build lists it.
`results.json` and the tables as CSV are English in every language.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from qa_core.errors import UserError

LANGUAGES = ("en", "zh")

_language: ContextVar[str] = ContextVar("language", default="en")
_catalogue: ContextVar[dict[str, str]] = ContextVar("catalogue", default={})  # noqa: B039
_untranslated: ContextVar[dict[str, None]] = ContextVar("untranslated", default={})  # noqa: B039


class Phrase(str):
    """An English sentence that remembers its template, so that it can be said in another language.

    Attributes:
        template: The sentence with its places in braces.
        values: What stands in the places.
    """

    template: str
    values: dict[str, Any]


def language() -> str:
    """The language spoken, as its two-letter code."""
    return _language.get()


def phrase(template: str, **values: Any) -> Phrase:
    """A sentence in English, to be translated later, where it is shown."""
    whole = Phrase(template.format(**values))
    whole.template, whole.values = template, values
    return whole


def say(text: str, **values: Any) -> str:
    """A sentence in the report's language; values that have a translation are translated too."""
    if isinstance(text, Phrase):
        text, values = text.template, text.values
    known = _catalogue.get()
    sentence = known.get(text, text)
    if text and language() != "en" and text not in known:
        _untranslated.get()[str(text)] = None
    said = {k: known.get(v, v) if isinstance(v, str) else v for k, v in values.items()}
    return sentence.format(**said) if values else sentence


def say_name(name: str) -> str:
    """A name in the data, such as a setting's: translated where there is a word for it."""
    return _catalogue.get().get(name, name)


def say_word(name: str) -> str:
    """A name that may be a word of ours, a phrase, or a stranger's, which stays as it is."""
    return say(name) if isinstance(name, Phrase) else name


def say_list(words: Sequence[str]) -> str:
    """Words in a row: a, b and c."""
    if len(words) < 2:
        return "".join(words)
    return say(", ").join(words[:-1]) + say(" and ") + words[-1]


def say_all(sentences: Sequence[str]) -> str:
    """Sentences one after the other, with the language's space between them."""
    return say(" ").join(sentence for sentence in sentences if sentence)


@contextmanager
def speaking(chosen: str) -> Iterator[None]:
    """Everything said inside is in this language.

    Raises:
        UserError: The language is unknown.
    """
    if chosen not in LANGUAGES:
        raise UserError(f"REPORT_LANG={chosen} is unknown; choose {' or '.join(LANGUAGES)}.")
    spoken = _language.set(chosen)
    known = _catalogue.set({} if chosen == "en" else read_catalogue(chosen))
    missed = _untranslated.set({})
    try:
        yield
    finally:
        _untranslated.reset(missed)
        _language.reset(spoken)
        _catalogue.reset(known)


def untranslated() -> list[str]:
    """What `say` was given so far that has no translation and stands as it is."""
    return list(_untranslated.get())


def read_catalogue(chosen: str) -> dict[str, str]:
    """Translations by English sentence."""
    path = Path(__file__).with_name(f"{chosen}.json")
    return json.loads(path.read_text(encoding="utf-8"))

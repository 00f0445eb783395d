"""One look for every figure: palette, marker shapes, names in words."""

from typing import Any

from qa_core.arms import find_mode
from qa_core.records.schema import Reference
from reports.language import say

INK = "#222222"
MUTED = "#767676"
RULE = "#c9c9c9"
LIMIT = "#8a1c1c"

REFERENCE_LABELS: dict[str, str] = {
    Reference.ZEROSHOT: "zero-shot",
    Reference.RIDGE: "ridge",
    Reference.SCENE: "scene statistics",
    Reference.FLOOR: "floor",
    Reference.CEILING: "ceiling",
}
REFERENCE_DASHES: dict[str, Any] = {
    Reference.ZEROSHOT: (0, (1, 1.5)),
    Reference.RIDGE: (0, (5, 2)),
    Reference.SCENE: (0, (6, 1.5, 1, 1.5)),
    Reference.FLOOR: (0, (3, 1.5, 1, 1.5)),
    Reference.CEILING: "-",
}


def colour(mode: str) -> str:
    """A mode's colour, the same in every figure."""
    record = find_mode(mode)
    return record.colour if record else MUTED


def marker(mode: str) -> str:
    """A mode's marker shape, the same in every figure."""
    record = find_mode(mode)
    return record.marker if record else "v"


def label(name: str) -> str:
    """A mode's or a reference's name in words."""
    record = find_mode(name)
    return say(record.label if record else REFERENCE_LABELS.get(name, name))


def short(name: str) -> str:
    """The same where room is scarce."""
    record = find_mode(name)
    return say(record.short) if record and record.short else label(name)


def has_label(name: str) -> bool:
    """Whether a name is that of a mode, an arm or a reference."""
    return find_mode(name) is not None or name in REFERENCE_LABELS


def plain(text: str, longest: int = 18) -> str:
    """A name of the user's as matplotlib should draw it: no mathematics, no control characters."""
    clean = "".join(ch if ch.isprintable() else " " for ch in text)
    clean = clean if len(clean) <= longest else clean[: longest - 1] + "…"
    return clean.replace("$", r"\$")


def format_score(value: float) -> str:
    """A score as the field writes it: .756, −.031; a number beyond 1 keeps its digits."""
    text = f"{abs(value):.3f}"
    sign = "−" if value < 0 and float(text) else ""
    return sign + (text[1:] if text.startswith("0.") else text)

"""Text of users as a page can show it."""

import unicodedata

LONGEST_PROMPT = 180
LONGEST_VALUE = 60
LONGEST_COMMAND = 700


def page_text(text: object, longest: int) -> str:
    """Text fit for a page: one line, no control characters, cut with its length named."""
    raw = str(text)
    clean = "".join(" " if unicodedata.category(ch) in ("Cc", "Cs") else ch for ch in raw)
    clean = " ".join(clean.split())
    if len(clean) <= longest:
        return clean
    return f"{clean[:longest].rstrip()} … ({len(raw):,} characters)"

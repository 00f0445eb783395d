"""Prompts that differ only in how they are written: a split keeps them together."""

import unicodedata


def group_of(prompt: str) -> str:
    """A prompt without differences that do not matter: case, spacing, invisible and final signs.

    Compatible characters are one (Unicode's NFKC, so composed and decomposed accents too), those
    without width (category Cf) are left out, and so is punctuation at the end.
    """
    text = "".join(c for c in unicodedata.normalize("NFKC", prompt) if not _is_invisible(c))
    words = " ".join(unicodedata.normalize("NFKC", text.casefold()).split())
    end = len(words)
    while end and (words[end - 1].isspace() or unicodedata.category(words[end - 1])[0] == "P"):
        end -= 1
    return words[:end] or words


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) == "Cf"

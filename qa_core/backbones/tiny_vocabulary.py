"""Byte-pair merges in which every word of the pretraining captions becomes one token."""

import gzip
import itertools
from collections.abc import Sequence
from pathlib import Path

BASE_TOKENS = 512 + 2
"""256 bytes inside a word and at its end, then the start and the end of a text."""

Word = tuple[str, ...]


def learn_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Merges, in order, that turn each of the ASCII words into one token.

    The most frequent pair is merged first (Sennrich et al., ACL 2016), until no word has two parts.
    """
    parts: list[Word] = [(*word[:-1], word[-1] + "</w>") for word in words]
    merges: list[tuple[str, str]] = []
    while any(len(word) > 1 for word in parts):
        counts: dict[tuple[str, str], int] = {}
        for word in parts:
            for pair in itertools.pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(counts, key=lambda pair: (counts[pair], pair))
        parts = [_merge(word, best) for word in parts]
        merges.append(best)
    return merges


def write_merges(merges: Sequence[tuple[str, str]], path: Path) -> None:
    """Write them in open_clip's format: gzip, one line of heading, no line break at the end."""
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def _merge(word: Word, pair: tuple[str, str]) -> Word:
    merged: list[str] = []
    index = 0
    while index < len(word):
        if word[index : index + 2] == pair:
            merged.append("".join(pair))
            index += 2
        else:
            merged.append(word[index])
            index += 1
    return tuple(merged)

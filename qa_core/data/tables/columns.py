"""Names of a table's columns: ours, those that a user maps to ours, and similar ones."""

import difflib
import fnmatch
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from qa_core.data.findings import listed
from qa_core.data.frames import column
from qa_core.errors import UserError

NEAR: dict[str, tuple[str, ...]] = {
    "name": ("image", "img", "file", "path", "photo", "picture", "id"),
    "prompt": ("caption", "text", "description", "instruction", "query"),
    "mos_quality": ("mos", "quality", "score", "rating", "mean"),
    "mos_align": ("alignment", "align", "consistency", "correspondence", "match"),
    "mos_consistency": ("alignment", "align", "consistency", "correspondence", "match"),
    "std_quality": ("std", "sd"),
    "std_align": ("std", "sd"),
    "std_consistency": ("std", "sd"),
    "n_raters": ("raters", "votes", "count"),
    "generator": ("model", "method", "source", "algorithm", "maker"),
    "setting": (),
    "explanation": ("comment", "reason"),
    "part": ("split", "subset", "fold"),
    "rater": ("annotator", "participant", "subject", "observer", "worker", "user"),
}
"""Our columns, and words that other tables use in the names of such columns."""

PREFIX = "name"
"""Value for `generator`: take what stands before the first _ or / of an image's name."""


def parse_columns(words: Sequence[str]) -> dict[str, str]:
    """Our names and the table's, from `ours=theirs`, one a word or several, blanks between.

    Raises:
        UserError: A word is of another form, or names no column that is known.
    """
    text = " ".join(words).strip()
    pieces = re.split(rf"(?:^|\s)(?=(?:{'|'.join(NEAR)})=)", text)
    given: dict[str, str] = {}
    for piece in filter(None, (piece.strip() for piece in pieces)):
        ours, equals, theirs = piece.partition("=")
        if not equals or ours not in NEAR:
            raise UserError(
                f"--columns {piece!r} is not of the form ours=theirs, as in name=image; ours is one"
                f" of {', '.join(NEAR)}."
            )
        if ours in given:
            raise UserError(f"--columns names {ours} twice.")
        given[ours] = theirs.strip()
    return given


def known_columns(cells: pd.DataFrame, path: Path, given: Mapping[str, str]) -> pd.DataFrame:
    """The cells with columns by the names that we know.

    What is given counts first; other columns are known by their name, whatever its case and
    whether blanks, hyphens or underscores part its words. Several columns for one (`r1,r2` or
    `rater*`) are named `ours 1`, `ours 2` …, one a rater; nothing (`prompt=`) leaves it blank.

    Raises:
        UserError: A given column is not there, or two mean the same.
    """
    taken: dict[str, pd.Series] = {}
    meant: set[str] = set()
    for ours, theirs in given.items():
        if (ours, theirs) == ("generator", PREFIX):
            continue
        if not theirs:
            taken[ours] = pd.Series("", index=cells.index)
        found = _columns_named(cells, path, ours, theirs) if theirs else []
        meant |= set(found)
        for number, own in enumerate(found, 1):
            taken[ours if len(found) == 1 else f"{ours} {number}"] = column(cells, own)
    for name in cells.columns:
        plain = re.sub(r"[\s_-]+", "_", name).casefold()
        ours = plain if plain in NEAR else name
        if ours in given or name in meant:
            continue
        if ours in taken:
            raise UserError(f"{path}: two columns are called {ours!r}; rename one of them.")
        taken[ours] = column(cells, name)
    frame = pd.DataFrame(taken, index=cells.index)
    if given.get("generator") == PREFIX and "name" in frame:
        frame["generator"] = frame["name"].map(prefix_of)
    return frame


def _columns_named(cells: pd.DataFrame, path: Path, ours: str, theirs: str) -> list[str]:
    if theirs in cells.columns:
        return [theirs]
    wanted = [word.strip() for word in theirs.split(",")]
    found: list[str] = []
    for word in wanted:
        matching = [c for c in cells.columns if c == word or fnmatch.fnmatchcase(c, word)]
        if not matching:
            near = difflib.get_close_matches(word, list(cells.columns), 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UserError(
                f"{path}: --columns {ours}={theirs} names no column; the table has"
                f" {listed(list(cells.columns), 20)}{hint}"
            )
        found += [name for name in matching if name not in found]
    return found


def missing_columns(cells: pd.DataFrame, path: Path, names: Sequence[str]) -> str:
    """The sentence on columns that are missing, with what may be meant by each.

    Further columns that the table seems to call otherwise are told with them.
    """
    meant = {name: near[0] for name in names if (near := near_columns(cells, name))}
    for name in _unnamed(cells):
        near = [one for one in near_columns(cells, name) if one not in meant.values()]
        if name not in names and near:
            meant[name] = near[0]
    missing = [repr(name) for name in dict.fromkeys((*names, *meant))]
    they = "column {} is" if len(missing) == 1 else "columns {} are"
    said = f"{path}: {they.format(' and '.join(missing))} missing; the table has"
    said += f" {listed(list(cells.columns), 20)}."
    if not meant:
        return said
    theirs = " and ".join(map(repr, meant.values()))
    given = " ".join(f"{ours}={near}" for ours, near in meant.items())
    given = given if len(meant) == 1 else repr(given)
    ask = "Is it" if len(meant) == 1 else "Are they"
    return f"{said} {ask} {theirs}? Then --columns {given} (COLUMNS=)."


def _unnamed(cells: pd.DataFrame) -> list[str]:
    """What a table of ratings should have and has not by our names: one score is enough."""
    scores = ("mos_quality", "mos_align", "mos_consistency")
    wanted = ("name", "prompt", *(() if any(s in cells for s in scores) else scores[:2]))
    return [name for name in wanted if name not in cells]


def near_columns(cells: pd.DataFrame, name: str) -> list[str]:
    """Columns that may be meant by one that is missing, the nearest first."""
    unknown = [column for column in cells.columns if column not in NEAR]
    plain = {re.sub(r"[\s_-]+", "_", column).casefold(): column for column in unknown}
    close = difflib.get_close_matches(name, list(plain), 1, 0.75)
    words = NEAR.get(name, ())
    spoken = [p for w in words for p in plain if w == p]
    spoken += [p for w in words for p in plain if w in p.split("_")]
    return list(dict.fromkeys(plain[p] for p in (*close, *spoken)))


def prefix_of(name: str) -> str:
    """What stands before the first / or _ of a name: often its generator."""
    return re.split(r"[/\\_]", name, maxsplit=1)[0]

"""Tables as LaTeX with booktabs, from the same rows as the page's."""

from collections.abc import Sequence
from typing import Any

_SPECIAL = {
    **{chr(code): " " for code in (*range(32), 127)},  # TeX refuses control characters
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "−": "$-$",
    "–": "--",
    "≤": r"$\leq$",
    "±": r"$\pm$",
    "’": "'",
}


def escape(text: str) -> str:
    """Text that LaTeX prints as it is; what the fonts lack is left to its engine."""
    return "".join(
        _SPECIAL.get(letter, letter) + ("{}" if letter in "-–" and after in ("-", "–") else "")
        for letter, after in zip(text, f"{text[1:]} ", strict=False)  # hyphens in a row make dashes
    )


def booktabs(
    header: Sequence[str], groups: Sequence[tuple[str, Sequence[Sequence[str]]]], caption: str
) -> str:
    r"""A table environment; needs \usepackage{booktabs}.

    Args:
        header: One title a column.
        groups: Title (empty for none) and rows of each group; a rule stands between groups.
        caption: What the table shows.
    """
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        _row(header),
    ]
    for title, rows in groups:
        lines.append(r"\midrule")
        if title:
            lines.append(rf"\multicolumn{{{len(header)}}}{{l}}{{\emph{{{escape(title)}}}}} \\")
        lines += [_row(row) for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _row(cells: Sequence[str]) -> str:
    return " & ".join(escape(cell) for cell in cells) + r" \\"


def cell_text(cell: dict[str, Any]) -> str:
    """A page's cell in one line: the value, and its interval in brackets."""
    return f"{cell['value']} [{cell['interval']}]" if cell["interval"] else cell["value"]

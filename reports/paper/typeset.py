"""Typst: content and figures become pages, figures become pictures."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from re import findall
from tempfile import TemporaryDirectory
from typing import Any

from qa_core.errors import UserError
from reports.fonts import typeface
from reports.language import say
from reports.verdicts.results import write_json

HERE = Path(__file__).parent
SHARED = tuple(HERE / f"{name}.typ" for name in ("common", "arms", "published"))
FIXED_TIMESTAMP = 1_700_000_000
_LATEST_TIMESTAMP = 253_402_300_799  # the end of the year 9999
PICTURE_PPI = 200
_UNSUSPECTED = b"/Suspects false"


def compile_pdf(template: str, content: dict[str, Any], files: Mapping[str, Path]) -> bytes:
    """The PDF as bytes, the same for the same input.

    Args:
        template: File name of the template, which reads content.json and files beside it.
        content: What content.json holds; all of it is text, never markup.
        files: Figures and thumbnails by the name under which the template finds them.

    Raises:
        RuntimeError: On any Typst warning, such as a font that is not there.
    """
    with TemporaryDirectory(prefix="report-") as name:
        folder = Path(name)
        for source in (*SHARED, HERE / template):
            shutil.copy(source, folder)
        for target, source in files.items():
            shutil.copy(source, folder / target)
        face = {"fonts": list(typeface.get().families)}
        write_json(folder / "content.json", content | face | {"words": _words(template)})
        pdf = _compile(folder / template, "pdf")
    assert isinstance(pdf, bytes)
    # Its default; poppler takes it for an error where it is written. Nothing in the file moves.
    return pdf.replace(_UNSUSPECTED, b" " * len(_UNSUSPECTED))


def write_pictures(figures: Path, names: Iterable[str]) -> None:
    """Write a PNG beside each SVG, set in the same face as the pages."""
    named = sorted(names)
    if not named:
        return
    pages = [f'#image("{name}.svg", width: 16cm)\n' for name in named]
    with TemporaryDirectory(prefix="report-") as scratch:
        folder = Path(scratch)
        for name in named:
            shutil.copy(figures / f"{name}.svg", folder)
        page = "#set page(width: auto, height: auto, margin: 3pt)\n"
        (folder / "figures.typ").write_text(page + "#pagebreak()\n".join(pages), encoding="utf-8")
        pictures = _compile(folder / "figures.typ", "png")
    for name, picture in zip(named, [pictures] if len(named) == 1 else pictures, strict=True):
        (figures / f"{name}.png").write_bytes(picture)


def _compile(source: Path, form: Any) -> Any:
    import typst

    face = typeface.get()
    compiled, warnings = typst.compile_with_warnings(
        source,
        root=source.parent,
        font_paths=list(face.folders),
        ignore_system_fonts=not face.system,
        format=form,
        ppi=PICTURE_PPI,
        timestamp=timestamp(),
    )
    if warnings:
        raise RuntimeError("Typst: " + "; ".join(w.message for w in warnings))
    return compiled


def timestamp() -> int:
    """The date of the PDF in seconds since 1970, the same until SOURCE_DATE_EPOCH says another."""
    given = os.environ.get("SOURCE_DATE_EPOCH") or str(FIXED_TIMESTAMP)
    if not given.isdecimal() or int(given) > _LATEST_TIMESTAMP:
        raise UserError(f"SOURCE_DATE_EPOCH={given} is not a number of seconds since 1970.")
    return int(given)


def words_of_template(template: str) -> set[str]:
    """The English words that a template and what it shares with others say themselves."""
    return words_of((*SHARED, HERE / template))


def words_of(files: Iterable[Path]) -> set[str]:
    """The English words that templates say themselves, in t("…")."""
    return {
        word
        for path in files
        for word in findall(r'\bt\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    }


def _words(template: str) -> dict[str, str]:
    return {word: say(word) for word in sorted(words_of_template(template))}

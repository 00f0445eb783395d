"""The faces that set the report: Libertinus, which Typst brings, and for Chinese one of the user's.

Typst has no Chinese face inside, so one has to be on the machine or be named.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from qa_core.errors import UserError

LATIN = "Libertinus Serif"
CHINESE = (
    "Noto Serif CJK SC",
    "Noto Serif SC",
    "Source Han Serif SC",
    "Songti SC",
    "SimSun",
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "AR PL UMing CN",
    "AR PL SungtiL GB",
    "Droid Sans Fallback",
)
"""Families looked for, serif first, to go with Libertinus."""


@dataclass(frozen=True)
class Typeface:
    """Families in order of preference.

    Attributes:
        families: Names, the Latin one first.
        folders: Folders beside the system's in which Typst looks.
        system: Whether Typst looks at the system's fonts.
    """

    families: tuple[str, ...] = (LATIN,)
    folders: tuple[Path, ...] = ()
    system: bool = False


typeface: ContextVar[Typeface] = ContextVar("typeface", default=Typeface())  # noqa: B039
"""What figures and pages are set in."""


def typeface_for(language: str, wanted: str | None) -> Typeface:
    """The faces of a language.

    Args:
        language: "en" or "zh".
        wanted: A font's family, its file or its folder; None looks for one.

    Raises:
        UserError: There is no Chinese face, or not the one that is wanted.
    """
    if language == "en":
        return Typeface()
    from typst import Fonts

    if wanted and Path(wanted).exists():
        folder = Path(wanted) if Path(wanted).is_dir() else Path(wanted).parent
        inside = Fonts(False, False, [folder]).fonts()
        names = [f.family for f in inside if Path(wanted).is_dir() or _is_file(f.path, wanted)]
        if not names:
            raise UserError(f"REPORT_FONT={wanted} holds no font that Typst can read.")
        return Typeface((LATIN, names[0]), (folder,))
    present = set(Fonts().families())
    for family in (wanted,) if wanted else CHINESE:
        if family in present:
            return Typeface((LATIN, family), system=True)
    if wanted:
        raise UserError(f"There is no font {wanted} on this machine; REPORT_FONT may be a file.")
    raise UserError(
        "A report in Chinese needs a Chinese font, and this machine has none that is known: "
        "install one (Debian: fonts-noto-cjk), or name a family, file or folder in REPORT_FONT."
    )


def _is_file(path: str | None, wanted: str) -> bool:
    return path is not None and Path(path).resolve() == Path(wanted).resolve()


def register_with_matplotlib(face: Typeface) -> None:
    """Let matplotlib measure text with a face that lies outside the system's folders."""
    from matplotlib import font_manager

    for folder in face.folders:
        for path in font_manager.findSystemFonts([str(folder)]):
            font_manager.fontManager.addfont(path)


@contextmanager
def setting_in(face: Typeface) -> Iterator[None]:
    """Figures and pages made inside are set in this face."""
    token = typeface.set(face)
    try:
        yield
    finally:
        typeface.reset(token)

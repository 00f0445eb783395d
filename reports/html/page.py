"""The report as one page for a browser: no network, no script but its own, sorted and filtered."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from reports.figures.breakdown import PAGE as BREAKDOWN
from reports.language import say
from reports.paper.typeset import words_of

HERE = Path(__file__).parent
TEMPLATE, STYLE, SCRIPT = "report.html.j2", "style.css", "script.js"


def write_page(
    file: Path, content: dict[str, Any], figures: Path, browser: dict[str, Any] | None
) -> None:
    """Write the page.

    Args:
        file: Where to.
        content: What the PDF shows; all of it is text, never markup.
        figures: Folder of the figures' pictures.
        browser: What `browser_data` gives.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in (STYLE, SCRIPT))
    shown = [one for one in content["figures"] if one["name"] == BREAKDOWN.name]
    text = environment.get_template(TEMPLATE).render(
        content=content | {"breakdown_figure": shown[0] if shown else None},
        browser=browser,
        t=say,
        picture=lambda name: _picture(figures / f"{name}.png"),
        style=Markup(style),  # ours, as the script
        script=Markup(script),
        may_run=_sha256(script),
        may_style=_sha256(style),
    )
    file.write_text(text, encoding="utf-8")


def words_of_page() -> set[str]:
    """The English words that the template says itself."""
    return words_of((HERE / TEMPLATE,))


def _picture(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _sha256(text: str) -> str:
    """The hash by which a Content-Security-Policy names what may run or style the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

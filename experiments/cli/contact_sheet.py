"""Scored images on one HTML page, the best first: all in one file, no script, nothing fetched."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qa_core.data.decode import decode_small
from qa_core.data.rated_table import MosRange
from qa_core.system.files import written_whole

THUMBNAIL_PX = 160
_STYLE = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:1.2em}"
    "figure{margin:0}img{max-width:100%;display:block}"
    "figcaption{overflow-wrap:anywhere}b{font-variant-numeric:tabular-nums}"
)


@dataclass(frozen=True)
class ScoredImage:
    """One scored image.

    Attributes:
        path: Its file.
        prompt: Its prompt.
        scores: Its scores by name.
    """

    path: Path
    prompt: str
    scores: Mapping[str, float]


def write_contact_sheet(
    path: Path,
    images: Sequence[ScoredImage],
    sorted_by: str,
    total: int,
    unreadable: int,
    ranges: Mapping[str, MosRange],
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        images: What to show, in order.
        sorted_by: Name of the score that the order follows.
        total: How many images were scored.
        unreadable: How many could not be read.
        ranges: Range of people's ratings by the name of a score from 0 to 1.
    """
    shown = "" if len(images) == total else f", the {len(images)} highest and lowest shown"
    lost = f"; {unreadable} could not be read" if unreadable else ""
    # A file's name may hold bytes that are no text; the page shows them as \\x escapes.
    with (
        written_whole(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace") as page,
    ):
        page.write(
            "<!doctype html><meta charset='utf-8'><title>Scored images</title>"
            f"<style>{_STYLE}</style><h1>{total} images by {html.escape(sorted_by)}</h1>"
            f"<p>Highest first{shown}{lost}. {_scale_words(ranges)}</p><main>"
        )
        for image in images:
            page.write(_figure(image, ranges))
        page.write("</main>\n")


def _scale_words(ranges: Mapping[str, MosRange]) -> str:
    scales = [f"{name} from {low:g} to {high:g}" for name, (low, high) in ranges.items()]
    return f"Scores run from 0 to 1; in brackets, on the scale of the ratings, {', '.join(scales)}."


def _figure(image: ScoredImage, ranges: Mapping[str, MosRange]) -> str:
    numbers = " ".join(
        f"{name} <b>{image.scores[name]:.3f}</b> ({low + image.scores[name] * (high - low):.2f})"
        for name, (low, high) in ranges.items()
    )
    return (
        f"<figure><img alt='' src='data:image/jpeg;base64,{_thumbnail(image.path)}'>"
        f"<figcaption>{numbers}<br>{html.escape(image.prompt)}<br>"
        f"<small>{html.escape(str(image.path))}</small></figcaption></figure>\n"
    )


def _thumbnail(path: Path) -> str:
    data = io.BytesIO()
    decode_small(path, THUMBNAIL_PX).save(data, "JPEG", quality=85)
    return base64.b64encode(data.getvalue()).decode()

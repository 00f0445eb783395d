"""The report of an ablation, built from MLflow alone."""

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from qa_core import command_line
from qa_core.errors import UserError
from qa_core.records.mlflow_store import experiment_name
from qa_core.records.schema import check_margin
from qa_core.system.files import sqlite_address, written_together
from reports.current import HTML, PDF, RESULTS, note_built

if TYPE_CHECKING:
    from reports.verdicts.decided import Decided

DEFAULT_OUT, SIDE_BY_SIDE_OUT = Path("runs/ablation"), Path("runs/side_by_side")


@dataclass(frozen=True)
class BuildConfig:
    """Build report.pdf, report.html, results.json, tables and figures from an MLflow store.

    The environment may hold REPORT_LANG (en or zh) and REPORT_FONT (for zh: family or file).
    """

    out: Path | None = None
    """Folder of the ablation, where the report is written (default: runs/ablation; with --runs:
    runs/side_by_side)."""
    tracking_uri: str | None = None
    """MLflow store or server to read; by default OUT/mlflow.db. A server has one experiment a
    folder, by the folder's name."""
    runs: str | None = None
    """Folders of several ablations, blanks between them, to set side by side."""
    predictions: str | None = None
    """NAME:FILE.csv, someone else's predictions (name,quality,consistency, or a file of
    experiments/predict.py) as one more row."""
    claims: Path | None = None
    """A Python file with claims of your own in CLAIMS."""
    margin: float | None = None
    """Differences in SROCC below it count as none: the margin that the ablation was run with, which
    stays as it is; ablations of earlier versions noted none (.02)."""


def build_report(
    out: Path,
    tracking_uri: str | None = None,
    predictions: str | None = None,
    claims: Path | None = None,
    margin: float | None = None,
) -> Path:
    """Build everything below `out`; returns the path of report.pdf.

    The same store gives the same bytes: the PDF's date is SOURCE_DATE_EPOCH, or a fixed one.

    Raises:
        UserError: If there is no store, or what it holds must not be pooled.
    """
    uri = tracking_uri or _store_below(out)
    rows = named_files(predictions or "")  # before seconds of imports
    from reports.own_claims import all_claims
    from reports.verdicts.decided import decide_ablation

    asked, experiment = all_claims(claims), experiment_name(tracking_uri, out)
    with _language(), TemporaryDirectory(prefix="report-") as downloads:
        decided = decide_ablation(uri, Path(downloads), asked, rows, experiment, margin)
        with written_together(out) as new:
            pdf = _write(decided, new)
        note_built(out, decided.ablation.ended)
        return out / pdf.name


def build_side_by_side(
    runs: list[Path],
    out: Path,
    predictions: str | None = None,
    claims: Path | None = None,
    margin: float | None = None,
) -> Path:
    """Build a report of several ablations, one column each, below `out`.

    Raises:
        UserError: Fewer than two, or one of them has no store.
    """
    if len(set(run.resolve() for run in runs)) < max(len(runs), 2):
        raise UserError("RUNS needs the folders of at least two different ablations.")
    uris = {str(run): _store_below(run) for run in runs}
    rows = named_files(predictions or "")
    from reports.own_claims import all_claims
    from reports.paper.side_by_side import write_side_by_side
    from reports.verdicts.decided import decide_ablation

    asked = all_claims(claims)
    with _language(), TemporaryDirectory(prefix="report-") as downloads:
        decided = {
            run: decide_ablation(uri, Path(downloads), asked, rows, margin=margin)
            for run, uri in uris.items()
        }
        with written_together(out) as new:
            return out / write_side_by_side(decided, new).name


def _language() -> Any:
    """The language of the environment, with a face that has its letters."""
    from contextlib import ExitStack

    from reports.fonts import setting_in, typeface_for
    from reports.language import speaking, untranslated
    from reports.paper.typeset import timestamp

    chosen = os.environ.get("REPORT_LANG") or "en"
    stack = ExitStack()
    stack.enter_context(speaking(chosen))
    stack.callback(lambda: _tell(untranslated()))
    timestamp()  # a wrong one is told before anything is written
    stack.enter_context(setting_in(typeface_for(chosen, os.environ.get("REPORT_FONT") or None)))
    return stack


def _tell(sentences: list[str]) -> None:
    """List on stderr what stands untranslated in the report."""
    if sentences:
        head = f"REPORT_LANG: {len(sentences)} texts have no translation and stand as they are:"
        print("\n  ".join([head, *sentences]), file=sys.stderr)


def _words_of(variable: str, text: str) -> list[str]:
    """Words between blanks, quoted as in a shell where they hold some."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(f"{variable}={text} cannot be read: {error}.") from None


def named_files(predictions: str) -> dict[str, Path]:
    """Files of other people's predictions by the name of their row.

    Raises:
        UserError: A word is not of the form NAME:FILE, or there is no such file.
    """
    found: dict[str, Path] = {}
    for word in _words_of("PREDICTIONS", predictions):
        name, _, file = word.partition(":")
        if not name or not file:
            raise UserError(f"PREDICTIONS={word} is not of the form name:file.csv.")
        if not Path(file).is_file():
            raise UserError(f"PREDICTIONS={word}: there is no file {file}.")
        if name in found:
            raise UserError(f"PREDICTIONS={word}: {name} is there twice.")
        found[name] = Path(file)
    return found


def _write(decided: "Decided", out: Path) -> Path:
    """Write results.json, tables, figures and pages."""
    from reports.evidence.commands import command_rows
    from reports.figures.catalogue import draw_all, draw_arms, draw_cover
    from reports.html.browser import browser_data, browser_note
    from reports.html.page import write_page
    from reports.language import say
    from reports.paper.arms import arm_content, write_arm_tables
    from reports.paper.breakdown import breakdown_content, write_breakdown
    from reports.paper.content import build_content
    from reports.paper.published import published_content
    from reports.paper.tables import write_csv, write_latex
    from reports.paper.typeset import compile_pdf, write_pictures
    from reports.verdicts.results import write_json

    ablation, results = decided.ablation, decided.results
    figures, tables = out / "figures", out / "tables"
    for folder in (figures, tables):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(out / RESULTS, results)
    write_csv(tables, ablation, results, command_rows(ablation))
    write_arm_tables(tables, ablation, results)
    write_breakdown(tables, ablation)  # before the figures, whose processes then have it
    cover = draw_cover(ablation, figures)
    drawn, not_drawn = draw_all(ablation, figures)
    of_arms = draw_arms(ablation, figures)
    content = build_content(ablation, results, (decided.guide, decided.tuned), drawn, not_drawn)
    content |= arm_content(ablation, results, of_arms) | published_content(
        {say("This ablation"): (ablation, results)}
    )
    content |= breakdown_content(ablation) | {"cover": cover}
    write_latex(tables, content)
    files = {
        f"{one['name']}.svg": figures / f"{one['name']}.svg" for one in (*cover, *drawn, *of_arms)
    }
    for number, case in enumerate(content["worst"]):
        picture = f"worst_{number}.jpg"
        files[picture], case["source"] = Path(case["source"]), picture
    write_pictures(figures, [one["name"] for one in (*cover, *drawn, *of_arms)])
    browser = browser_data(ablation)
    note = browser_note(browser) if browser else ""
    write_page(out / HTML, content | {"browser_note": note}, figures, browser)
    (out / PDF).write_bytes(compile_pdf("template.typ", content, files))
    return out / PDF


def _store_below(out: Path) -> str:
    store = out / "mlflow.db"
    if not store.exists():
        raise UserError(
            f"There is no {store}: run `make ablation` first, or give the folder (OUT=, --out) or"
            " the server (TRACKING_URI=, --tracking_uri) that holds one."
        )
    return sqlite_address(store)


def main() -> None:
    """Command line."""
    config = command_line.parse(BuildConfig, BuildConfig.__doc__ or "")
    command_line.run(lambda: print(_build(config)))


def _build(config: BuildConfig) -> str:
    """Build what is asked for; what was written, in words."""
    margin = None if config.margin is None else check_margin(config.margin)
    if config.runs is None:
        out = config.out or DEFAULT_OUT
        pdf = build_report(out, config.tracking_uri, config.predictions, config.claims, margin)
        return f"{pdf}, for a browser {out / HTML}"
    if config.tracking_uri is not None:
        raise UserError("--runs names folders, each with its own store: leave out --tracking_uri.")
    runs = [Path(name) for name in _words_of("RUNS", config.runs)]
    out = config.out or SIDE_BY_SIDE_OUT
    return str(build_side_by_side(runs, out, config.predictions, config.claims, margin))


if __name__ == "__main__":
    main()

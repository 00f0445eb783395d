"""The report from MLflow: `python -m reports.build --out OUT [--tracking_uri URI]`."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tyro

from qa_core.errors import UserError

TEMPLATE = Path(__file__).with_name("template.typ")
FIXED_TIMESTAMP = 1_700_000_000


@dataclass(frozen=True)
class BuildConfig:
    """Build report.pdf, results.json, tables and figures from an ablation's MLflow store."""

    out: Path = Path("runs/ablation")
    """Folder of the ablation; the report is written there."""
    tracking_uri: str | None = None
    """MLflow store or server to read; by default OUT/mlflow.db."""


def build_report(out: Path, tracking_uri: str | None = None) -> Path:
    """Build everything below `out`; returns the path of report.pdf.

    The same store gives the same bytes: the PDF's date is SOURCE_DATE_EPOCH, or a fixed one.

    Raises:
        UserError: If there is no store, or what it holds must not be pooled.
    """
    from reports.claims import CLAIMS, Verdict, decide
    from reports.content import build_content
    from reports.contrasts import Evidence
    from reports.load import load_ablation
    from reports.pages import draw_all
    from reports.pooled import pooled_entries
    from reports.results import build_results, write_json
    from reports.tables import write_tables

    ablation = load_ablation(tracking_uri or _store_below(out))
    figures, tables = out / "figures", out / "tables"
    for folder in (figures, tables):
        folder.mkdir(parents=True, exist_ok=True)
    guide = decide(CLAIMS, Evidence(ablation, "guide"), ablation.targets)
    tuned: list[Verdict] = []
    if ablation.is_tuned:
        tuned = decide(CLAIMS, Evidence(ablation, "tuned"), ablation.targets)
    results = build_results(ablation, guide, tuned, pooled_entries(ablation))
    write_json(out / "results.json", results)
    write_tables(tables, ablation, results, guide)
    drawn = draw_all(ablation, figures)
    content = build_content(ablation, results, (guide, tuned), drawn)
    (out / "report.pdf").write_bytes(compile_pdf(content, figures))
    return out / "report.pdf"


def compile_pdf(content: dict[str, Any], figures: Path) -> bytes:
    """The PDF as bytes; the template reads content.json, figures and thumbnails beside it.

    Raises:
        RuntimeError: On any Typst warning, such as a font that is not there.
    """
    import typst

    from reports.results import write_json

    with TemporaryDirectory(prefix="report-") as name:
        folder = Path(name)
        shutil.copy(TEMPLATE, folder / "report.typ")
        for figure in content["figures"]:
            shutil.copy(figures / f"{figure['name']}.svg", folder)
        worst = [
            case | {"source": _copy(case["source"], folder / f"worst_{i}.jpg")}
            for i, case in enumerate(content["worst"])
        ]
        write_json(folder / "content.json", content | {"worst": worst})
        pdf, warnings = typst.compile_with_warnings(
            folder / "report.typ",
            root=folder,
            ignore_system_fonts=True,
            format="pdf",
            timestamp=int(os.environ.get("SOURCE_DATE_EPOCH", FIXED_TIMESTAMP)),
        )
    if warnings:
        raise RuntimeError("Typst: " + "; ".join(w.message for w in warnings))
    assert isinstance(pdf, bytes)
    return pdf


def _copy(source: str, target: Path) -> str:
    shutil.copy(source, target)
    return target.name


def _store_below(out: Path) -> str:
    store = out / "mlflow.db"
    if not store.exists():
        raise UserError(f"There is no {store}: run `make ablation` first, or give --tracking_uri.")
    return f"sqlite:///{store.resolve()}"


def main() -> None:
    """Command line."""
    config = tyro.cli(BuildConfig, config=(tyro.conf.FlagConversionOff,), use_underscores=True)
    try:
        print(build_report(config.out, config.tracking_uri))
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

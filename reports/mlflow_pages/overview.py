"""What MLflow's pages show of an ablation as a whole: report, descriptions, means, ready views.

All of it is made of what the store and `results.json` hold already; made twice, it is the same.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from qa_core.arms import find_mode
from qa_core.errors import UserError
from qa_core.measures.catalogue import SROCC
from qa_core.modes import freezing_of
from qa_core.records.schema import CARD_FILE, Kind, Param, Reference, Tag
from qa_core.records.tracking import Tracker
from qa_core.system.files import json_of
from qa_core.targets import Target
from reports.evidence.frames import mode_rank
from reports.figures.style import label
from reports.mlflow_pages.champion_card import publish_card
from reports.mlflow_pages.numbers import score_words, size_words
from reports.mlflow_pages.scores import log_scores
from reports.mlflow_pages.views import (
    COLOUR_TAG,
    modes_view,
    plain_link,
    run_link,
    trials_view,
    view_link,
    view_tag,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

NOTE_TAG = "mlflow.note.content"
REPORT, PAGE, RESULTS = "report.pdf", "report.html", "results.json"


def publish(tracker: Tracker, out: Path) -> "Run | None":
    """Bring MLflow's pages up to date with an ablation.

    Args:
        tracker: The store that holds it.
        out: Its folder, with report.pdf and results.json where they are built.

    Returns:
        The ablation's run, or None where the store holds none.
    """
    ablations = tracker.runs(Kind.ABLATION)
    if not ablations:
        return None
    ablation = ablations[0]
    tracker = tracker.of_ablation(ablation.info.run_id)
    results = read_results(out)
    modes, trials = tracker.runs(Kind.MODE), tracker.runs(Kind.TRIAL)
    _describe_trials(tracker, trials, ablation.data.params)
    _colour(tracker, [*modes, *trials])
    if results.get("complete"):
        log_scores(tracker, modes, results)
    publish_card(tracker, ablation, results, out)
    if _keeps_files_in(ablation, out):
        for name in (REPORT, PAGE, RESULTS, CARD_FILE):
            if (out / name).is_file():
                tracker.client.log_artifact(ablation.info.run_id, str(out / name))
    _write_views(tracker, ablation, modes)
    tracker.log(ablation.info.run_id, tags={NOTE_TAG: ablation_note(tracker, ablation, results)})
    return ablation


def links(tracker: Tracker, ablation: "Run", base: str) -> dict[str, str]:
    """Links by what they show, for a server at `base`."""
    experiment = tracker.experiment_id
    modes = tracker.of_ablation(ablation.info.run_id).runs(Kind.MODE)
    return {
        "trials": view_link(base, experiment, "trials"),
        "as a table": view_link(base, experiment, "trials", charts=False),
        "all modes": view_link(base, experiment, "modes"),
        "plainly": plain_link(base, experiment, [run.info.run_id for run in modes]),
        "the ablation": run_link(base, experiment, ablation.info.run_id),
    }


def ablation_note(tracker: Tracker, ablation: "Run", results: Mapping[str, Any]) -> str:
    """Description of the ablation's run in Markdown: what it is, the verdicts, the report."""
    params = ablation.data.params
    what = (
        f"Modes of training CLIP ({params[Param.BACKBONE]}) for quality and consistency scores,"
        f" compared on **{params[Param.DATA_NAME]}**: {size_words(params, results)},"
        f" protocol {params[Param.PROTOCOL]},"
        f" {params[Param.N_SPLITS]} splits, {params[Param.N_TRIALS]} trials a mode,"
        f" profile {params[Param.PROFILE]}."
    )
    if not results:
        return f"{what}\n\nThe report is not built yet."
    pdf, page = (
        run_link("", tracker.experiment_id, ablation.info.run_id, name) for name in (REPORT, PAGE)
    )
    return "\n\n".join(
        [
            _recommended(results),
            what,
            f"[The report as PDF]({pdf}), with figures, intervals and the reasons of all that was"
            f" not tested; and [for a browser]({page}), with tables to sort and single images.",
            _scores(results, _targets(params)),
            _table(["claim", "on", "verdict", "effect"], _verdict_rows(results["claims"])),
            "Every interval is adjusted as the report says; a verdict holds on this data.",
        ]
    )


def _scores(results: Mapping[str, Any], targets: Sequence[Target]) -> str:
    """SROCC of modes and references with intervals."""
    modes, references = results["guide_modes"], results["baselines"]
    rows = [(name, modes[name]) for name in sorted(modes, key=mode_rank)]
    rows += [(name, references[name]) for name in Reference if name in references]
    return _table(
        ["test SROCC, guide's setting", *targets],
        [
            [label(name), *(score_words(m.get(SROCC.key(t), {})) for t in targets)]
            for name, m in rows
        ],
    )


def _recommended(results: Mapping[str, Any]) -> str:
    """The recommendation; empty for results of an earlier version."""
    from reports.text.advice import recommendation_words

    found = results.get("recommendation")
    return "" if found is None else f"**{recommendation_words(found)}**"


def _verdict_rows(claims: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    from reports.claims import CLAIMS

    questions = {claim.id: claim.question for claim in CLAIMS}
    rows = []
    for claim in claims:
        effect = {"mean": claim["effect"], "low": claim["low"], "high": claim["high"]}
        words = claim.get("reason", "")
        if claim["effect"] is not None:
            words = score_words(effect, (-math.inf, math.inf))
        question = questions.get(claim["id"], claim["id"])
        rows.append([question, claim["target"], f"**{claim['verdict']}**", words])
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', ' ') for cell in line)} |" for line in lines)


def _targets(params: Mapping[str, str]) -> list[Target]:
    return [Target(name) for name in params[Param.TARGETS].split(",")]


def read_results(out: Path) -> dict[str, Any]:
    """results.json of a folder; empty where it is not built yet.

    Raises:
        UserError: The file is damaged.
    """
    file = out / RESULTS
    if not file.is_file():
        return {}
    try:
        results = json_of(file)
    except ValueError:
        results = None
    if not isinstance(results, dict):
        raise UserError(f"{file} is damaged: make report OUT={out} builds it again.")
    return results


def _keeps_files_in(ablation: "Run", out: Path) -> bool:
    """False for a copied folder, whose store still names the folder that it came from."""
    address = urlparse(ablation.info.artifact_uri)
    return address.scheme != "file" or Path(unquote(address.path)).is_relative_to(out.resolve())


def _describe_trials(tracker: Tracker, trials: Sequence["Run"], params: Mapping[str, str]) -> None:
    """Give trials of earlier versions the parameters that the view shows."""
    for run in trials:
        if "frozen_blocks" not in run.data.params:
            mode = run.data.tags[Tag.MODE]
            whole = params[Param.IMAGE_DEPTH] if freezing_of(mode) == "all" else 0
            depth = run.data.params.get("freeze_layers", whole)
            tracker.log(run.info.run_id, params={"mode": mode, "frozen_blocks": depth})


def _colour(tracker: Tracker, runs: Sequence["Run"]) -> None:
    """Draw a mode's runs in the colour that the report gives it."""
    for run in runs:
        record = find_mode(run.data.tags[Tag.MODE])
        if record is not None and run.data.tags.get(COLOUR_TAG) != record.colour:
            tracker.log(run.info.run_id, tags={COLOUR_TAG: record.colour})


def _write_views(tracker: Tracker, ablation: "Run", modes: Sequence["Run"]) -> None:
    targets = _targets(ablation.data.params)
    tags = dict(view_tag(v, ablation.info.start_time) for v in views(targets))
    tags[NOTE_TAG] = experiment_note(tracker, ablation, modes)
    for name, value in tags.items():
        tracker.client.set_experiment_tag(tracker.experiment_id, name, value)


def views(targets: Sequence[Target]) -> tuple[Any, ...]:
    """The ready views of an ablation with these scores."""
    return trials_view(targets), modes_view(targets)


def experiment_note(tracker: Tracker, ablation: "Run", modes: Sequence["Run"]) -> str:
    """Description of the experiment in Markdown: what its runs are, and where to look first."""
    experiment, run_id = tracker.experiment_id, ablation.info.run_id
    plain = plain_link("", experiment, [run.info.run_id for run in modes])
    return "\n".join(
        [
            "How much of CLIP may training touch? One run holds the ablation, one each mode; below"
            " the modes stand their tuning trials and the confirmations on each split.",
            "",
            f"* [Trials]({view_link('', experiment, 'trials')}):"
            " knobs, gap and SROCC of every setting that was tried"
            f" ([as a table]({view_link('', experiment, 'trials', charts=False)}))",
            f"* [All modes, confirmed]({view_link('', experiment, 'modes')}), and the references:"
            " an upright bar is a mean with its interval"
            f" ([MLflow's own comparison]({plain}))",
            f"* [The ablation with its verdicts]({run_link('', experiment, run_id)}) and"
            f" [the report as PDF]({run_link('', experiment, run_id, REPORT)})",
        ]
    )

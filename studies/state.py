"""Progress of ablations, read from MLflow alone: running here or elsewhere, or stopped."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_core.records.schema import (
    CONFIRM,
    RESULT_KINDS,
    TUNE,
    Kind,
    Param,
    Tag,
    is_complete,
    is_finished,
    records_of,
)
from qa_core.records.study_listing import StudyListing
from qa_core.records.tracking import Tracker
from studies.board import pool_row
from studies.sign_of_life import TAG, Sign, read_sign

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class Row:
    """One study of one mode.

    Attributes:
        study: Its name.
        mode: The mode, or nothing for what all modes share.
        done: Results that are there.
        running: Jobs at work.
        failed: Results that could not be had.
        pruned: Trials that were given up, among those done.
        total: Results in the end, or None where that is not known yet.
        best: Best selection metric so far, or None.
    """

    study: str
    mode: str
    done: int
    running: int
    failed: int
    pruned: int
    total: int | None
    best: float | None


@dataclass(frozen=True)
class AblationState:
    """How far an ablation is.

    Attributes:
        name: Data set and profile.
        complete: Whether all of it is there.
        sign: What its driver said last, or None if it never did.
        last_s: When its last result was written, in seconds since 1970, or None.
        rows: Its studies by mode.
    """

    name: str
    complete: bool
    sign: Sign | None
    last_s: float | None
    rows: tuple[Row, ...]

    @property
    def is_alive(self) -> bool:
        """Whether its driver is at work."""
        return self.sign is not None and self.sign.is_alive


def read_states(tracker: Tracker) -> Iterator[AblationState]:
    """The state of every ablation in a store, oldest first; nothing is written."""
    for run in tracker.runs(Kind.ABLATION):
        with records_of(tracker.uri):
            state = _state(tracker.of_ablation(run.info.run_id), run)
        yield state


def _state(tracker: Tracker, ablation: "Run") -> AblationState:
    runs = {kind: tracker.runs(kind) for kind in (*RESULT_KINDS, Kind.MODE, Kind.STUDY)}
    sign = read_sign(ablation.data.tags.get(TAG))
    names = sign.running if sign is not None and sign.is_alive else ()
    running = Counter(tuple(name.split(" ")[:2]) for name in names)
    results = [run for kind in RESULT_KINDS for run in runs[kind]]
    ends = [run.info.end_time / 1000 for run in results if run.info.end_time is not None]
    rows = [
        _row(study, mode, total, found, running[study, mode])
        for (study, mode), (total, found) in _studies(ablation, runs).items()
        if total or found
    ]
    return AblationState(
        name=str(ablation.info.run_name),
        complete=is_complete(ablation),
        sign=sign,
        last_s=max(ends, default=None),
        rows=tuple(rows),
    )


def _studies(
    ablation: "Run", runs: "dict[Kind, list[Run]]"
) -> "dict[tuple[str, str], tuple[int | None, list[Run]]]":
    """Expected number and runs of each study of a mode."""
    n_splits, n_trials = (
        int(ablation.data.params[name]) for name in (Param.N_SPLITS, Param.N_TRIALS)
    )
    n_tuned = int(ablation.data.params.get(Param.N_TUNED_SPLITS, n_splits))
    n_seeds = int(ablation.data.params.get(Param.N_SEEDS, 1))
    cells, trials = _by_tags(runs[Kind.CONFIRMATION], Tag.STUDY), _by_tags(runs[Kind.TRIAL])
    references = {run.data.tags[Tag.REFERENCE] for run in runs[Kind.REFERENCE]}
    found: dict[tuple[str, str], tuple[int | None, list[Run]]] = {
        ("reference", ""): (len(references) * n_splits, runs[Kind.REFERENCE])
    }
    modes = sorted(runs[Kind.MODE], key=lambda run: run.info.start_time)
    for mode in (run.data.tags[Tag.MODE] for run in modes):
        found[TUNE, mode] = (n_trials, trials[(mode,)])
    for run in modes:
        more = n_tuned if run.data.tags.get(Tag.TUNED_IS_GUIDE) == "false" else 0
        mode = run.data.tags[Tag.MODE]
        found[CONFIRM, mode] = ((n_splits + more) * n_seeds, cells[CONFIRM, mode])
    for (study, mode), pool in _by_tags(runs[Kind.POOL], Tag.STUDY).items():
        found[pool_row(study), mode] = (None, pool)
    return found | _designed(runs)


def _by_tags(runs: "Iterable[Run]", *before: str) -> "dict[tuple[str, ...], list[Run]]":
    """Runs by the tags named and their mode."""
    found: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        found[tuple(run.data.tags.get(name, CONFIRM) for name in (*before, Tag.MODE))].append(run)
    return found


def _designed(
    runs: "dict[Kind, list[Run]]",
) -> "dict[tuple[str, str], tuple[int | None, list[Run]]]":
    by_identity: dict[str, list[Run]] = defaultdict(list)
    for run in runs[Kind.CONFIRMATION]:
        by_identity[run.data.tags[Tag.IDENTITY]].append(run)
    wanted: dict[tuple[str, str], list[str]] = defaultdict(list)
    for study in runs[Kind.STUDY]:
        listing = StudyListing.from_tags(study.data.tags)
        for point in listing.points if listing is not None else ():
            wanted[study.data.tags[Tag.STUDY], point.mode] += point.cells
    return {
        key: (len(set(cells)), [run for cell in set(cells) for run in by_identity[cell]])
        for key, cells in wanted.items()
    }


def _row(study: str, mode: str, total: int | None, runs: "list[Run]", running: int) -> Row:
    failed = sum(run.info.status == "FAILED" for run in runs)
    written = sum(run.info.status == "RUNNING" for run in runs)
    scores = [
        run.data.metrics.get("objective", run.data.metrics.get("best_selection"))
        for run in runs
        if is_finished(run)
    ]
    return Row(
        study=study,
        mode=mode,
        done=len(runs) - failed - written,
        running=running,
        failed=failed,
        pruned=sum(run.data.tags.get(Tag.STATE) == "PRUNED" for run in runs),
        total=total,
        best=max((score for score in scores if score is not None), default=None),
    )

"""How far ablations are, by MLflow alone: one that runs, here or elsewhere, or has stopped."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_core.records.tracking import RESULT_KINDS, Tracker
from studies.confirmation import CONFIRM
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
class State:
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


def read_states(tracker: Tracker) -> Iterator[State]:
    """The state of every ablation in a store, oldest first; nothing is written."""
    for run in tracker.runs("ablation"):
        yield _state(tracker.of_ablation(run.info.run_id), run)


def _state(tracker: Tracker, ablation: "Run") -> State:
    runs = {kind: tracker.runs(kind) for kind in (*RESULT_KINDS, "mode", "study")}
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
    complete = ablation.data.tags.get("complete") == "true"
    return State(str(ablation.info.run_name), complete, sign, max(ends, default=None), tuple(rows))


def _studies(
    ablation: "Run", runs: "dict[str, list[Run]]"
) -> "dict[tuple[str, str], tuple[int | None, list[Run]]]":
    """Expected number and runs of each study of a mode."""
    n_splits, n_trials = (int(ablation.data.params[name]) for name in ("n_splits", "n_trials"))
    n_seeds = int(ablation.data.params.get("n_seeds", 1))
    cells, trials = _by_tags(runs["confirmation"], "study"), _by_tags(runs["trial"])
    references = {run.data.tags["reference"] for run in runs["reference"]}
    found: dict[tuple[str, str], tuple[int | None, list[Run]]] = {
        ("reference", ""): (len(references) * n_splits, runs["reference"])
    }
    modes = sorted(runs["mode"], key=lambda run: run.info.start_time)
    for mode in (run.data.tags["mode"] for run in modes):
        found["tune", mode] = (n_trials, trials[(mode,)])
    for run in modes:
        settings = 2 if run.data.tags.get("tuned_is_guide") == "false" else 1
        mode = run.data.tags["mode"]
        found[CONFIRM, mode] = (settings * n_splits * n_seeds, cells[CONFIRM, mode])
    for (study, mode), pool in _by_tags(runs["pool"], "study").items():
        found[f"{study}-pool", mode] = (None, pool)
    return found | _designed(runs)


def _by_tags(runs: "Iterable[Run]", *before: str) -> "dict[tuple[str, ...], list[Run]]":
    """Runs by the tags named and their mode."""
    found: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        found[tuple(run.data.tags.get(name, CONFIRM) for name in (*before, "mode"))].append(run)
    return found


def _designed(
    runs: "dict[str, list[Run]]",
) -> "dict[tuple[str, str], tuple[int | None, list[Run]]]":
    by_identity: dict[str, list[Run]] = defaultdict(list)
    for run in runs["confirmation"]:
        by_identity[run.data.tags["identity"]].append(run)
    wanted: dict[tuple[str, str], list[str]] = defaultdict(list)
    for study in runs["study"]:
        for name, text in study.data.tags.items():
            if name.startswith("point."):
                point = json.loads(text)
                wanted[study.data.tags["study"], point["mode"]] += point["cells"]
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
        if run.info.status == "FINISHED"
    ]
    return Row(
        study=study,
        mode=mode,
        done=len(runs) - failed - written,
        running=running,
        failed=failed,
        pruned=sum(run.data.tags.get("state") == "PRUNED" for run in runs),
        total=total,
        best=max((score for score in scores if score is not None), default=None),
    )

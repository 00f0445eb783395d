"""Designed studies in results.json and as a table: every point with its intervals."""

from collections.abc import Mapping

import pandas as pd

from qa_core.measures.catalogue import CLAMPED, EPOCH_SECONDS, PLCC, RETENTION, SATURATION, SROCC
from reports.evidence.ablation import Ablation
from reports.evidence.studies import Study
from reports.verdicts.measured import Entry, measure_study

PER_TARGET, OVERALL = (SROCC, PLCC, SATURATION, CLAMPED), (RETENTION, EPOCH_SECONDS)


def study_entries(ablation: Ablation) -> dict[str, Entry]:
    """`<study>.points`: what each varies, the rate and score that the pool gave, the measures."""
    measures = {m.key(t): m.logged(t) for m in PER_TARGET for t in ablation.targets}
    measures |= {m.key(): m.logged() for m in OVERALL}
    return {
        name: {
            "question": study.question,
            "epochs": study.epochs,
            "n_splits": study.n_splits,
            "variance_factor": study.design.test_factor,
            "n_missing": study.n_listed - len(study.cells),
            "points": _points(study, measures),
        }
        | ({"grid": [list(setting) for setting in study.grid]} if study.grid else {})
        for name, study in ablation.studies.items()
    }


def _points(study: Study, measures: Mapping[str, str]) -> list[Entry]:
    points: list[Entry] = []
    for _, cells in study.cells.groupby("point", sort=True):
        first = cells.iloc[0]
        point: Entry = {name: first[name] for name in ("mode", "lr", "pool", "train_share")}
        point["knobs"] = {name: first[name] for name in first["varies"].split(",")}
        for name, metric in measures.items():
            measured = measure_study(study, metric, point=first["point"])
            if len(measured.by_split):
                found = measured.interval
                point[name] = {
                    "mean": found.mean, "low": found.low, "high": found.high, "n": found.n,
                    "interval": found.kind,
                }  # fmt: skip
        points.append(point)
    return points


def study_table(ablation: Ablation) -> pd.DataFrame:
    """One row a study, point and split."""
    frames = [
        study.cells.drop(columns="artifact_uri", errors="ignore").assign(study=name)
        for name, study in ablation.studies.items()
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["study"])

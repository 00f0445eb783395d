"""Reference rows of each split: what has to be beaten, and the raters' ceiling."""

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qa_core.data.splits import IntervalKind
from qa_core.features.scene_statistics import scene_statistics
from qa_core.measures.catalogue import SROCC
from qa_core.measures.evaluation import score_reference
from qa_core.measures.references import (
    ANTONYM_PROMPTS,
    antonym_quality,
    consistency_features,
    kernel_ridge_predictions,
    pixel_free_floor,
    quality_features,
    raters_ceiling,
    ridge_predictions,
)
from qa_core.records.schema import PREDICTIONS_FILE, Kind, Reference, Tag, is_finished
from qa_core.records.tracking import RunRecord
from qa_core.targets import TARGETS, Target
from studies.context import Context

if TYPE_CHECKING:
    import pandas as pd

    from qa_core.data.splits import Split
    from qa_core.features.workspace import Embeddings, Workspace

PREDICTIONS = (
    *("row", "name", "prompt", "group", "generator", "mos_quality", "mos_consistency"),
    *("q", "c", "in_pool"),
)
OFF_SCALE = "zero-shot scores are not on the scale of the ratings"

ReferenceScore = tuple[dict[str, float], dict[str, str], "pd.DataFrame | None"]


def write_reference_rows(
    context: Context, say: Callable[[str], None], progress: Callable[[str], None] | None = None
) -> int:
    """Compute and log the reference rows that are not there yet; returns how many.

    Args:
        context: Data, splits and backbone.
        say: Told what was done.
        progress: Told how far the reading of images has come.
    """
    done = {
        (run.data.tags[Tag.REFERENCE], run.data.tags[Tag.SPLIT])
        for run in context.tracker.runs(Kind.REFERENCE)
        if is_finished(run)
    }
    wanted = [(split, name) for split in context.plan.splits for name in Reference]
    todo = [(split, name) for split, name in wanted if (name, str(split.index)) not in done]
    if not todo:
        return 0
    scorer = ReferenceScorer(context, progress)
    for split, name in todo:
        started = time.time()
        metrics, undefined, predictions = scorer.score(name, split)
        record = RunRecord(
            name=f"{name} split {split.index}",
            kind=Kind.REFERENCE,
            parent=context.tracker.ablation_id,
            tags={Tag.REFERENCE: name, Tag.SPLIT: str(split.index)},
            metrics={f"test_{measure}": value for measure, value in metrics.items()},
            undefined={f"test_{measure}": reason for measure, reason in undefined.items()},
            started_s=started,
        )
        # Independent replicates are compared by their scores, everything else by its images too.
        _write(
            context, record, predictions if context.plan.interval != IntervalKind.PAIRED_T else None
        )
    say(f"{len(todo)} reference rows computed: {', '.join(Reference)}")
    return len(todo)


def _write(context: Context, record: RunRecord, predictions: "pd.DataFrame | None") -> None:
    """Write a reference's run, with its predictions where there are any."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / PREDICTIONS_FILE
        if predictions is not None:
            predictions.to_csv(file, index=False)
            record = dataclasses.replace(record, artifacts=[(file, None)])
        context.tracker.write(record)


class ReferenceScorer:
    """Scores references on test parts.

    Args:
        context: Data, splits and backbone.
        progress: Told how far the reading of images has come.
    """

    def __init__(self, context: Context, progress: Callable[[str], None] | None = None):
        self._progress = progress
        self._workspace, self._pool = context.workspace, context.plan.pool
        positive, negative = zip(*ANTONYM_PROMPTS, strict=True)
        encode = context.workspace.encode_texts
        self._antonyms = encode(positive), encode(negative)
        frame = context.workspace.table.frame
        self._targets = [target for target in TARGETS if target.mos in frame]
        self._embeddings: dict[Workspace, Embeddings] = {}
        self._scenes: dict[Workspace, np.ndarray] = {}

    def score(self, name: Reference, split: "Split") -> ReferenceScore:
        """Measures of a reference on a split's test part, why others are undefined, predictions."""
        own, split = self._workspace.holding(split)
        whole = own.table.frame
        if name == Reference.CEILING and not any(f"true_{t}" in whole for t in self._targets):
            return self._raters_ceiling(whole.iloc[split.test])
        predict = {
            Reference.ZEROSHOT: self._zeroshot,
            Reference.RIDGE: self._ridge,
            Reference.SCENE: self._scene,
            Reference.FLOOR: self._floor,
            Reference.CEILING: self._true_opinion,
        }[name]
        frame = whole.iloc[split.test].reset_index(drop=True).copy()
        for target in self._targets:
            frame[target.prediction] = predict(target, split, own)
        rows = own.rows[split.test]
        frame = frame.assign(row=rows, in_pool=np.isin(rows, self._pool))
        metrics, undefined = score_reference(frame, OFF_SCALE if name == Reference.ZEROSHOT else "")
        kept = [column for column in PREDICTIONS if column in frame]
        return metrics, undefined, frame[kept]

    def _at(self, own: "Workspace") -> "Embeddings":
        if own not in self._embeddings:
            self._embeddings[own] = own.pretrained_embeddings()
        return self._embeddings[own]

    def _zeroshot(self, target: Target, split: "Split", own: "Workspace") -> np.ndarray:
        at = self._at(own)
        if target is Target.CONSISTENCY:
            return at.cos[split.test]
        return antonym_quality(at.image[split.test], *self._antonyms, at.logit_scale)

    def _ridge(self, target: Target, split: "Split", own: "Workspace") -> np.ndarray:
        at = self._at(own)
        features = (
            quality_features(at.image)
            if target is Target.QUALITY
            else consistency_features(at.image, at.text, at.cos)
        )
        return ridge_predictions(*_parts(own, split, target, features))[0]

    def _scene(self, target: Target, split: "Split", own: "Workspace") -> np.ndarray:
        if own not in self._scenes:
            paths = [Path(path) for path in own.table.frame["image_path"]]
            self._scenes[own] = scene_statistics(paths, own.cache_dir, self._progress)
        return kernel_ridge_predictions(*_parts(own, split, target, self._scenes[own]))

    def _floor(self, target: Target, split: "Split", own: "Workspace") -> np.ndarray:
        return pixel_free_floor(own.table.frame, split.train, split.test, target)

    def _true_opinion(self, target: Target, split: "Split", own: "Workspace") -> np.ndarray:
        return own.table.frame[f"true_{target}"].to_numpy(float)[split.test]

    def _raters_ceiling(self, frame: "pd.DataFrame") -> ReferenceScore:
        metrics: dict[str, float] = {}
        undefined: dict[str, str] = {}
        for target in self._targets:
            columns = (target.mos, f"std_{target}", "n_raters")
            value = None
            if all(column in frame for column in columns):
                mos, std, n_raters = (frame[column].to_numpy(float) for column in columns)
                value = raters_ceiling(mos, std, n_raters)
            if value is None:
                undefined[SROCC.key(target)] = "the raters' spread and number are not known"
            else:
                metrics[SROCC.key(target)] = value
        return metrics, undefined, None


def _parts(
    own: "Workspace", split: "Split", target: Target, features: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Features and scores to train on, the same of validation, and the test part's features.

    Rows without a rating of the target are left out of training and validation.
    """
    mos = own.table.frame[target.mos].to_numpy(float)
    rated = np.flatnonzero(~np.isnan(mos))
    train, validation = (np.intersect1d(part, rated) for part in (split.train, split.validation))
    learnt = (features[train], mos[train], features[validation], mos[validation])
    return *learnt, features[split.test]

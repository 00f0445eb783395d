"""An ablation read from MLflow into tidy frames; nothing else is ever read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from qa_core.data.protocols import DECIDING
from qa_core.data.splits import IntervalKind
from qa_core.errors import UserError
from qa_core.records.mlflow_store import EXPERIMENT, open_client
from qa_core.records.schema import (
    MARGIN,
    Kind,
    Param,
    Reference,
    Setting,
    Tag,
    check_margin,
    is_complete,
    is_confirmation,
    is_finished,
    is_kind,
    records_of,
)
from qa_core.targets import TARGETS, Target
from reports.evidence.artifacts import read_artifacts, read_tested_images
from reports.evidence.design import Design, is_on_validation
from reports.evidence.frames import (
    cells_frame,
    mode_rank,
    modes_frame,
    per_split,
    references_frame,
    runs_frame,
    select,
    trials_frame,
)
from reports.evidence.histories import curves_frame, lines_frame
from reports.evidence.pooling import refuse_mixed, settle_doubles
from reports.evidence.studies import Study, read_studies
from reports.statistics import FloatArray, Interval

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


# Same data and same protocol: what must agree before runs may stand in one table.
_IDENTITY = (
    Param.PROTOCOL,
    Param.DATA_NAME,
    Param.DATA_SHA256,
    Param.BACKBONE_SHA256,
    Param.SPLIT_SEED,
)
_COUNTS = (Param.N_SPLITS, Param.N_TUNED_SPLITS, Param.N_SEEDS, Param.N_FOLDS)


@dataclass(frozen=True)
class Ablation:
    """One ablation as tidy frames.

    Attributes:
        id: MLflow run id of the parent.
        params: Parameters of the parent, as text.
        complete: False for an ablation that is still running or was cut off.
        wall_s: Wall time in seconds; None where it never ended.
        ended: When it last ended, in milliseconds since 1970; None where it did not.
        targets: Those that the data set has.
        modes: One row a mode: mode, guide_setting, tuned_setting (dicts), tuned_is_guide,
            tuned_reason.
        trials: One row a tuning trial: mode, trial, state, objective, folds, the knobs.
        cells: One row a confirmation run that ended well: mode, setting, split, seed and its
            final metrics; `undefined` maps a metric's name to why it has no value.
        curves: One row a cell and epoch: mode, setting, split and the per-epoch metrics.
        references: One row a reference and split, with final metrics.
        runs: Every run, failures and pruned trials included.
        predictions: Test predictions of all cells, one row a cell and image.
        thumbnails: Files by (run_id, row).
        studies: Designed studies by name.
        reference_predictions: Test predictions of the references, where intervals rest on prompts.
        arms: The further arms as an ablation of their own, without references; None where there
            are none.
        images: What the table says of each tested image, by row; no rows in earlier versions.
        pictures: Small pictures (WebP) of the images that are shown one by one, by row.
        lines: Measures on the line from pretrained to fine-tuned weights, one row a cell that
            interpolates them and per cent.
    """

    id: str
    params: dict[str, str]
    complete: bool
    wall_s: float | None
    targets: tuple[Target, ...]
    modes: pd.DataFrame
    trials: pd.DataFrame
    cells: pd.DataFrame
    curves: pd.DataFrame
    references: pd.DataFrame
    runs: pd.DataFrame
    predictions: pd.DataFrame
    thumbnails: dict[tuple[str, int], Path] = field(default_factory=dict)
    studies: dict[str, Study] = field(default_factory=dict)
    reference_predictions: pd.DataFrame = field(default_factory=pd.DataFrame)
    arms: "Ablation | None" = None
    ended: int | None = None
    lines: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: pd.DataFrame = field(default_factory=pd.DataFrame)
    pictures: dict[int, bytes] = field(default_factory=dict)

    @cached_property
    def kept(self) -> dict[tuple[str, ...], Any]:
        """What was selected from its frames, by what it is: they are wide, and asked often."""
        return {}

    @property
    def mode_names(self) -> tuple[str, ...]:
        """Modes with at least one finished cell, the canonical ones first."""
        present = list(self.cells["mode"].unique()) if len(self.cells) else []
        return tuple(sorted(present, key=mode_rank))

    @property
    def reference_names(self) -> tuple[str, ...]:
        """Reference rows that exist, the project's own first, then predictions of others."""
        present = list(self.references["reference"].unique())
        known = [name for name in Reference if name in present]
        return (*known, *(name for name in present if name not in known))

    @property
    def has_one_part(self) -> bool:
        """Whether intervals rest on the prompts of one test part, not on re-splits."""
        return _rests_on_prompts(self.params)

    @property
    def decides(self) -> bool:
        """Whether claims are decided, which the protocol says."""
        return self.params.get(Param.PROTOCOL) in DECIDING

    @property
    def design(self) -> Design:
        """How its splits hang together."""
        return Design.of(self.params)

    @property
    def has_prompts(self) -> bool:
        """Whether images were asked for in words; photographs were not."""
        return self.images.empty or bool((self.images["prompt"].fillna("") != "").any())

    @property
    def margin(self) -> float:
        """Differences in SROCC below it are of no weight; fixed before the run."""
        return float(self.params.get(Param.MARGIN, MARGIN))

    def variance_factor(self, n: int) -> float:
        """Nadeau-Bengio factor of n splits' values on their test parts."""
        return self.design.factor(n)

    def interval(self, values: FloatArray, metric: str = "") -> Interval:
        """Mean of one value a split of a metric, with its 95 % interval by the design.

        It has no bounds where the splits are no re-splits.
        """
        if self.has_one_part:
            return Interval(float(values.mean()), None, None, values.size, 0.95, "none")
        return self.design.interval(values, is_on_validation(metric))

    def n_splits_of(self, setting: str) -> int:
        """Splits on which a setting is confirmed: the tuned ones on the first of them alone."""
        planned = int(self.params.get(Param.N_SPLITS, 0))
        tuned = int(self.params.get(Param.N_TUNED_SPLITS, planned))
        return tuned if setting == Setting.TUNED else planned

    @property
    def n_seeds(self) -> int:
        """Seeds that each split trains with."""
        return int(self.params.get(Param.N_SEEDS, 1))

    @property
    def is_smoke(self) -> bool:
        """Whether this is a smoke run, which proves nothing."""
        return self.params.get(Param.PROFILE) == "smoke"

    @property
    def modes_kept(self) -> frozenset[str]:
        """Modes whose tuned setting is the guide's."""
        return frozenset(select(self.modes, tuned_is_guide=True)["mode"])

    @property
    def is_tuned(self) -> bool:
        """Whether any mode was tuned (below 100 prompts none is)."""
        return any(setting is not None for setting in self.modes["tuned_setting"])

    def settled(self, setting: str) -> pd.DataFrame:
        """Cells of a setting; "tuned" takes the guide's cells of modes whose tuning kept them."""
        guide = select(self.cells, setting=Setting.GUIDE)
        if setting == Setting.GUIDE:
            return guide
        kept: Any = guide[
            guide["mode"].isin(list(self.modes_kept))
            & (guide["split"] < self.n_splits_of(Setting.TUNED))
        ]
        return pd.concat([select(self.cells, setting=Setting.TUNED), kept])

    def by_split(self, mode: str, measure: str, setting: str = Setting.GUIDE) -> pd.Series:
        """One value a split, seeds averaged first; index = split, undefined splits left out."""
        return per_split(self.cells_of(mode, setting), measure)

    def cells_of(self, mode: str, setting: str) -> pd.DataFrame:
        """Cells of a mode at a setting, as `settled` has them."""
        key = ("cells", mode, setting)
        if key not in self.kept:
            self.kept[key] = select(self.settled(setting), mode=mode)
        return self.kept[key]

    def why_undefined(self, mode: str, measure: str) -> str:
        """The reason that the run itself gave for a metric without a value."""
        for reasons in self.cells.loc[self.cells["mode"] == mode, "undefined"]:
            if measure in reasons:
                return str(reasons[measure])
        return "not logged by any run"


def _rests_on_prompts(params: Mapping[str, str]) -> bool:
    """Whether intervals rest on the prompts of one test part."""
    return params.get(Param.INTERVAL) == IntervalKind.PROMPT_BOOTSTRAP


def load_ablation(
    tracking_uri: str, downloads: Path | None = None, experiment: str = EXPERIMENT
) -> Ablation:
    """The one ablation of a tracking store.

    Args:
        tracking_uri: Store or server.
        downloads: Where the artifacts of a remote store are kept for as long as the ablation is
            used; by default in a temporary folder that stays.
        experiment: Name of its experiment.

    Raises:
        UserError: If there is none, or what is there must not be pooled.
    """
    client = open_client(tracking_uri)
    with records_of(tracking_uri):
        return _load(client, _all_runs(client, tracking_uri, experiment), tracking_uri, downloads)


def _load(
    client: "MlflowClient", runs: list["Run"], tracking_uri: str, downloads: Path | None
) -> Ablation:
    parent = _choose_parent(runs, tracking_uri)
    _check_params(parent.data.params)
    own = [r for r in runs if r.data.tags.get(Tag.ABLATION_ID) == parent.info.run_id]
    own = settle_doubles([r for r in own if r.info.run_id != parent.info.run_id])
    names = {
        r.data.tags[Tag.MODE] for r in own if is_kind(r, Kind.MODE) and Tag.ARM_OF in r.data.tags
    }
    of_arms = [r for r in own if r.data.tags.get(Tag.MODE) in names]
    of_modes = [r for r in own if r.data.tags.get(Tag.MODE) not in names]
    design = Design.of(parent.data.params)
    studies = read_studies(own, design)
    if design.n_folds:
        studies = {
            name: replace(one, predictions=read_artifacts(client, one.cells, (), downloads)[0])
            for name, one in studies.items()
        }
    info = parent.info
    images, pictures = read_tested_images(client, info.run_id, info.artifact_uri or "", downloads)
    whole = replace(
        _read_runs(client, parent, of_modes, downloads),
        images=images,
        pictures=pictures,
        runs=runs_frame([parent, *own]),
        studies=studies,
    )
    return replace(whole, arms=_read_runs(client, parent, of_arms, downloads)) if names else whole


def _check_params(params: Mapping[str, str]) -> None:
    """Raise ValueError where what everything rests on is no such value."""
    check_margin(float(params.get(Param.MARGIN, MARGIN)))
    if not set(params.get(Param.TARGETS, "").split(",")) & set(TARGETS):
        raise ValueError(f"it names none of the targets {', '.join(TARGETS)}")
    for name in _COUNTS:
        if int(params.get(name, 1)) < (name != Param.N_FOLDS):
            raise ValueError(f"{name} is {params[name]}")
    for name in (Param.VARIANCE_FACTOR, Param.VALIDATION_FACTOR):
        if not 0 <= float(params.get(name, 0)) < math.inf:
            raise ValueError(f"{name} is no factor")


def _read_runs(
    client: "MlflowClient", parent: "Run", own: list["Run"], downloads: Path | None
) -> Ablation:
    """An ablation of some of its runs."""
    cells = cells_frame([r for r in own if is_confirmation(r) and is_finished(r)])
    references = references_frame([r for r in own if is_kind(r, Kind.REFERENCE) and is_finished(r)])
    predictions, thumbnails = read_artifacts(client, cells, ("mode", "setting"), downloads)
    refuse_mixed(predictions)
    params = parent.data.params
    by_image = _rests_on_prompts(params) or Design.of(params).n_folds
    tested = references if by_image else references.iloc[:0]
    return Ablation(
        id=parent.info.run_id,
        params=dict(params),
        complete=is_complete(parent),
        wall_s=parent.data.metrics.get("wall_s"),
        ended=parent.info.end_time,
        targets=tuple(t for t in TARGETS if t in params.get(Param.TARGETS, "").split(",")),
        modes=modes_frame([r for r in own if is_kind(r, Kind.MODE)]),
        trials=trials_frame([r for r in own if is_kind(r, Kind.TRIAL)]),
        cells=cells,
        curves=curves_frame(client, cells),
        references=references,
        runs=runs_frame(own),
        predictions=predictions,
        thumbnails=thumbnails,
        lines=lines_frame(client, cells),
        reference_predictions=read_artifacts(client, tested, ("reference",), downloads)[0],
    )


def _all_runs(client: "MlflowClient", tracking_uri: str, name: str) -> list["Run"]:
    """Every active run of the experiment, page by page."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        raise UserError(f"There is no ablation in {tracking_uri}: run `make ablation` first.")
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], max_results=5000, page_token=token, order_by=["start_time"]
        )
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def _choose_parent(runs: list["Run"], tracking_uri: str) -> "Run":
    """The parent run; of several with the same data and protocol, the latest.

    Raises:
        UserError: If there is none, or if they differ in what must agree.
    """
    parents = [r for r in runs if is_kind(r, Kind.ABLATION)]
    if not parents:
        raise UserError(f"There is no ablation in {tracking_uri}: run `make ablation` first.")
    for key in _IDENTITY:
        values = sorted({str(r.data.params.get(key)) for r in parents})
        if len(values) > 1:
            raise UserError(
                f"{tracking_uri} holds {len(parents)} ablations that differ in {key} "
                f"({', '.join(v[:40] for v in values)}), and such results are never pooled: "
                "give each its own OUT."
            )
    return max(parents, key=lambda r: (r.info.start_time, r.info.run_id))

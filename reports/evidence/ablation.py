"""An ablation as tidy frames, and what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from qa_core.data.protocols import DECIDING
from qa_core.data.splits import IntervalKind
from qa_core.records.schema import MARGIN, Param, Reference, Setting
from qa_core.targets import Target
from reports.evidence.design import Design, is_on_validation
from reports.evidence.frames import mode_rank, per_split, select
from reports.evidence.studies import Study
from reports.statistics import FloatArray, Interval


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
        return rests_on_prompts(self.params)

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


def rests_on_prompts(params: Mapping[str, str]) -> bool:
    """Whether intervals rest on the prompts of one test part."""
    return params.get(Param.INTERVAL) == IntervalKind.PROMPT_BOOTSTRAP

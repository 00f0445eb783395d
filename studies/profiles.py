"""Sizes of an ablation: splits, trials, epochs, studies."""

from dataclasses import dataclass

from qa_core.records.schema import MARGIN
from studies.designed.catalogue import DESIGNS


@dataclass(frozen=True)
class Profile:
    """The size of an ablation.

    Attributes:
        n_splits: Replicates of the embedded benchmark, or prompt-disjoint splits, five a repeat.
        n_trials: Trials of each mode on the tuning pool.
        epochs: Epochs of every run.
        max_prompts: Use so many prompts alone (see `RatedTable.first_prompts`), or None for all.
        note: What a reader of the report has to know, or None.
        studies: Designed studies that follow the confirmation.
        n_seeds: Seeds that each split of the confirmation trains with; its result is their mean.
        n_tuned_splits: The tuned settings are confirmed on the first so many splits (None: all).
        margin: Differences in SROCC below it count as none; the verdict "the same" uses it.
    """

    n_splits: int
    n_trials: int
    epochs: int
    max_prompts: int | None = None
    note: str | None = None
    studies: tuple[str, ...] = ()
    n_seeds: int = 1
    n_tuned_splits: int | None = None
    margin: float = MARGIN

    @property
    def n_cells(self) -> int:
        """Confirmation cells of a mode, at the guide's and at a tuned setting."""
        return (self.n_splits + self.tuned_splits(self.n_splits)) * self.n_seeds

    def tuned_splits(self, n_splits: int) -> int:
        """On how many of so many splits the tuned settings are confirmed."""
        return n_splits if self.n_tuned_splits is None else min(self.n_tuned_splits, n_splits)


PROFILES = {
    "smoke": Profile(2, 2, 2, 100, "Smoke profile: shows that everything runs, proves nothing."),
    "default": Profile(10, 8, 8, n_tuned_splits=5),
    "full": Profile(20, 24, 20, studies=tuple(DESIGNS)),
}


@dataclass(frozen=True)
class StudyRequest:
    """One study of an ablation.

    Attributes:
        name: `tune` or a designed study.
        n_splits: A designed study uses the first so many splits (None: all).
        epochs: Epochs of its cells (None: the profile's).
    """

    name: str
    n_splits: int | None = None
    epochs: int | None = None

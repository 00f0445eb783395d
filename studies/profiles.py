"""How much an ablation does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """The size of an ablation.

    Attributes:
        n_splits: Prompt-disjoint splits of the honest protocol.
        n_trials: Trials of each mode on the tuning pool.
        epochs: Epochs of every run.
        max_prompts: Use the first so many prompts by name only, or None for all.
        note: What a reader of the report has to know, or None.
    """

    n_splits: int
    n_trials: int
    epochs: int
    max_prompts: int | None = None
    note: str | None = None


PROFILES = {
    "smoke": Profile(2, 2, 2, 100, "Smoke profile: shows that everything runs, proves nothing."),
    "default": Profile(10, 8, 8),
    "full": Profile(10, 24, 20),
}

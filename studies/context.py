"""What every process of an ablation holds: data, splits, backbone and the way to MLflow."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qa_core.config import ProtocolName, RunConfig
from qa_core.data.protocols import plan_protocol, resolve_protocol
from qa_core.data.splits import SplitPlan
from qa_core.tracking import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from qa_core.workspace import Workspace


@dataclass(frozen=True)
class Setup:
    """How any process opens the context of one ablation; plain values, sent to workers.

    Attributes:
        base: Flags that all modes share: data, backbone, epochs, threads.
        cache_dir: Where decoded images and activations lie.
        protocol: How prompts are split.
        split_seed: Seed of the splits.
        n_splits: Number of splits (protocols honest and common).
        max_prompts: Use the first so many prompts by name only, or None for all.
    """

    base: RunConfig
    cache_dir: Path
    protocol: ProtocolName
    split_seed: int
    n_splits: int
    max_prompts: int | None


@dataclass(frozen=True)
class Context:
    """What jobs run with.

    Attributes:
        workspace: Table, images and backbone.
        plan: Splits of the workspace's rows.
        tracker: Writes runs of this ablation.
    """

    workspace: "Workspace"
    plan: SplitPlan
    tracker: Tracker


def open_workspace(
    setup: Setup, progress: "Callable[[str], None] | None" = None
) -> tuple["Workspace", SplitPlan]:
    """The workspace and the splits of a setup.

    Raises:
        UserError: The data cannot be used, or have too few prompts.
    """
    from qa_core.workspace import Workspace  # torch: only where something is trained

    protocol = resolve_protocol(setup.protocol, setup.base.data)
    workspace = Workspace.open(setup.base, setup.cache_dir, progress)
    if setup.max_prompts is not None:
        workspace = workspace.subset(first_prompts(workspace, setup.max_prompts))
    frame = workspace.table.frame
    return workspace, plan_protocol(frame, protocol, setup.split_seed, setup.n_splits)


def open_context(setup: Setup, tracker_uri: str, experiment_id: str, ablation_id: str) -> Context:
    """The context of a worker; the store exists already."""
    workspace, plan = open_workspace(setup)
    return Context(workspace, plan, Tracker(tracker_uri, experiment_id, ablation_id))


def first_prompts(workspace: "Workspace", count: int) -> np.ndarray:
    """Rows of the first `count` prompts by name."""
    groups = workspace.table.frame["group"].to_numpy(dtype=str)
    return np.flatnonzero(np.isin(groups, np.unique(groups)[:count]))

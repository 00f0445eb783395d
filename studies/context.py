"""What every process of an ablation holds: data, splits, backbone and the way to MLflow."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qa_core.config import RunConfig
from qa_core.data.protocols import plan_protocol, resolve_protocol
from qa_core.data.splits import SplitPlan
from qa_core.records.tracking import Tracker
from qa_core.settings.data import ProtocolName
from studies.engine.interface import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qa_core.features.workspace import Workspace


@dataclass(frozen=True)
class Setup:
    """How any process opens the context of one ablation; plain values, sent to workers.

    Attributes:
        base: Flags that all modes share: data, backbone, epochs, threads.
        cache_dir: Where decoded images and activations lie.
        protocol: How prompts are split.
        split_seed: Seed of the splits.
        n_splits: Number of splits (protocols replicates, honest and common).
        max_prompts: Use so many prompts alone (see `RatedTable.first_prompts`), or None for all.
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

    @property
    def ablation_id(self) -> str:
        """Run id of the ablation."""
        assert self.tracker.ablation_id is not None, "the tracker writes runs of no ablation"
        return self.tracker.ablation_id


def open_workspace(
    setup: Setup, progress: "Callable[[str], None] | None" = None
) -> tuple["Workspace", SplitPlan]:
    """The workspace and the splits of a setup.

    Raises:
        UserError: The data cannot be used, or have too few prompts.
    """
    from qa_core.features.workspace import Workspace  # torch: only where something is trained

    protocol = resolve_protocol(setup.protocol, setup.base.data)
    workspace = Workspace.open(
        setup.base, setup.cache_dir, progress, setup.n_splits, setup.max_prompts
    )
    frame = workspace.table.frame
    return workspace, plan_protocol(frame, protocol, setup.split_seed, setup.n_splits)


def open_context(
    setup: Setup,
    tracker_uri: str,
    experiment_id: str,
    ablation_id: str,
    driver: dict[str, str] | None = None,
) -> Context:
    """The context of a worker; the store exists already.

    Args:
        setup: What to open.
        tracker_uri: Address of the MLflow store.
        experiment_id: The experiment.
        ablation_id: Run id of the ablation.
        driver: `conditions` of the driver, which must be the same here; None skips the check.

    Raises:
        InfrastructureError: They differ.
    """
    refuse_far_file(tracker_uri, driver)
    workspace, plan = open_workspace(setup)
    if driver is not None:
        refuse_differences(driver, conditions(workspace, plan))
    return Context(workspace, plan, Tracker(tracker_uri, experiment_id, ablation_id))


def conditions(workspace: "Workspace", plan: SplitPlan) -> dict[str, str]:
    """What determines results and may differ from machine to machine, by name."""
    from qa_core.training.identity import RESULTS_VERSION, device_name, library_versions

    return {
        "data": workspace.table.sha256,
        "decoded images": opened_first(workspace, plan).images_sha256,
        "backbone": workspace.backbone_sha256,
        "device": device_name(workspace.device),
        "results_version": str(RESULTS_VERSION),
        "host": socket.gethostname(),
        **library_versions(),
    }


def opened_first(workspace: "Workspace", plan: SplitPlan) -> "Workspace":
    """What the first run of all will open: the whole table, or its first block."""
    return workspace.holding((*plan.folds, *plan.splits)[0])[0]


def refuse_differences(driver: dict[str, str], worker: dict[str, str]) -> None:
    """Refuse a worker whose results would not be those of the driver's machine.

    Raises:
        InfrastructureError: They would not; the message names the cause.
    """
    for name, there in driver.items():
        if name != "host" and worker[name] != there:
            raise InfrastructureError(
                f"{name} is {worker[name][:40]} there and {there[:40]} where the command was"
                " started, and such results must not be mixed"
            )


def refuse_far_file(tracker_uri: str, driver: dict[str, str] | None) -> None:
    """Refuse to write to an sqlite file from another machine, whose locks may not hold.

    Raises:
        InfrastructureError: The store is a file and the driver elsewhere.
    """
    elsewhere = driver is not None and driver["host"] != socket.gethostname()
    if elsewhere and tracker_uri.startswith("sqlite"):
        raise InfrastructureError(
            "several machines cannot write to one sqlite file: give TRACKING_URI and"
            " OPTUNA_STORAGE (docs/cluster.md)"
        )

"""What tests train in milliseconds: a narrow model for two epochs."""

from typing import Any

from qa_core.config import RunConfig, run_config_from_flat
from qa_core.features.workspace import Workspace
from qa_core.modes import resolve

SMALL = {"backbone": "narrow-3", "pretrained": "none", "batch_size": 8, "threads": 1}


def config(workspace: Workspace, **flags: Any) -> RunConfig:
    """A run of the narrow model, with some flags of its own."""
    return resolve(run_config_from_flat(SMALL | {"epochs": 2} | flags), workspace.spec)

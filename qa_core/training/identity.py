"""The identity of a result: a hash of everything that determines its digits."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from typing import Any

import torch

from qa_core.config import RunConfig
from qa_core.data.splits import Split
from qa_core.features.workspace import Workspace

RESULTS_VERSION = 5
"""Raised when a change of the code changes results."""

_NOT_DETERMINING = (
    *("num_workers", "data_csv_path", "image_base_dir", "cache_gb"),
    *(
        "dataset",
        "data_root",
        "test_dataset",
        "test_root",
        "columns",
    ),  # the table's own hash stands for them
)
_LIBRARIES = ("torch", "open_clip_torch", "numpy", "scipy")


def run_identity(config: RunConfig, workspace: Workspace, split: Split, purpose: str) -> str:
    """Hex hash of configuration, data, backbone, split, device and versions.

    Args:
        config: A resolved configuration.
        workspace: Where data and backbone come from.
        split: The rows used.
        purpose: What is done with the split, such as `confirmation` or `trial`.
    """
    workspace, split = workspace.holding(split)
    content: dict[str, Any] = {
        "results_version": RESULTS_VERSION,
        "purpose": purpose,
        "config": {k: v for k, v in config.flat().items() if k not in _NOT_DETERMINING},
        "table": workspace.table.sha256,
        "images": workspace.images_sha256,
        "backbone": workspace.backbone_sha256,
        "entry": dataclasses.asdict(workspace.entry(config)),
        "split": [rows.tolist() for rows in (split.train, split.validation, split.test)],
        "split_index": split.index,  # the seed is derived from it
        "device": device_name(workspace.device),
        "versions": library_versions(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@functools.cache
def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that results depend on."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def device_name(device: str) -> str:
    """The card's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device

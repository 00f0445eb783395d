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
from qa_core.model.freezing import has_batch_norms
from qa_core.system.device import is_card

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
_SINCE = (
    *("freeze_image_layers", "freeze_text_layers", "freeze_from", "train_only"),
    *("adapter_reduction", "l2_sp", "anchor", "soup", "augment", "amp_on_cpu"),
)
"""Flags younger than `RESULTS_VERSION`: at its default none changes a result, nor so its hash."""
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
        "config": _determining(config),
        "table": workspace.table.sha256,
        "images": workspace.images_sha256,
        "backbone": workspace.backbone_sha256,
        "entry": dataclasses.asdict(workspace.entry(config)),
        "split": [rows.tolist() for rows in (split.train, split.validation, split.test)],
        "split_index": split.index,  # the seed is derived from it
        "device": device_name(workspace.device),
        "versions": library_versions(),
    }
    if _moves_batch_norms(config) and has_batch_norms(workspace.backbone):
        content["batch_statistics"] = "those of the weights"
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _moves_batch_norms(config: RunConfig) -> bool:
    """Whether a run sets weights apart from training, which once left batch statistics behind."""
    keep = config.keep
    return bool(keep.ema_decay or keep.wise_ft or keep.lora_rank)


def _determining(config: RunConfig) -> dict[str, Any]:
    """The flags that results depend on."""
    default = RunConfig().flat()
    return {
        name: value
        for name, value in config.flat().items()
        if name not in _NOT_DETERMINING and not (name in _SINCE and value == default[name])
    }


@functools.cache
def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that results depend on."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def device_name(device: str) -> str:
    """The card's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if is_card(device) else device

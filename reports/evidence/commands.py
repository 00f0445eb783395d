"""The command that computes a run again, from what the run itself logged."""

import json
import shlex
from collections.abc import Mapping
from typing import Any, cast

from qa_core.config import RunConfig, usual_view
from qa_core.data.protocols import protocol_settings
from qa_core.records.schema import MARGIN, Param, Setting
from qa_core.settings.data import ProtocolName
from qa_core.settings.model import EMBEDDED_BACKBONE
from reports.evidence.ablation import Ablation
from reports.evidence.frames import select
from reports.evidence.studies import Study

SCRIPT = ".venv/bin/python experiments/baseline.py"
SPLIT = "K"
"""Stands for the number of the split where one command serves all splits of a cell."""


def run_command(params: Mapping[str, str], ablation: Ablation, split: int | str) -> str:
    """Command of one confirmation run: every flag that is not at its default.

    Args:
        params: Flags of the run, as MLflow keeps them.
        ablation: What it belongs to; protocol and seed of the splits come from there.
        split: Number of the split, or `SPLIT`.
    """
    words = [SCRIPT]
    protocol = ablation.params.get(Param.PROTOCOL, "auto")
    plain = RunConfig().flat()
    usual = {"image_view": _usual_view(params), **protocol_settings(cast("ProtocolName", protocol))}
    for name, default in (plain | usual).items():
        text = params.get(name, _as_logged(plain[name]))  # of a run older than the flag
        if text != _as_logged(default):
            words.append(_flag(name, text))
    words += [f"--protocol {protocol}", f"--split {split}"]
    if ablation.params.get(Param.SPLIT_SEED, "0") != "0":
        words.append(f"--split_seed {ablation.params[Param.SPLIT_SEED]}")
    return " ".join([*words, "--test"])


def _usual_view(params: Mapping[str, str]) -> str:
    """How a run sees its images where its command does not say it."""
    own_images = bool(params.get("dataset") or params.get("data_csv_path"))
    return usual_view(params.get("backbone", EMBEDDED_BACKBONE), own_images)


def _as_logged(value: Any) -> str:
    """A value as MLflow keeps it: nothing for None, JSON for tuples."""
    if value is None:
        return ""
    return json.dumps(list(value)) if isinstance(value, tuple) else str(value)


def _flag(name: str, text: str) -> str:
    if text in ("True", "False"):
        return f"--{name}" if text == "True" else f"--no_{name}"
    if text.startswith("["):
        return f"--{name} {' '.join(shlex.quote(str(item)) for item in json.loads(text))}"
    return f"--{name} {shlex.quote(text)}"


def study_command(ablation: Ablation, study: Study) -> str:
    """Command of a designed study: its cells have no command of their own."""
    words = f"make study STUDY={study.name} SPLITS={study.n_splits} EPOCHS={study.epochs}"
    return ablation_command(ablation).replace("make ablation", words, 1)


def ablation_command(ablation: Ablation) -> str:
    """Command of the whole: trials and reference rows have no command of their own."""
    p = ablation.params
    words = [f"make ablation PROFILE={p.get('profile', 'default')}", f"PROTOCOL={p['protocol']}"]
    cell = ablation.cells["params"].iloc[0] if len(ablation.cells) else {}
    named = {"DATA": cell.get("dataset"), "DATA_ROOT": cell.get("data_root")}
    named |= {"TABLE": cell.get("data_csv_path"), "IMAGES": cell.get("image_base_dir")}
    if cell.get("test_dataset") == "csv":  # DATA_TEST= named its folder
        named["DATA_TEST"] = cell.get("test_root")
    else:
        named |= {"DATA_TEST": cell.get("test_dataset"), "DATA_TEST_ROOT": cell.get("test_root")}
    named["COLUMNS"] = " ".join(json.loads(cell.get("columns") or "[]"))
    for variable, flag in (("RANGE_Q", "mos_range_q"), ("RANGE_C", "mos_range_c")):
        bounds = json.loads(cell.get(flag) or "[]")
        named[variable] = ":".join(f"{bound:g}" for bound in bounds)
    if p.get("backbone") != EMBEDDED_BACKBONE:
        named |= {"BACKBONE": p.get("backbone"), "PRETRAINED": p.get("pretrained")}
        named["TOKENIZER"] = cell.get("tokenizer")
    if (view := p.get("image_view", "whole")) != _usual_view(cell):
        named["IMAGE_VIEW"] = view
    usual = protocol_settings(cast("ProtocolName", p["protocol"])).get("augment", "none")
    if (augment := p.get(Param.AUGMENT, "none")) != usual:
        named["AUGMENT"] = augment
    if (precision := p.get(Param.CACHE_PRECISION, "full")) != "full":
        named["CACHE_PRECISION"] = precision
    if p.get(Param.AMP_ON_CPU) == "True":
        named["AMP_ON_CPU"] = "1"
    if ablation.n_seeds > 1:
        named["SEEDS"] = str(ablation.n_seeds)
    if ablation.margin != MARGIN:
        named["MARGIN"] = f"{ablation.margin:g}"
    if ablation.arms is not None:
        named["ARMS"] = ",".join(ablation.arms.modes["mode"])
    words += [f"{name}={shlex.quote(value)}" for name, value in named.items() if value]
    return " ".join(words)


def cell_commands(ablation: Ablation) -> list[tuple[str, str, str]]:
    """Mode, setting and command of each kind of cell, with `SPLIT` for the split's number."""
    commands: list[tuple[str, str, str]] = []
    for mode in ablation.mode_names:
        for setting in Setting:
            cells = select(ablation.cells, mode=mode, setting=setting)
            if len(cells):
                command = run_command(cells["params"].iloc[0], ablation, SPLIT)
                commands.append((mode, setting, command))
    return commands


def command_rows(ablation: Ablation) -> list[dict[str, str]]:
    """Command of every run, for tables/commands.csv."""
    whole = ablation_command(ablation)
    own = {
        cell["run_id"]: run_command(cell["params"], ablation, cell["split"])
        for one in (ablation, ablation.arms)
        if one is not None
        for cell in one.cells.to_dict("records")
    }
    of_studies = {name: study_command(ablation, s) for name, s in ablation.studies.items()}
    return [
        {"run_id": run, "command": own.get(run) or of_studies.get(study, whole)}
        for run, study in zip(ablation.runs["run_id"], ablation.runs["study"], strict=True)
    ]

"""The appendix: settings, configuration, and the commands that ran."""

from collections.abc import Mapping
from typing import Any

from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.evidence.commands import ablation_command, cell_commands, study_command
from reports.figures.style import label
from reports.language import say, say_all
from reports.paper.cover import HASH_SHOWN, ON_COVER
from reports.text.page_text import LONGEST_COMMAND, LONGEST_VALUE, page_text
from reports.text.resolution import Resolution
from reports.text.time_taken import is_planned, plan_rows

_VERSIONS = ("python", "torch", "open_clip", "optuna", "mlflow")


def appendix(ablation: Ablation, resolutions: Mapping[Target, Resolution | None]) -> dict[str, Any]:
    """Everything of the appendix but the glossary."""
    return {
        "tuning": [row for one in _with_arms(ablation) for row in tuning_rows(one)],
        "configuration": _configuration(ablation, resolutions),
        "commands": [
            [f"{label(mode)}, {say(setting)}", page_text(command, LONGEST_COMMAND)]
            for one in _with_arms(ablation)
            for mode, setting, command in cell_commands(one)
        ],
        "commands_note": _commands_note(ablation),
        "study_commands": [
            [say("study of {study}", study=name.replace("_", "-")), study_command(ablation, study)]
            for name, study in ablation.studies.items()
        ],
        "ablation_command": page_text(ablation_command(ablation), LONGEST_COMMAND),
    }


def _commands_note(ablation: Ablation) -> str:
    """What the commands of single runs leave out."""
    smoke = say(
        "This smoke run took a part of the prompts only: the command of the whole alone gives "
        "the same runs."
    )
    seeds = say("The commands are those of the first seed; --seed gives the others.")
    return say_all([smoke if ablation.is_smoke else "", seeds if ablation.n_seeds > 1 else ""])


def _with_arms(ablation: Ablation) -> list[Ablation]:
    """The four modes, then the further arms where there are any."""
    return [ablation] if ablation.arms is None else [ablation, ablation.arms]


def _configuration(
    ablation: Ablation, resolutions: Mapping[Target, Resolution | None]
) -> list[list[str]]:
    """What is not on the cover: settings, then versions, then what was planned beside the fact."""
    elsewhere = (*ON_COVER, *_VERSIONS)
    settings = [k for k in sorted(ablation.params) if k not in elsewhere and not is_planned(k)]
    versions = [k for k in _VERSIONS if k in ablation.params]
    pairs = [[k, _value_words(k, ablation.params[k])] for k in settings + versions]
    return pairs + plan_rows(ablation, resolutions)


def _value_words(name: str, value: str) -> str:
    """A parameter's value; of a hash its beginning, as on the cover."""
    if name.endswith("_sha256"):
        return value[:HASH_SHOWN]
    return page_text(value, LONGEST_VALUE)


def tuning_rows(ablation: Ablation) -> list[dict[str, str]]:
    """Guide's and tuned setting of each mode in words."""
    return [
        {
            "name": label(row["mode"]),
            "guide": _setting_words(row["guide_setting"]),
            "tuned": _tuned_words(row),
            "reason": page_text(row["tuned_reason"], 220),
        }
        for row in ablation.modes.to_dict("records")
    ]


def _tuned_words(row: dict[Any, Any]) -> str:
    if row["tuned_setting"] is None:
        return say("not tuned")
    return say("the guide’s") if row["tuned_is_guide"] else _setting_words(row["tuned_setting"])


def _setting_words(setting: dict[str, Any]) -> str:
    names = {
        "freeze_layers": say("frozen"),
        "residual_scale_q": say("scale q"),
        "residual_scale_c": say("scale c"),
    }
    words = [f"{names.get(k, k)} {v:.3g}" if isinstance(v, int | float) else f"{k} {v}"
             for k, v in setting.items() if v is not None]  # fmt: skip
    return say(", ").join(words) or say("the defaults")

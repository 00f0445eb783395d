"""What the phases of an ablation share while a command runs them."""

from dataclasses import dataclass

from qa_core.config import RunConfig
from studies.board import Board
from studies.context import Context
from studies.engine.interface import Engine
from studies.profiles import Profile
from studies.space import ModeSpace
from studies.sweep import Journals


@dataclass(frozen=True)
class RunningAblation:
    """An ablation that a command is running.

    Attributes:
        profile: Its size.
        base: The configuration that all modes share.
        context: Data, splits and the way to MLflow.
        engine: Runs the jobs.
        board: Shows progress.
        spaces: The modes' knobs, by mode.
        mode_runs: Run ids of the modes.
        journals: Where Optuna keeps its trials.
    """

    profile: Profile
    base: RunConfig
    context: Context
    engine: Engine
    board: Board
    spaces: dict[str, ModeSpace]
    mode_runs: dict[str, str]
    journals: Journals

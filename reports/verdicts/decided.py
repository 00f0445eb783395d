"""An ablation with all that is decided about it: what tables, pages and MLflow's views show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qa_core.errors import UserError
from qa_core.records.mlflow_store import EXPERIMENT
from qa_core.records.schema import Param, Setting
from reports.evidence.ablation import Ablation
from reports.evidence.load import load_ablation
from reports.evidence.others import with_predictions
from reports.verdicts.arms import arm_results
from reports.verdicts.contrasts import Evidence
from reports.verdicts.decide import Claim, Verdict, decide
from reports.verdicts.pooled import pooled_entries
from reports.verdicts.results import build_results


@dataclass(frozen=True)
class Decided:
    """An ablation with its verdicts and the whole of results.json."""

    ablation: Ablation
    guide: list[Verdict]
    tuned: list[Verdict]
    results: dict[str, Any]


def decide_ablation(
    uri: str,
    downloads: Path,
    claims: Sequence[Claim],
    predictions: Mapping[str, Path],
    experiment: str = EXPERIMENT,
    margin: float | None = None,
) -> Decided:
    """Read an ablation and decide the claims on it.

    Args:
        uri: MLflow store or server.
        downloads: Where the artifacts of a remote store are kept.
        claims: The claims, the guide's and a user's own.
        predictions: Files of other people's predictions by the name of their row.
        experiment: Name of the ablation's experiment.
        margin: For ablations that noted none; None takes the default.

    Raises:
        UserError: There is no ablation, what is there must not be pooled, or it was run with
            another margin.
    """
    ablation = _with_margin(load_ablation(uri, downloads, experiment), margin)
    for name, file in predictions.items():
        ablation = with_predictions(ablation, name, file)
    guide = decide(claims, Evidence(ablation, Setting.GUIDE), ablation.targets)
    tuned: list[Verdict] = []
    if ablation.is_tuned:
        tuned = decide(claims, Evidence(ablation, Setting.TUNED), ablation.targets)
    results = build_results(ablation, guide, tuned, pooled_entries(ablation))
    return Decided(ablation, guide, tuned, results | arm_results(ablation))


def _with_margin(ablation: Ablation, margin: float | None) -> Ablation:
    if margin is None:
        return ablation
    if Param.MARGIN in ablation.params and ablation.margin != margin:
        raise UserError(
            f"The ablation was run with MARGIN={ablation.margin:g}, fixed beforehand, and is not"
            f" decided by {margin:g} now: leave MARGIN out."
        )
    return replace(ablation, params=ablation.params | {Param.MARGIN: str(margin)})

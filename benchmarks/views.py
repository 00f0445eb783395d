"""How much of a photograph the embedded backbone sees: ridge and zero-shot by views of an image.

`.venv/bin/python -m benchmarks.views --dataset agiqa3k --data-root folder` embeds the whole of each
image and nine windows at native resolution once, and fits the ridge of the reference rows on the
average of some of them, on the test parts of the default protocol.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qa_core import command_line as cli
from qa_core.backbones.tower import EMBEDDED
from qa_core.config import RunConfig, run_config_from_flat
from qa_core.data.protocols import plan_protocol
from qa_core.data.splits import Split
from qa_core.features.inputs import take
from qa_core.features.workspace import Workspace
from qa_core.measures.metrics import srocc
from qa_core.measures.references import (
    consistency_features,
    quality_features,
    ridge_predictions,
)
from qa_core.settings.data import DatasetName
from qa_core.targets import TARGETS, Target

VIEWS: dict[str, list[int]] = {
    "whole": [0],
    "centre": [5],
    "whole and centre": [0, 5],
    "four corners": [1, 3, 7, 9],
    "nine windows": list(range(1, 10)),
    "whole and nine": list(range(10)),
}
"""Pictures of `crops`, the whole first, then the windows by rows."""


@dataclass(frozen=True)
class Args:
    """Compare views of real images, as the embedded backbone sees them."""

    dataset: DatasetName
    """A published data set, read from --data-root."""
    data_root: Path
    """Its folder, as unpacked."""
    cache: Path = Path(".cache")
    """Where decoded images are kept."""
    splits: int = 10
    """Splits to average over."""


def main() -> None:
    """Embed, fit, print a line a choice of views."""
    args = cli.parse(Args, str(Args.__doc__))
    config: RunConfig = run_config_from_flat(
        {"dataset": args.dataset, "data_root": str(args.data_root), "image_view": "crops"}
    )
    workspace = Workspace.open(config, args.cache, print)
    frame: Any = workspace.table.frame
    splits = plan_protocol(frame, n_splits=args.splits).splits
    features = workspace.probe_features(config)
    assert features.entry == EMBEDDED
    pictures = take(features.images, np.arange(len(frame))).cpu().numpy()  # (n, 10, width)
    texts = np.asarray(features.texts)[features.prompt_of]
    for name, places in VIEWS.items():
        image = pictures[:, places].mean(axis=1)
        image /= np.linalg.norm(image, axis=1, keepdims=True)
        cos = (image * texts).sum(axis=1)
        inputs = {
            Target.QUALITY: quality_features(image),
            Target.CONSISTENCY: consistency_features(image, texts, cos),
        }
        scores = {t: _ridge(inputs[t], frame[t.mos].to_numpy(float), splits) for t in TARGETS}
        told = ", ".join(f"{target} {value:.3f}" for target, value in scores.items())
        print(f"{name:<17} {len(places):>2} pictures: {told}")


def _ridge(features: np.ndarray, mos: np.ndarray, splits: Sequence[Split]) -> float:
    """Mean test SROCC of the tuned ridge."""
    found: list[float] = []
    for s in splits:
        learnt = (features[s.train], mos[s.train], features[s.validation], mos[s.validation])
        predicted, _ = ridge_predictions(*learnt, features[s.test])
        found.append(srocc(predicted, mos[s.test]) or 0.0)
    return float(np.mean(found))


if __name__ == "__main__":
    cli.run(main)

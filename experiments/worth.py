"""What the embedded benchmark and backbone score before any fine-tuning (`make worth`).

SROCC is the mean over test parts: of the replicates; or, while the benchmark is being built, of
grouped 5-fold inside the tuning pool (`--pool_only`), which reads no score of any other prompt.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from qa_core.config import RunConfig
from qa_core.data.protocols import plan_protocol
from qa_core.data.splits import Rows, Split, plan_splits
from qa_core.data.synthetic.distort import WITHHELD_KINDS
from qa_core.data.synthetic.scenes import alignment_pairs
from qa_core.features.workspace import Workspace
from qa_core.measures.metrics import srocc, within_group_srocc
from qa_core.measures.references import (
    ANTONYM_PROMPTS,
    antonym_quality,
    consistency_features,
    pixel_free_floor,
    quality_features,
    ridge_predictions,
    true_ceiling,
)
from qa_core.system.files import written_whole
from qa_core.targets import TARGETS, Target

N_PAIRS, PAIRS_SEED = 1000, 2

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Worth:
    """Figures of one part of the benchmark's prompts.

    Attributes:
        srocc: Mean over test parts, by `reference_target`; and `halo_…`, the SROCC of the two mean
            opinion scores with each other over all, within prompts and within generators.
        n: Images of the part.
    """

    srocc: dict[str, float]
    n: int


def measure_part(workspace: Workspace, splits: tuple[Split, ...]) -> Worth:
    """Mean SROCC of all references over the test parts of the splits."""
    values: dict[str, list[float]] = {}
    for split in splits:
        for name, value in score_split(workspace, split).items():
            values.setdefault(name, []).append(value)
    rows = np.unique(np.concatenate([split.test for split in splits]))
    return Worth({name: float(np.mean(of)) for name, of in values.items()}, len(rows))


def score_split(workspace: Workspace, split: Split) -> dict[str, float]:
    """SROCC of all references on a split's test part, by `reference_target`.

    Quality by ridge is also scored apart on the pictures with and without a distortion of a kind
    that was withheld from pretraining.
    """
    workspace, split = workspace.holding(split)
    frame = workspace.table.frame
    test = frame.iloc[split.test]
    zeroshot, scores = _zeroshot(workspace), _halo(test)

    def score(
        name: str, target: Target, predicted: Vector, chosen: NDArray[np.bool_] | None = None
    ) -> None:
        keep = np.ones(len(test), dtype=bool) if chosen is None else chosen
        value = srocc(predicted[keep], test[target.mos].to_numpy(float)[keep])
        scores[f"{name}_{target}"] = float("nan") if value is None else value

    for target in TARGETS:
        mos = frame[target.mos].to_numpy(float)
        score("zeroshot", target, zeroshot[target][split.test])
        score("floor", target, pixel_free_floor(frame, split.train, split.test, target))
        ceiling = true_ceiling(test[f"true_{target}"].to_numpy(float), mos[split.test])
        scores[f"ceiling_{target}"] = float("nan") if ceiling is None else ceiling
        ridge = _ridge(workspace, split, target, mos)
        score("ridge", target, ridge)
        if target is Target.QUALITY:
            withheld = test["explanation"].str.contains("|".join(WITHHELD_KINDS)).to_numpy(bool)
            score("ridge_withheld_kinds", target, ridge, withheld)
            score("ridge_seen_kinds", target, ridge, ~withheld)
    return scores


def measure_r_at_1(workspace: Workspace) -> float:
    """Image-to-text recall at 1 over pairs unseen in pretraining; equal captions count as one."""
    images, captions = alignment_pairs(N_PAIRS, PAIRS_SEED)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        image = workspace.backbone.encode_images(pixels).numpy()
    nearest = (image @ workspace.encode_texts(captions).T).argmax(axis=1)
    return float(np.mean([captions[k] == own for k, own in zip(nearest, captions, strict=True)]))


def main() -> None:
    """Print the table and write runs/worth.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool_only", action="store_true", help="read the tuning pool alone")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder for caches")
    parser.add_argument("--out", type=Path, default=Path("runs/worth.json"), help="where to write")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    workspace = Workspace.open(RunConfig(), flags.cache)
    frame = workspace.table.frame
    plan = plan_protocol(frame)
    parts = {"tuning pool": measure_part(workspace, _folds_of(frame, plan.pool))}
    if not flags.pool_only:
        parts["replicates"] = measure_part(workspace, plan.splits)
    r_at_1 = measure_r_at_1(workspace)
    _print_table(parts, r_at_1)
    part = parts[list(parts)[-1]]
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    worth = {"r_at_1": r_at_1} | part.srocc | {"n": part.n, "part": list(parts)[-1]}
    with written_whole(flags.out) as partial:
        partial.write_text(json.dumps(worth, indent=2) + "\n")
    print(f"Written to {flags.out}, on the {worth['part']}.")


def _folds_of(frame: pd.DataFrame, pool: Rows) -> tuple[Split, ...]:
    """Grouped 5-fold inside the pool, four times."""
    folds = plan_splits(frame["group"].to_numpy(dtype=str)[pool], "grouped_kfold").splits
    return tuple(
        Split(fold.index, pool[fold.train], pool[fold.validation], pool[fold.test])
        for fold in folds
    )


def _zeroshot(workspace: Workspace) -> dict[Target, Vector]:
    at = workspace.pretrained_embeddings()
    positive, negative = (
        workspace.encode_texts(words) for words in zip(*ANTONYM_PROMPTS, strict=True)
    )
    return {
        Target.QUALITY: antonym_quality(at.image, positive, negative, at.logit_scale),
        Target.CONSISTENCY: at.cos.astype(float),
    }


def _halo(frame: pd.DataFrame) -> dict[str, float]:
    quality, consistency = (frame[target.mos].to_numpy(float) for target in TARGETS)
    found = {
        "halo_overall": srocc(quality, consistency),
        "halo_within_prompt": within_group_srocc(quality, consistency, frame["group"]),
        "halo_within_generator": within_group_srocc(quality, consistency, frame["generator"]),
    }
    return {name: value for name, value in found.items() if value is not None}


def _ridge(workspace: Workspace, split: Split, target: Target, mos: Vector) -> Vector:
    at = workspace.pretrained_embeddings()
    features = quality_features(at.image)
    if target is Target.CONSISTENCY:
        features = consistency_features(at.image, at.text, at.cos)
    train, validation = split.train, split.validation
    predicted, _ = ridge_predictions(
        features[train], mos[train], features[validation], mos[validation], features[split.test]
    )
    return predicted


def _print_table(parts: dict[str, Worth], r_at_1: float) -> None:
    print(f"Image-to-text R@1 over {N_PAIRS} unseen pairs: {r_at_1:.3f}")
    print(f"{'SROCC, mean over splits':34}" + "".join(f"{name:>16}" for name in parts))
    for name in next(iter(parts.values())).srocc:
        values = "".join(f"{part.srocc[name]:16.3f}" for part in parts.values())
        print(f"{name.replace('_', ' '):34}{values}")
    print(f"{'n images':34}" + "".join(f"{part.n:16}" for part in parts.values()))


if __name__ == "__main__":
    main()

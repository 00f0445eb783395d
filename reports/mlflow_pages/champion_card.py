"""The champion's model card in Markdown: what it is, how sure its scores are, how to use it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_core.measures.catalogue import SROCC
from qa_core.records.schema import CARD_FILE, Param, Reference, Setting, Tag
from qa_core.records.tracking import Tracker
from qa_core.settings.model import EMBEDDED_BACKBONE
from qa_core.system.files import written_whole
from qa_core.targets import TARGETS, Target
from reports.figures.style import label
from reports.mlflow_pages.numbers import score_words, size_words

if TYPE_CHECKING:
    from mlflow.entities import Run

_ROWS = (Reference.RIDGE, Reference.SCENE, Reference.ZEROSHOT, Reference.FLOOR, Reference.CEILING)
_HOW = """## How to score

From a checkout, with the folder of the ablation or this checkpoint:

```sh
.venv/bin/python experiments/predict.py --checkpoint {out} --images pictures{prompts}
make serve OUT={out}
```
"""


def publish_card(tracker: Tracker, ablation: "Run", results: Mapping[str, Any], out: Path) -> None:
    """Write the card beside the report and to the registered version; nothing without champion."""
    address, cell_id = (ablation.data.tags.get(tag) for tag in (Tag.CHAMPION, Tag.CHAMPION_RUN))
    if address is None or cell_id is None or not results:
        return
    card = champion_card(ablation, tracker.client.get_run(cell_id), results, out)
    with written_whole(out / CARD_FILE) as partial:
        partial.write_text(card, encoding="utf-8")
    name, alias = address.removeprefix("models:/").split("@")
    version = tracker.client.get_model_version_by_alias(name, alias)
    tracker.client.update_model_version(name, version.version, card)


def champion_card(ablation: "Run", cell: "Run", results: Mapping[str, Any], out: Path) -> str:
    """The card.

    Args:
        ablation: Its run.
        cell: The confirmation that the champion is from.
        results: `results.json` of the ablation.
        out: Its folder, as the user named it.
    """
    params, mode, setting = ablation.data.params, *_champion(cell)
    targets = [target for target in TARGETS if target in params[Param.TARGETS].split(",")]
    ranges = ", ".join(f"{t} {params[f'range_{t}']}" for t in targets)
    prompts = " --prompts prompts.csv" if Target.CONSISTENCY in targets else ""
    sections = [
        f"# The champion of an ablation on {params[Param.DATA_NAME]}",
        f"Scores images by {' and '.join(targets)}, in [0, 1] and on the scale of the ratings"
        f" ({ranges}). Mode: {label(mode)}, {setting} setting; backbone {params[Param.BACKBONE]},"
        f" weights {params[Param.PRETRAINED]}.",
        "It was chosen on validation parts alone: of all modes and settings the one that is best"
        " there in the mean over the splits, and of its splits the best.",
        f"## Data and scores\n\n{_data_words(params, results, cell, targets)}",
        _table(results, cell, targets),
        f"## Limits\n\n{_limits(params)}",
        _HOW.format(out=out, prompts=prompts),
    ]
    return "\n\n".join(sections)


def _champion(cell: "Run") -> tuple[str, str]:
    """Mode and setting of the champion."""
    return cell.data.tags[Tag.MODE], cell.data.tags[Tag.SETTING]


def _data_words(
    params: Mapping[str, str], results: Mapping[str, Any], cell: "Run", targets: Sequence[Target]
) -> str:
    generators = params[Param.N_GENERATORS]
    makers = f" by {generators} generators" if generators != "0" else ""
    own = ", ".join(
        f"{t} {cell.data.metrics[SROCC.logged(t)]:.3f}"
        for t in targets
        if SROCC.logged(t) in cell.data.metrics
    )
    return (
        f"{size_words(params, results)}{makers}; protocol"
        f" {params[Param.PROTOCOL]}, {params[Param.N_SPLITS]} splits. This checkpoint is of split"
        f" {cell.data.tags[Tag.SPLIT]}; on that split's test part its SROCC is"
        f" {own or 'undefined'}. What to expect of its kind is the mean over all splits, with its"
        " 95 % interval:"
    )


def _table(results: Mapping[str, Any], cell: "Run", targets: Sequence[Target]) -> str:
    mode, setting = _champion(cell)
    part = "guide_modes" if setting == Setting.GUIDE else "modes"
    scores = {label(mode): results[part].get(mode, {})}
    scores |= {label(name): results["baselines"].get(name, {}) for name in _ROWS}
    cells = {
        name: [score_words(own.get(SROCC.key(t), {})) for t in targets]
        for name, own in scores.items()
    }
    head = f"| test SROCC | {' | '.join(targets)} |\n|---|{'---|' * len(targets)}"
    rows = [f"| {name} | {' | '.join(row)} |" for name, row in cells.items() if any(row)]
    return "\n".join([head, *rows])


def _limits(params: Mapping[str, str]) -> str:
    own = (
        "It ranks images as the raters of this data did; other raters, generators and kinds of"
        " prompt need a test of their own."
    )
    notes = json.loads(params.get(Param.NOTES, "[]"))
    return "\n".join(f"- {note}" for note in (*notes, own, _licence(params[Param.BACKBONE])))


def _licence(backbone: str) -> str:
    if backbone == EMBEDDED_BACKBONE:
        return "The backbone's weights are this project's own, under the MIT licence."
    return (
        "The licence of the pretrained weights is their publisher's and is not known here; look"
        " before you pass the model on."
    )

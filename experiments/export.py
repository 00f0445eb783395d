"""A trained checkpoint for other programs: ONNX, and folders for open_clip and transformers."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qa_core import command_line as cli
from qa_core.errors import UserError
from qa_core.system.files import written_together

if TYPE_CHECKING:
    from PIL import Image

    from qa_core.scorer import Scorer

Format = Literal["onnx", "open_clip", "transformers"]
FORMATS: tuple[Format, ...] = ("onnx", "open_clip", "transformers")
README = "README.md"
CHECKED_PROMPTS = 20
"""Prompts of the embedded benchmark that the files are checked on, five images each."""


@dataclass(frozen=True)
class ExportArgs:
    """Write a checkpoint as ONNX and as folders for open_clip and transformers, checked."""

    checkpoint: Path
    """A best checkpoint of experiments/baseline.py or of an ablation; or an ablation's folder, for
    its champion."""
    out: Path = Path("runs/export")
    """The folder to write."""
    formats: tuple[Format, ...] = FORMATS
    """Which of them."""
    debug: bool = False
    """Show the traceback of an error as well."""


@dataclass(frozen=True)
class Work:
    """What is written, and what it is held against.

    Attributes:
        scorer: The checkpoint, low-rank changes folded into the weights.
        reference: The same, as it was loaded.
        images: Pictures to compare on.
        prompts: Their prompts.
    """

    scorer: "Scorer"
    reference: "Scorer"
    images: "list[Image.Image]"
    prompts: list[str]


def main() -> None:
    """Parse the command line and export."""
    export(cli.parse(ExportArgs, str(ExportArgs.__doc__)))


def export(args: ExportArgs) -> None:
    """Write, read again, compare with the checkpoint, and only then put in place.

    Raises:
        UserError: The checkpoint cannot be used, or what was written gives other scores.
    """
    from qa_core.model.lora import fold_low_rank_changes
    from qa_core.records.schema import CARD_FILE
    from qa_core.scorer import Scorer  # torch: mistakes in the flags come first
    from qa_core.serving.champion import find_checkpoint
    from qa_core.serving.export_card import export_card

    checkpoint = find_checkpoint(args.checkpoint)
    scorer, reference = (Scorer.load(checkpoint, "cpu") for _ in range(2))
    fold_low_rank_changes(scorer.model)
    work = Work(scorer, reference, *_pictures())
    said: dict[str, str] = {}
    with written_together(args.out) as folder:
        for name in args.formats:
            words = _WRITERS[name](folder / name, work)
            said[name] = words
            print(f"{name:13}{words}")
        (folder / README).write_text(export_card(scorer, said), encoding="utf-8")
        if (card := args.checkpoint / CARD_FILE).is_file():
            shutil.copy(card, folder)
    print(f"how scores come from the parts: {args.out / README}")


def _pictures() -> "tuple[list[Image.Image], list[str]]":
    """A hundred rendered pictures and their prompts."""
    import numpy as np
    from PIL import Image

    from qa_core.data.synthetic.benchmark import answer_prompts, draw_picture, draw_prompts

    asked = draw_prompts(CHECKED_PROMPTS, np.random.default_rng(0), set())
    answers = answer_prompts(asked, 0)
    drawn = [Image.fromarray(draw_picture(one, 0, i)) for i, one in enumerate(answers)]
    return drawn, [one.prompt.words for one in answers]


def _onnx(folder: Path, work: Work) -> str:
    from qa_core.serving.onnx_parts import check_onnx, write_onnx

    write_onnx(folder, work.scorer)
    difference = check_onnx(folder, work.reference, work.images, work.prompts)
    names = ", ".join(sorted(file.name for file in folder.glob("*.onnx")))
    return f"{names}; scores of {len(work.images)} images differ by at most {difference:.1e}"


def _clip_folder(folder: Path, work: Work) -> str:
    """Write the folder of the format by whose name it goes, or say why that cannot be."""
    import numpy as np
    import torch

    from qa_core.data.decode import decode_image
    from qa_core.serving.clip_folders import check_folder, write_open_clip, write_transformers

    backbone, view = work.scorer.model.backbone, work.scorer.content["config"]["image_view"]
    try:
        if folder.name == "open_clip":
            write_open_clip(folder, backbone, view)
        else:
            write_transformers(folder, backbone)
    except UserError as error:
        return f"not written. {error}"
    pixels = np.stack([decode_image(one, backbone.image_size) for one in work.images[::25]])
    given = torch.from_numpy(pixels)
    difference = check_folder(folder, work.reference.model.backbone, given, work.prompts[::25])
    return f"the trained towers; embeddings differ by at most {difference:.1e}"


_WRITERS: dict[Format, Callable[[Path, Work], str]] = {
    "onnx": _onnx,
    "open_clip": _clip_folder,
    "transformers": _clip_folder,
}


if __name__ == "__main__":
    cli.run(main)

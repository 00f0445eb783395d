"""The page beside an export: how scores come from the parts."""

from collections.abc import Mapping

from qa_core.config import run_config_from_flat
from qa_core.model.texts import MATCHES
from qa_core.scorer import Scorer
from qa_core.serving.onnx_parts import outputs_of
from qa_core.settings.data import ImageView
from qa_core.settings.model import HeadConfig
from qa_core.targets import TARGETS

_VIEWS: Mapping[ImageView, str] = {
    "whole": "the whole image, resized to the square by bicubic interpolation, whatever its shape",
    "padded": "the whole image, its aspect ratio kept, resized (bicubic) and padded to the square",
    "centre": "the window of that size in the middle, at native resolution; an image whose shorter"
    " side is less than twice the size is resized to the square instead (bicubic)",
    "crops": "ten views: the whole image resized (bicubic), then a grid of 3 x 3 windows from edge"
    " to edge at native resolution. Embed each, average, and divide by the length",
}


def export_card(scorer: Scorer, written: Mapping[str, str]) -> str:
    """The page in Markdown.

    Args:
        scorer: The checkpoint.
        written: The formats, each with a sentence on it.
    """
    sections = [
        "# An exported model",
        f"Scores images by {_scored(scorer)}; the backbone was"
        f" {scorer.model.backbone.blueprint.name}.",
        "\n".join(f"- `{name}`: {words}" for name, words in written.items()),
    ]
    if "onnx" in written:
        sections += [f"## What goes in\n\n{_inputs(scorer)}"]
        sections += [f"## What comes out\n\n{_outputs(scorer)}"]
    sections.append(
        "The folders for open_clip and transformers hold the trained towers alone. The heads, which"
        " make scores of embeddings, are in `onnx/heads.onnx` or in the checkpoint."
    )
    return "\n\n".join(sections) + "\n"


def _scored(scorer: Scorer) -> str:
    return " and ".join(t for t in TARGETS if scorer.content[f"range_{t}"] is not None)


def _inputs(scorer: Scorer) -> str:
    backbone, view = scorer.model.backbone, scorer.content["config"]["image_view"]
    size = backbone.image_size
    mean, std = (
        [round(value, 6) for value in pixels.flatten().tolist()]
        for pixels in (backbone.pixel_mean, backbone.pixel_std)
    )
    lines = [
        f"- `image.onnx`, input `images`: uint8 (batch, 3, {size}, {size}), RGB. It normalises"
        f" inside: (pixel / 255 - mean) / std, mean {mean}, std {std}. Other programs are given"
        " normalised pixels.",
        "- Of a picture, upright and laid over white where it is transparent, it sees"
        f" {_VIEWS[view]}. Pillow does it; another program's bicubic differs a little.",
    ]
    if scorer.needs_prompts:
        context = backbone.tokenizer.context_length
        lines.append(
            f"- `text.onnx`, input `token_ids`: int64 (batch, {context}), as the tokenizer gives"
            f" them, filled up to {context}: {_tokenizer(scorer)}."
        )
    lines.append("- Both give `embeddings` (batch, embed_dim) of length 1.")
    return "\n".join(lines)


def _tokenizer(scorer: Scorer) -> str:
    blueprint = scorer.model.backbone.blueprint
    if blueprint.tokenizer is None and not blueprint.is_tiny:
        return "open_clip's `SimpleTokenizer`, OpenAI's byte pairs"
    return "`tokenizer.json` in the folder for open_clip or transformers"


def _outputs(scorer: Scorer) -> str:
    names = ", ".join(f"`{name}`" for name in outputs_of(scorer))
    reads = "`img`"
    if scorer.needs_prompts:
        reads += " and `txt`, the embeddings of an image and of its prompt"
    if scorer.needs_prompts and scorer.model.texts.levels:
        reads += (
            ', and `matching` (batch, 5, embed_dim), the embeddings of "a photo that WORD matches'
            f" 'PROMPT'\" for {', '.join(MATCHES)}"
        )
    lines = [f"`heads.onnx` reads {reads}, and gives, each (batch,): {names}."]
    lines += [_formula(scorer)]
    for target in TARGETS:
        bounds = scorer.content[f"range_{target}"]
        if bounds is not None:
            low, high = bounds
            lines.append(
                f"On the scale of the ratings {target} is {low:g} + {target.letter} *"
                f" ({high:g} - {low:g})."
            )
    return "\n\n".join(lines)


def _formula(scorer: Scorer) -> str:
    config = run_config_from_flat(scorer.content["config"])
    head: HeadConfig = config.head
    if not head.residual_learning:
        refined = ", refined by a small transformer" if scorer.model.refinement else ""
        return f"Each score is predicted directly, as a sigmoid{refined}; cos = img . txt."
    scales = scorer.model.residual_scales()
    return " ".join(
        f"{t.letter} = clamp({t.letter}_base + {scales[t.scale]:g} * {t.letter}_delta, 0, 1)."
        for t in TARGETS
        if scorer.content[f"range_{t}"] is not None
    )

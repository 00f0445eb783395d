"""What one run prints: its configuration, a line per epoch, and the checkpoint's path."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qa_core.config import RunConfig
from qa_core.errors import visible
from qa_core.modes import BackboneSpec, freezing, frozen_blocks, mode_name
from qa_core.targets import TARGETS

if TYPE_CHECKING:  # pandas: --help must not wait for it
    from qa_core.data.rated_table import RatedTable


VIEWS = {
    "whole": "whole, resized to a square",
    "padded": "whole, resized into a square, aspect ratio kept",
    "centre": "the window in the middle at native resolution",
    "crops": "whole and windows at native resolution, 4 of 9 at random in training, averaged",
}

AUGMENTATIONS = {
    "none": "",
    "crop_flip": "; training sees one of eight random crops of it, half of them mirrored",
}

ONLY = {
    "all": "",
    "image": "only the image tower trains",
    "text": "only the text tower trains",
    "bias_norm": "only biases and norms train",
    "projection": "only the projections train",
}


def configuration_panel(
    config: RunConfig, spec: BackboneSpec, table: "RatedTable", notes: Sequence[str] = ()
) -> str:
    """The resolved configuration in words, one topic a line, then notes."""
    train, optim, loss = config.train, config.optim, config.loss
    heads = "" if optim.lr_head is None else f", heads {optim.lr_head:g}"
    explanations = f"on, weight {loss.w_exp:g}" if loss.use_explanations else "off"
    lines = {
        "mode": mode_name(config),
        "data": f"{table.name}: {table.size_in_words}",
        "images": VIEWS[config.image_view] + AUGMENTATIONS[config.train.augment],
        "backbone": f"{config.clip.backbone}, weights {config.clip.pretrained}",
        "training": f"{train.epochs} epochs, batch {train.batch_size}"
        f"{_accumulation(config)}, learning rate {optim.lr:g}{heads}, {optim.scheduler}",
        "loss": f"w_q {loss.w_q:g}, w_c {loss.w_c:g}",
        "explanations": explanations,
        "freezing": freezing_words(config, spec),
        "keeping CLIP": ", ".join(config.keep.words()) or "no further measure",
        "prediction": "\n".join(prediction_lines(config)),
    }
    lines |= {f"note {i}": note for i, note in enumerate((*notes, *table.notes), 1)}
    width = max(map(len, lines))
    return visible(
        "\n".join(
            f"{name:<{width}}  " + text.replace("\n", "\n" + " " * (width + 2))
            for name, text in lines.items()
        )
    )


def _accumulation(config: RunConfig) -> str:
    steps = config.optim.grad_accum_steps
    return "" if steps == 1 else f" x {steps} accumulated"


def freezing_words(config: RunConfig, spec: BackboneSpec) -> str:
    """What of CLIP is frozen and what trains, in words."""
    how = freezing(config)
    if how == "all":
        return "all of CLIP is frozen; only the heads train (linear probe)"
    only = ONLY[config.freeze.train_only]
    if how == "none":
        return only or "nothing is frozen; all of CLIP trains"
    image = frozen_blocks(config, spec.image_depth)
    text = frozen_blocks(config, spec.text_depth, "text")
    words = (
        f"stem and first {image} of {spec.image_depth} image blocks frozen, and first {text} of"
        f" {spec.text_depth} text blocks; the rest, final norms and projections train"
    )
    if config.freeze.freeze_from == "top":
        words = (
            f"last {image} of {spec.image_depth} image blocks and last {text} of"
            f" {spec.text_depth} text blocks frozen, final norms and projections too; the rest"
            " trains"
        )
    return f"{words} ({only})" if only else words


def prediction_lines(config: RunConfig) -> list[str]:
    """The prediction form, with its formulas and scales."""
    head, inputs = config.head, ", ".join(config.head.fusion_inputs)
    if head.residual_learning:
        schedule = "" if head.scale_schedule == "fixed" else f" ({head.scale_schedule})"
        q_base, c_base = "sigmoid(Linear(img))", "a * (cos + 1) / 2 + b"
        if head.antonym_prompts:
            q_base = c_base = "E[level of the prompt, from bad to perfect]"
        return [
            f"q = clamp({q_base} + {head.residual_scale_q:g} * tanh(MLP(img)))",
            f"c = clamp({c_base} + {head.residual_scale_c:g} * tanh(Fusion({inputs})))",
            f"residual scales {head.residual_scale_q:g} and {head.residual_scale_c:g}{schedule},"
            f" base from {head.base_init}",
        ]
    if head.matched_direct:
        return [
            "q = sigmoid(Linear(img) + MLP(img))",
            f"c = sigmoid(s * cos + t + MLP({inputs})), unbounded",
        ]
    branch = "mean with sigmoid(s * cos + t)" if head.use_two_branch else "one branch"
    lines = [
        "q = sigmoid(Linear(img))",
        f"c = sigmoid(MLP({inputs})), {branch}",
    ]
    if config.refinement.use_refinement:
        lines.append("c + scale * tanh(Transformer(img, txt, c)) (refinement)")
    return lines


def epoch_line(epoch: int, epochs: int, measures: dict[str, float]) -> str:
    """Losses, validation SROCC, gap and saturation of an epoch."""
    text = f"epoch {epoch:>{len(str(epochs))}}/{epochs}  loss {measures.get('loss', 0):.4f}"
    text += _each(" ({} {:.4f})", measures, "loss_{0}")
    text += "  val SROCC" + _each(" {} {:.3f}", measures, "val_srocc_{1}")
    text += "  gap" + _each(" {} {:+.3f}", measures, "train_val_gap_{1}")
    saturation = _each(" {} {:.0%}", measures, "delta_saturation_{1}")
    return text + (f"  saturation{saturation}" if saturation else "")


def _each(form: str, measures: dict[str, float], name: str) -> str:
    found = []
    for target in TARGETS:
        value = measures.get(name.format(target.letter, target))
        if value is not None:
            found.append(form.format(target.letter, value))
    return "".join(found)

"""A model as ONNX files: image tower, text tower and heads, checked by onnxruntime.

By torch's older exporter, which traces. It needs `onnx` alone, takes a second a tower where the
newer one takes ten, and gave the right embeddings for every family of towers that is supported.
What tracing may lose, such as a batch size that becomes a constant, is found by the check.
"""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from qa_core.backbones.backbone import Backbone
from qa_core.data.decode import decode_image
from qa_core.errors import UserError
from qa_core.model.quality_model import QualityModel
from qa_core.model.texts import LEVELS, QUALITY_PROMPTS, Anchors
from qa_core.scorer import Scorer

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

IMAGE, TEXT, HEADS = "image.onnx", "text.onnx", "heads.onnx"
OPSET = 18
TOLERANCE = 1e-4
"""Largest difference of a score in [0, 1] or one of its parts from the Scorer's."""
_CUTS = (1, 8, 40)
"""The check runs batches of 1, 7, 32 and what is left."""


class TowerPart(nn.Module):
    """uint8 images or token ids (batch, ...) -> L2-normalised embeddings (batch, embed_dim).

    Args:
        backbone: Whose parameters they are.
        encode: The tower: `backbone.encode_images`, which normalises pixels, or `encode_texts`.
    """

    def __init__(self, backbone: Backbone, encode: Callable[[Tensor], Tensor]):
        super().__init__()
        self.backbone, self.encode = backbone, encode

    def forward(self, given: Tensor) -> Tensor:
        """Embeddings."""
        return self.encode(given)


class HeadsPart(nn.Module):
    """Embeddings -> scores and parts.

    Args:
        model: The whole model.
        outputs: Names of the scores and parts to give.
    """

    quality: Tensor | None

    def __init__(self, model: QualityModel, outputs: Sequence[str]):
        super().__init__()
        self.model, self.outputs = model, tuple(outputs)
        self.quality = None
        if model.texts.levels:
            ids = model.backbone.tokenizer(list(QUALITY_PROMPTS))
            self.quality = model.backbone.encode_texts(ids).detach()  # (levels, embed_dim)

    def forward(self, img: Tensor, txt: Tensor, matching: Tensor | None = None) -> list[Tensor]:
        """Scores and parts (batch,) by `outputs`.

        Args:
            img: Embeddings of the images (batch, embed_dim).
            txt: Of their prompts (batch, embed_dim).
            matching: Of the five levels of matching each prompt (batch, 5, embed_dim), where the
                heads read them.
        """
        anchors = None
        if self.quality is not None and matching is not None:
            anchors = Anchors(matching, self.quality)
        parts = self.model.score_pairs(img, txt, anchors).parts()
        return [parts[name] for name in self.outputs]


def outputs_of(scorer: Scorer) -> list[str]:
    """Names of the scores and parts in [−1, 1] that a checkpoint has."""
    return [name for name in scorer.columns if not name.endswith("_mos")]


def write_onnx(folder: Path, scorer: Scorer) -> None:
    """Write the files, of a model on the CPU; no text tower where quality alone is scored.

    Raises:
        UserError: The libraries are missing, or a part cannot be written in ONNX's operations.
    """
    require_libraries()
    model = scorer.model
    backbone, width = model.backbone, model.backbone.embed_dim
    folder.mkdir()
    size = backbone.image_size
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    _export(
        TowerPart(backbone, backbone.encode_images),
        {"images": images},
        ["embeddings"],
        folder / IMAGE,
    )
    if scorer.needs_prompts:
        ids = backbone.tokenizer(["a", "b"])
        _export(
            TowerPart(backbone, backbone.encode_texts),
            {"token_ids": ids},
            ["embeddings"],
            folder / TEXT,
        )
    # of these the exporter keeps what the outputs depend on
    inputs = {"img": torch.rand(2, width), "txt": torch.rand(2, width)}
    if model.texts.levels:
        inputs["matching"] = torch.rand(2, LEVELS, width)
    outputs = outputs_of(scorer)
    _export(HeadsPart(model, outputs), inputs, outputs, folder / HEADS)


def require_libraries() -> None:
    """Raise a UserError unless what writes and checks ONNX is installed."""
    missing = [n for n in ("onnx", "onnxruntime") if importlib.util.find_spec(n) is None]
    if missing:
        raise UserError(
            f"ONNX needs {' and '.join(missing)}: pip install 'clip-qa[export]', or leave out onnx"
            " from --formats."
        )


def check_onnx(
    folder: Path, scorer: Scorer, images: Sequence[Image.Image], prompts: Sequence[str]
) -> float:
    """Largest difference of a score or part, in [−1, 1], between the files and the Scorer.

    Raises:
        UserError: It is above `TOLERANCE`.
    """
    expected = scorer.score(images, prompts)
    found = score_by_onnx(folder, scorer, images, prompts)
    difference = max(
        float(np.abs(found[name] - expected[name].to_numpy()).max()) for name in outputs_of(scorer)
    )
    if not difference <= TOLERANCE:
        raise UserError(
            f"The ONNX files give scores that differ by {difference:.1e} from the checkpoint's,"
            f" more than {TOLERANCE:g}: nothing is written."
        )
    return difference


def score_by_onnx(
    folder: Path, scorer: Scorer, images: Sequence[Image.Image], prompts: Sequence[str]
) -> dict[str, np.ndarray]:
    """Scores and parts (n,) by name, by the files alone but for pictures and token ids."""
    backbone, view = scorer.model.backbone, scorer.content["config"]["image_view"]
    image, heads = _open(folder / IMAGE), _open(folder / HEADS)
    text = _open(folder / TEXT) if scorer.needs_prompts else None
    rows: list[list[np.ndarray]] = []
    for some in np.split(np.arange(len(images)), _CUTS):
        if not len(some):
            continue
        pixels = np.stack([decode_image(images[i], backbone.image_size, view) for i in some])
        inputs = {"img": _embed_views(image, pixels)}
        if text is not None:
            inputs |= _embed_prompts(text, scorer.model, [prompts[i] for i in map(int, some)])
        rows.append(_run(heads, inputs))
    columns = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    return dict(zip(outputs_of(scorer), columns, strict=True))


def _open(file: Path) -> "InferenceSession":
    import onnxruntime

    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def _run(session: "InferenceSession", inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    outputs: Any = session.run(None, inputs)  # arrays, as all outputs here are tensors
    return outputs


def _embed_prompts(
    text: "InferenceSession", model: QualityModel, prompts: list[str]
) -> dict[str, np.ndarray]:
    """What the heads read of prompts: `txt` (n, embed_dim), and `matching` where they do."""
    texts = model.texts.of(prompts)
    texts = texts[:-LEVELS] if model.texts.levels else texts
    (found,) = _run(text, {"token_ids": model.backbone.tokenizer(texts).numpy()})
    n = len(prompts)
    if not model.texts.levels:
        return {"txt": found}
    return {"txt": found[:n], "matching": found[n:].reshape(n, LEVELS, -1)}


def _embed_views(image: "InferenceSession", pixels: np.ndarray) -> np.ndarray:
    """Embeddings (batch, embed_dim) of uint8 (batch, [views,] 3, size, size): mean, normalised."""
    (found,) = _run(image, {"images": pixels.reshape(-1, *pixels.shape[-3:])})
    if pixels.ndim == 4:
        return found
    mean = found.reshape(*pixels.shape[:2], -1).mean(axis=1)
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


def _export(part: nn.Module, inputs: dict[str, Tensor], outputs: list[str], file: Path) -> None:
    axes = {name: {0: "batch"} for name in (*inputs, *outputs)}
    try:
        with _quiet():
            torch.onnx.export(
                part.eval(),
                tuple(inputs.values()),
                file,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:  # whatever an operation without a counterpart raises
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"The {file.stem} part cannot be written as ONNX ({reason}).") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of tracing, and without the graph that torch prints where it fails."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it is no operation of ONNX
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)

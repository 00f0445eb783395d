"""Scoring images with what was trained: `Scorer.load(path).score(images, prompts)`.

A score depends on its image, its prompt and the checkpoint alone: to the last digit when few images
are scored, to 1e-6 when many are. Matrix products round differently in batches of different shapes,
so few images are scored one at a time, and many in batches of one shape; the last batch is padded.
"""

import contextlib
import io
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from qa_core.data.decode import UnreadableImage, decode_image
from qa_core.data.rated_table import MosRange
from qa_core.errors import UserError
from qa_core.model.checkpoint import load_model
from qa_core.model.quality_model import QualityModel
from qa_core.settings.data import ImageView
from qa_core.system.device import pick_device
from qa_core.targets import TARGETS, Target

ImageSource = Path | str | bytes | Image.Image
"""An image file, its bytes, or an opened image."""

BATCH, MANY = 32, 64
"""Images a batch, and the number of images from which on batches are used."""
DECODERS, AHEAD = 4, 64  # threads, and how many decoded images may wait
TEXTS_KEPT = 4096


@dataclass(frozen=True)
class Unreadable:
    """A picture that could not be scored.

    Attributes:
        picture: What was given.
        reason: Why not.
    """

    picture: ImageSource
    reason: str


class Scorer:
    """A trained model ready to score.

    Args:
        model: In eval mode, on its device.
        content: What the checkpoint says beside its weights.
        device: Where the model is.
    """

    def __init__(self, model: QualityModel, content: Mapping[str, Any], device: str):
        self.model, self.content, self.device = model, content, device
        self._ranges = {t: content[f"range_{t}"] for t in TARGETS}
        self._threads = int(content["config"].get("threads") or torch.get_num_threads())
        self._view: ImageView = content["config"]["image_view"]
        self._kept: OrderedDict[tuple[int, str], Tensor] = OrderedDict()

    @classmethod
    def load(cls, path: Path | str, device: str = "auto") -> "Scorer":
        """The scorer of a checkpoint.

        Raises:
            UserError: The checkpoint cannot be read.
        """
        device = pick_device(device)
        model, content = load_model(Path(path), device)
        return cls(model, content, device)

    @property
    def needs_prompts(self) -> bool:
        """Whether a score of this checkpoint depends on the prompt: where it scores consistency."""
        return self._ranges[Target.CONSISTENCY] is not None

    @property
    def ranges(self) -> dict[str, MosRange]:
        """Range of people's ratings by the name of each score from 0 to 1 that was trained."""
        return {t.prediction: own for t, own in self._ranges.items() if own is not None}

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the values of a score, in order; a score that was not trained has none."""
        names: list[str] = []
        parts = ("", "_base", "_delta") if self.model.residual_scales() else ("",)
        for target in TARGETS:
            if self._ranges[target] is not None:
                names += [f"{target.letter}{part}{unit}" for unit in ("", "_mos") for part in parts]
        return (*names, "cos") if self.needs_prompts else tuple(names)

    def score(
        self, images: Sequence[ImageSource], prompts: Sequence[str] | str | None = None
    ) -> pd.DataFrame:
        """One row a pair, by the names of `columns`: `records` as a table."""
        return pd.DataFrame(self.records(images, prompts), columns=pd.Index(self.columns))

    def records(
        self, images: Sequence[ImageSource], prompts: Sequence[str] | str | None = None
    ) -> list[dict[str, float]]:
        """The values of each pair by the names of `columns`.

        `q` and `c` are in [0, 1], `*_base` and `*_delta` their parts (the unscaled correction in
        [-1, 1]); `*_mos` is the same on the scale of the ratings, a correction as it is added.

        Args:
            images: Files, bytes or opened images, of any sizes.
            prompts: One an image, or one for all; none where the checkpoint scores quality alone.

        Raises:
            UserError: An image cannot be read, or there are not as many prompts as images.
        """
        if prompts is None and self.needs_prompts:
            raise UserError("This checkpoint scores consistency too: say what was asked for.")
        prompts = prompts or ""
        texts = [prompts] * len(images) if isinstance(prompts, str) else list(prompts)
        if len(texts) != len(images):
            raise UserError(f"There are {len(images)} images but {len(texts)} prompts.")
        rows: list[dict[str, float]] = []
        for found in self.stream(zip(images, texts, strict=True)):
            if isinstance(found, Unreadable):
                raise UserError(f"Image {len(rows) + 1} cannot be read: {found.reason}")
            rows.append(found)
        return rows

    def stream(
        self, pairs: Iterable[tuple[ImageSource, str]]
    ) -> Iterator[dict[str, float] | Unreadable]:
        """A score or an `Unreadable` for each (image, prompt), in order, in constant memory."""
        pairs = iter(pairs)
        first = list(itertools.islice(pairs, MANY))
        batch = BATCH if len(first) == MANY else 1
        waiting: list[tuple[np.ndarray | Unreadable, str]] = []
        decode = self._decoded_ahead if len(first) > 1 else self._decoded
        for decoded, prompt in decode(itertools.chain(first, pairs)):
            waiting.append((decoded, prompt))
            if len(waiting) == batch:
                yield from self._score_batch(waiting, batch)
                waiting = []
        yield from self._score_batch(waiting, batch)

    def _decoded(
        self, pairs: Iterable[tuple[ImageSource, str]]
    ) -> Iterator[tuple[np.ndarray | Unreadable, str]]:
        size = self.model.backbone.image_size
        return ((_decode(picture, size, self._view), prompt) for picture, prompt in pairs)

    def _decoded_ahead(
        self, pairs: Iterable[tuple[ImageSource, str]]
    ) -> Iterator[tuple[np.ndarray | Unreadable, str]]:
        """By threads, whose start takes as long as several small pictures do."""
        size = self.model.backbone.image_size
        ahead: deque[tuple[Future[np.ndarray | Unreadable], str]] = deque()
        with ThreadPoolExecutor(DECODERS) as pool:
            for picture, prompt in pairs:
                ahead.append((pool.submit(_decode, picture, size, self._view), prompt))
                if len(ahead) == AHEAD:
                    done, text = ahead.popleft()
                    yield done.result(), text
            for done, text in ahead:
                yield done.result(), text

    @torch.inference_mode()
    def _score_batch(
        self, waiting: Sequence[tuple[np.ndarray | Unreadable, str]], batch: int
    ) -> list[dict[str, float] | Unreadable]:
        good = [(pixels, text) for pixels, text in waiting if not isinstance(pixels, Unreadable)]
        with _threads(self._threads):  # as many as in training; more would only wait for each other
            scores = iter(self._scores([p for p, _ in good], [text for _, text in good], batch))
        return [d if isinstance(d, Unreadable) else next(scores) for d, _ in waiting]

    def _scores(
        self, pixels: list[np.ndarray], prompts: list[str], batch: int
    ) -> list[dict[str, float]]:
        if not pixels:
            return []
        missing = batch - len(pixels)
        images = torch.from_numpy(np.stack(pixels + [pixels[-1]] * missing)).to(self.device)
        img = self.model.backbone.encode_images(images)  # (batch, embed_dim)
        texts = self._texts(prompts + [prompts[-1]] * missing, batch)  # (texts, embed_dim)
        text_of = torch.arange(batch, device=self.device)
        parts = self.model.score(img.float(), texts.float(), text_of).parts()
        values = {name: part.double().cpu().numpy() for name, part in parts.items()}
        return [self._row({n: v[i] for n, v in values.items()}) for i in range(len(pixels))]

    def _texts(self, prompts: list[str], batch: int) -> Tensor:
        """Embeddings (texts, embed_dim) of prompts, kept for later images with the same one."""
        texts = self.model.texts.of(prompts)
        new = [text for text in dict.fromkeys(texts) if (batch, text) not in self._kept]
        for start in range(0, len(new), batch):
            some = new[start : start + batch]
            ids = self.model.backbone.tokenizer(some + some[-1:] * (batch - len(some)))
            found = self.model.backbone.encode_texts(ids.to(self.device))
            for text, embedding in zip(some, found, strict=False):
                self._kept[batch, text] = embedding
        together = torch.stack([self._kept[batch, text] for text in texts])
        while len(self._kept) > TEXTS_KEPT:
            self._kept.popitem(last=False)
        return together

    def _row(self, values: dict[str, float]) -> dict[str, float]:
        scales = self.model.residual_scales()
        for target in TARGETS:
            if self._ranges[target] is None:
                continue
            low, high = self._ranges[target]
            to_mos: dict[str, Callable[[float], float]] = {
                "": lambda v, low=low, high=high: low + v * (high - low),
            }
            to_mos["_base"] = to_mos[""]
            scale = scales.get(target.scale, 0.0) * (high - low)
            to_mos["_delta"] = lambda v, scale=scale: v * scale
            for part, convert in to_mos.items():
                name = f"{target.letter}{part}"
                if name in values:
                    values[f"{name}_mos"] = convert(values[name])
        return {name: float(values[name]) for name in self.columns}


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """A context with this many of torch's threads; afterwards there are as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _decode(picture: ImageSource, size: int, view: ImageView) -> np.ndarray | Unreadable:
    try:
        if isinstance(picture, Image.Image):
            return decode_image(picture, size, view)
        source = io.BytesIO(picture) if isinstance(picture, bytes) else Path(picture)
        return decode_image(source, size, view)
    except UnreadableImage as error:
        return Unreadable(picture, str(error))

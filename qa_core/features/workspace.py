"""What a process loads once and every run shares: table, images, prompts, backbone, activations."""

import copy
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qa_core.backbones.backbone import Backbone, average_views, load_backbone
from qa_core.config import CachePrecision, RunConfig
from qa_core.data.image_store import ImagesOnDemand, open_image_store
from qa_core.data.open_table import open_table
from qa_core.data.rated_table import RatedTable
from qa_core.errors import UserError
from qa_core.features.activations import (
    EMBEDDING,
    Boundary,
    activations,
    count_views,
    image_inputs,
    text_inputs,
)
from qa_core.features.cache_budget import CachePlan, boundary_bytes, plan_cache
from qa_core.model.antonyms import rows_with_antonyms, with_antonyms
from qa_core.model.freezing import plan_freezing
from qa_core.model.quality_model import RAW, Batch, Entry, frozen_entry

Progress = Callable[[str], None]

DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class Embeddings:
    """Normalised embeddings by the pretrained towers, one row an image of the table.

    Attributes:
        image: (n, embed_dim).
        text: (n, embed_dim).
        cos: (n,), in [-1, 1].
        logit_scale: The factor on cosines that pretraining learnt.
    """

    image: np.ndarray
    text: np.ndarray
    cos: np.ndarray
    logit_scale: float


@dataclass(frozen=True)
class Features:
    """All images and prompts of a table, ready to enter the towers at one point.

    Attributes:
        images: Pixels, tokens or embeddings (n, ...), in memory, on disk or on the device; where an
            image has several views, (n, views, ...).
        texts: Token ids, tokens or embeddings of the distinct prompts (texts, ...), and of what
            `with_antonyms` adds to them where `antonyms`.
        token_ids: Token ids of the texts (texts, longest).
        lengths: How many tokens each text needs (texts,).
        prompt_of: Which distinct prompt each image has (n,).
        entry: Where they enter.
        views: Views of each image.
        antonyms: Whether the prompts from bad to perfect are there too.
    """

    images: "Rows"
    texts: np.ndarray
    token_ids: Tensor
    lengths: Tensor
    prompt_of: np.ndarray
    entry: Entry
    views: int
    antonyms: bool = False

    def batch(self, rows: np.ndarray, device: str, draw: bool = False) -> Batch:
        """The batch of these rows, texts cut to the longest of them.

        Args:
            rows: Rows of the table.
            device: Where the batch goes.
            draw: Of several views take some at random, as training does; otherwise all.
        """
        prompts, text_of = np.unique(self.prompt_of[rows], return_inverse=True)
        kept = rows_with_antonyms(prompts, len(self.texts)) if self.antonyms else prompts
        chosen, texts = torch.from_numpy(kept), self.texts[kept]
        token_ids, longest = self.token_ids[chosen], int(self.lengths[chosen].max())
        if not self.entry.embedded:
            texts, token_ids = texts[:, :longest], token_ids[:, :longest]
        images, views = take(self.images, rows), self.views
        if draw and views > 1:
            drawn = draw_views(len(rows), views)
            images, views = images[torch.arange(len(rows))[:, None], drawn], drawn.shape[1]
        parts = (images, torch.from_numpy(texts), token_ids, torch.from_numpy(text_of))
        # torch aligns its memory, NumPy does not, and MKL's last digits may depend on it
        moved = (part.to(device, copy=True) for part in parts)
        floats = (p.float() if p.dtype == torch.half else p for p in moved)
        return Batch(*floats, entry=self.entry, views=views)


DRAWN_WINDOWS = 4
"""Windows of an image that a training step sees beside the whole."""


def draw_views(rows: int, views: int, generator: torch.Generator | None = None) -> Tensor:
    """Views (rows, 1 + drawn) that a training step sees: the whole, and some windows at random."""
    order = torch.rand(rows, views - 1, generator=generator).argsort(dim=1)
    whole = torch.zeros(rows, 1, dtype=torch.long)
    return torch.cat([whole, 1 + order[:, :DRAWN_WINDOWS]], dim=1)


Rows = np.ndarray | ImagesOnDemand | Tensor
"""Anything that gives rows by index."""


def take(source: Rows, rows: np.ndarray) -> Tensor:
    """Some rows as a tensor, on the device where the source is."""
    if isinstance(source, Tensor):
        return source[torch.from_numpy(rows).to(source.device)]
    return torch.from_numpy(source[rows])


class Workspace:
    """The shared, read-only part of all runs on one table with one backbone."""

    def __init__(
        self,
        table: RatedTable,
        images: np.ndarray | ImagesOnDemand,
        backbone: Backbone,
        cache_dir: Path | None,
        device: str,
        progress: Progress | None = None,
    ):
        self.table, self.images, self.cache_dir, self.device = table, images, cache_dir, device
        self.backbone = backbone.eval().requires_grad_(False).to(device)
        self.spec = backbone.spec
        self.backbone_sha256 = backbone.sha256
        self._progress = progress
        prompts, self._prompt_of = np.unique(
            table.frame["prompt"].to_numpy(dtype=str), return_inverse=True
        )
        self.prompts: list[str] = prompts.tolist()
        self._tokenized: dict[bool, tuple[Tensor, Tensor]] = {}
        self.views = count_views(images)
        self._features: dict[tuple[Entry, CachePrecision, bool], Features] = {}

    def _tokens(self, antonyms: bool) -> tuple[Tensor, Tensor]:
        """Token ids (texts, longest) of all texts, and how many tokens each needs (texts,)."""
        if antonyms not in self._tokenized:
            texts = with_antonyms(self.prompts) if antonyms else self.prompts
            ids = self.backbone.tokenize(texts)
            self._tokenized[antonyms] = ids, self.backbone.text.lengths(ids)
        return self._tokenized[antonyms]

    @functools.cached_property
    def images_sha256(self) -> str:
        """Hash of the decoded pixels."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        for start in range(0, len(self.images), 256):
            digest.update(self.images[start : start + 256].tobytes())
        return digest.hexdigest()

    @classmethod
    def open(
        cls, config: RunConfig, cache_dir: Path, progress: Progress | None = None
    ) -> "Workspace":
        """Load table, images and backbone of a configuration.

        Images are decoded on first use and kept in `cache_dir`; with the cache off, at every use.
        """
        if config.train.threads is not None:
            torch.set_num_threads(config.train.threads)
        table = open_table(config.data, config.loss.explanation_column, cache_dir)
        backbone = load_backbone(config.clip)
        paths = [Path(path) for path in table.frame["image_path"]]
        device = pick_device(config.train.device)
        if not config.train.cache:
            images = ImagesOnDemand(paths, backbone.image_size, config.data.image_view)
            return cls(table, images, backbone, None, device, progress)
        threads, view = max(1, config.data.num_workers), config.data.image_view
        images = open_image_store(paths, backbone.image_size, cache_dir, threads, progress, view)
        return cls(table, images, backbone, cache_dir, device, progress)

    def subset(self, rows: np.ndarray) -> "Workspace":
        """The workspace of some rows of the table, renumbered from 0."""
        frame = self.table.frame.iloc[rows].reset_index(drop=True)
        table = dataclasses.replace(self.table, frame=frame)
        images = self.images[rows]
        return Workspace(table, images, self.backbone, self.cache_dir, self.device, self._progress)

    def fresh_backbone(self, config: RunConfig) -> Backbone:
        """The pretrained backbone, what this configuration trains copied; the rest is shared."""
        frozen = plan_freezing(config, self.backbone).frozen
        groups = self.backbone.groups()
        shared = [self.backbone.tokenizer, *(m for name in frozen for m in groups[name])]
        return copy.deepcopy(self.backbone, {id(part): part for part in shared})

    def cache_plan(self, config: RunConfig) -> CachePlan:
        """Which activations a configuration's budget has room for."""
        n_texts, length = self._tokens(config.head.antonym_prompts)[0].shape
        gb, precision = config.train.cache_gb, config.train.cache_precision
        n_images, views = len(self.images), self.views
        return plan_cache(self.backbone, n_images, n_texts, length, gb, precision, views)

    def entry(self, config: RunConfig) -> Entry:
        """Where runs enter the towers: past all that they freeze, if that is cached."""
        entry = frozen_entry(plan_freezing(config, self.backbone))
        cached = config.train.cache and _image_boundary(entry) in self.cache_plan(config).kept
        return entry if cached else RAW

    def cache_bytes(self, configs: Sequence[RunConfig]) -> int:
        """Bytes that the activations for all these configurations take."""
        n_texts, length = self._tokens(False)[0].shape
        pictures = len(self.images) * self.views
        entries: set[tuple[Entry, CachePrecision]] = {
            (self.entry(config), config.train.cache_precision) for config in configs
        }
        return sum(
            boundary_bytes(self.backbone, at, pictures, n_texts, length, precision)
            for entry, precision in entries
            if (at := _image_boundary(entry)) is not None
        )

    def features(self, config: RunConfig) -> Features:
        """Inputs for runs of this configuration."""
        precision, antonyms = config.train.cache_precision, config.head.antonym_prompts
        return self._features_at(self.entry(config), precision, antonyms)

    def probe_features(self, config: RunConfig) -> Features:
        """Inputs for runs of this configuration while nothing of CLIP trains."""
        entry = Entry(embedded=True) if config.train.cache else RAW
        precision, antonyms = config.train.cache_precision, config.head.antonym_prompts
        return self._features_at(entry, precision, antonyms)

    def warm(self, configs: Sequence[RunConfig]) -> None:
        """Fill the cache for all these configurations in one pass over images and prompts."""
        precisions: set[CachePrecision] = {config.train.cache_precision for config in configs}
        for precision in precisions:
            same = [c for c in configs if c.train.cache_precision == precision]
            entries = {self.entry(config) for config in same} - {RAW}
            self._image_activations({at for e in entries if (at := _image_boundary(e))}, precision)
            self._text_activations({at for e in entries if (at := _text_boundary(e))}, precision)

    def pretrained_embeddings(self) -> Embeddings:
        """Embeddings of all images and prompts by the pretrained towers."""
        features = self._features_at(Entry(embedded=True))
        embedded = take(features.images, np.arange(len(self.images))).cpu()
        image = (embedded if self.views == 1 else average_views(embedded)).numpy()
        text = features.texts[features.prompt_of]
        scale = float(self.backbone.clip.logit_scale.detach().exp())
        return Embeddings(image, text, (image * text).sum(axis=1), scale)

    def encode_texts(self, prompts: Sequence[str]) -> np.ndarray:
        """Normalised embeddings (prompts, embed_dim) of any texts by the pretrained tower."""
        inputs = text_inputs(self.backbone, self.backbone.tokenize(prompts))
        return activations(inputs, [EMBEDDING], None)[EMBEDDING]

    def _features_at(
        self, entry: Entry, precision: CachePrecision = "full", antonyms: bool = False
    ) -> Features:
        key = (entry, precision, antonyms)
        if key not in self._features:
            ids, lengths = self._tokens(antonyms)
            images, texts = self.images, ids.numpy()
            image_at, text_at = _image_boundary(entry), _text_boundary(entry)
            if image_at is not None:
                images = self._image_activations({image_at}, precision)[image_at]
            if text_at is not None:
                texts = self._text_activations({text_at}, precision, antonyms)[text_at]
            images = _resident(images, self.device)
            self._features[key] = Features(
                images, texts, ids, lengths, self._prompt_of, entry, self.views, antonyms
            )
        return self._features[key]

    def _image_activations(
        self, boundaries: set[Boundary], precision: CachePrecision
    ) -> dict[Boundary, np.ndarray]:
        inputs = image_inputs(self.backbone, self.images, self.images_sha256)
        return activations(inputs, boundaries, self.cache_dir, precision, self._progress)

    def _text_activations(
        self, boundaries: set[Boundary], precision: CachePrecision, antonyms: bool = False
    ) -> dict[Boundary, np.ndarray]:
        inputs = text_inputs(self.backbone, self._tokens(antonyms)[0])
        return activations(inputs, boundaries, self.cache_dir, precision, self._progress)


def _image_boundary(entry: Entry) -> Boundary | None:
    return EMBEDDING if entry.embedded else entry.image


def _text_boundary(entry: Entry) -> Boundary | None:
    return EMBEDDING if entry.embedded else entry.text


def _resident(images: np.ndarray | ImagesOnDemand, device: str) -> Rows:
    """The rows on the GPU where they take less than half of what is free; else as they are."""
    if not device.startswith("cuda") or isinstance(images, ImagesOnDemand):
        return images
    if images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return torch.from_numpy(np.array(images)).to(device)


def pick_device(asked: str) -> str:
    """The device to run on: as asked, or the best there is for `auto`.

    Raises:
        UserError: This machine has no such device.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        known = torch.empty(0, device=asked).device.type in DEVICES
    except (RuntimeError, AssertionError):  # the latter from a torch that was built without CUDA
        known = False
    if not known:
        raise UserError(f"--device {asked} is not on this machine: take cpu, or leave it at auto.")
    return asked

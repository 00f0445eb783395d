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
from qa_core.backbones.tower import EMBEDDED, EMBEDDING, FROM_RAW, RAW, Boundary, Entry
from qa_core.config import CachePrecision, RunConfig
from qa_core.data.image_store import ImagesOnDemand, open_image_store
from qa_core.data.open_table import open_table
from qa_core.data.rated_table import RatedTable
from qa_core.features.activations import activations, count_views, image_inputs, text_inputs
from qa_core.features.cache_budget import CachePlan, boundary_bytes, plan_cache
from qa_core.features.inputs import Features, resident, take
from qa_core.model.freezing import plan_freezing
from qa_core.model.texts import PROMPTS_ALONE, PromptTexts, texts_read_by
from qa_core.system.device import pick_device

Progress = Callable[[str], None]


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
        self._tokenized: dict[PromptTexts, tuple[Tensor, Tensor]] = {}
        self.views = count_views(images)
        self._features: dict[tuple[Entry, CachePrecision, PromptTexts], Features] = {}

    def _tokens(self, read: PromptTexts) -> tuple[Tensor, Tensor]:
        """Token ids (texts, longest) of all texts, and how many tokens each needs (texts,)."""
        if read not in self._tokenized:
            ids = self.backbone.tokenize(read.of(self.prompts))
            self._tokenized[read] = ids, self.backbone.text.lengths(ids)
        return self._tokenized[read]

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
        n_texts, length = self._tokens(texts_read_by(config.head))[0].shape
        gb, precision = config.train.cache_gb, config.train.cache_precision
        n_images, views = len(self.images), self.views
        return plan_cache(self.backbone, n_images, n_texts, length, gb, precision, views)

    def entry(self, config: RunConfig) -> Entry:
        """Where runs enter the towers: past all that they freeze, if that is cached."""
        entry = plan_freezing(config, self.backbone).entry
        cached = config.train.cache and entry.image in self.cache_plan(config).kept
        return entry if cached else FROM_RAW

    def cache_bytes(self, configs: Sequence[RunConfig]) -> int:
        """Bytes that the activations for all these configurations take."""
        n_texts, length = self._tokens(PROMPTS_ALONE)[0].shape
        pictures = len(self.images) * self.views
        entries: set[tuple[Entry, CachePrecision]] = {
            (self.entry(config), config.train.cache_precision) for config in configs
        }
        return sum(
            boundary_bytes(self.backbone, entry.image, pictures, n_texts, length, precision)
            for entry, precision in entries
            if entry.image != RAW
        )

    def features(self, config: RunConfig) -> Features:
        """Inputs for runs of this configuration."""
        precision, read = config.train.cache_precision, texts_read_by(config.head)
        return self._features_at(self.entry(config), precision, read)

    def probe_features(self, config: RunConfig) -> Features:
        """Inputs for runs of this configuration while nothing of CLIP trains."""
        entry = EMBEDDED if config.train.cache else FROM_RAW
        precision, read = config.train.cache_precision, texts_read_by(config.head)
        return self._features_at(entry, precision, read)

    def warm(self, configs: Sequence[RunConfig]) -> None:
        """Fill the cache for all these configurations in one pass over images and prompts."""
        precisions: set[CachePrecision] = {config.train.cache_precision for config in configs}
        for precision in precisions:
            same = [c for c in configs if c.train.cache_precision == precision]
            entries = {self.entry(config) for config in same}
            self._image_activations({entry.image for entry in entries} - {RAW}, precision)
            self._text_activations({entry.text for entry in entries} - {RAW}, precision)

    def pretrained_embeddings(self) -> Embeddings:
        """Embeddings of all images and prompts by the pretrained towers."""
        features = self._features_at(EMBEDDED)
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
        self, entry: Entry, precision: CachePrecision = "full", read: PromptTexts = PROMPTS_ALONE
    ) -> Features:
        key = (entry, precision, read)
        if key not in self._features:
            ids, lengths = self._tokens(read)
            images, texts = self.images, ids.numpy()
            if entry.image != RAW:
                images = self._image_activations({entry.image}, precision)[entry.image]
            if entry.text != RAW:
                texts = self._text_activations({entry.text}, precision, read)[entry.text]
            images = resident(images, self.device)
            self._features[key] = Features(
                images, texts, ids, lengths, self._prompt_of, entry, self.views, read
            )
        return self._features[key]

    def _image_activations(
        self, boundaries: set[Boundary], precision: CachePrecision
    ) -> dict[Boundary, np.ndarray]:
        inputs = image_inputs(self.backbone, self.images, self.images_sha256)
        return activations(inputs, boundaries, self.cache_dir, precision, self._progress)

    def _text_activations(
        self,
        boundaries: set[Boundary],
        precision: CachePrecision,
        read: PromptTexts = PROMPTS_ALONE,
    ) -> dict[Boundary, np.ndarray]:
        inputs = text_inputs(self.backbone, self._tokens(read)[0])
        return activations(inputs, boundaries, self.cache_dir, precision, self._progress)

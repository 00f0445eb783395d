"""What a process loads once and every run shares: table, images, prompts, backbone, activations."""

import copy
import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qa_core.backbones.backbone import Backbone, average_views, load_backbone
from qa_core.backbones.tower import EMBEDDED, EMBEDDING, FROM_RAW, RAW, Boundary, TowerEntry
from qa_core.config import RunConfig
from qa_core.data.image_store import ImagesOnDemand, pixels_sha256
from qa_core.data.open_table import open_table
from qa_core.data.rated_table import RatedTable
from qa_core.data.splits import Split
from qa_core.data.synthetic.rendered import N_REPLICATES
from qa_core.features.activations import (
    ProgressListener,
    activations,
    count_views,
    image_inputs,
    text_inputs,
)
from qa_core.features.cache_budget import CachePlan, boundary_bytes, plan_cache
from qa_core.features.inputs import Features, resident, take
from qa_core.features.random_crops import Opener, RandomCrops, image_opener
from qa_core.model.freezing import plan_freezing
from qa_core.model.texts import PROMPTS_ALONE, PromptTexts, texts_read_by
from qa_core.settings.training import N_DRAWN, CachePrecision
from qa_core.system.device import pick_device


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
    """The shared, read-only part of all runs on one table with one backbone.

    Where the table has blocks, a run opens no more than those that hold its split (`holding`), and
    the images of the rest are never drawn or decoded.

    Args:
        table: The table.
        images: Its images.
        backbone: What embeds them.
        cache_dir: Where activations are kept; None keeps them in memory only.
        device: Where runs take place.
        progress: Told, in words, how far the filling of a cache has come.
        opener: Opens the images of a block, and random crops.
        whole: The workspace of which this one holds some blocks.
        rows: Rows of the whole table that this one has (None: all).
    """

    def __init__(
        self,
        table: RatedTable,
        images: np.ndarray | ImagesOnDemand,
        backbone: Backbone,
        cache_dir: Path | None,
        device: str,
        progress: ProgressListener | None = None,
        opener: Opener | None = None,
        whole: "Workspace | None" = None,
        rows: np.ndarray | None = None,
    ):
        self.table, self.images, self.cache_dir, self.device = table, images, cache_dir, device
        self.whole = self if whole is None else whole
        self.rows = np.arange(len(table.frame)) if rows is None else rows
        self._opener = opener
        self._parts: dict[tuple[int, ...], Workspace] = {}
        self._warm: set[tuple[TowerEntry, CachePrecision]] = set()
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
        self._features: dict[tuple[TowerEntry, CachePrecision, PromptTexts], Features] = {}
        self._crops = opener and RandomCrops(table, opener, self.backbone, cache_dir, progress)

    def _tokens(self, read: PromptTexts) -> tuple[Tensor, Tensor]:
        """Token ids (texts, longest) of all texts, and how many tokens each needs (texts,)."""
        if read not in self._tokenized:
            ids = self.backbone.tokenize(read.of(self.prompts))
            self._tokenized[read] = ids, self.backbone.text.lengths(ids)
        return self._tokenized[read]

    @functools.cached_property
    def images_sha256(self) -> str:
        """Hash of the decoded pixels."""
        return pixels_sha256(self.images)

    @classmethod
    def open(
        cls,
        config: RunConfig,
        cache_dir: Path,
        progress: ProgressListener | None = None,
        n_replicates: int = N_REPLICATES,
        max_prompts: int | None = None,
    ) -> "Workspace":
        """Load table, images and backbone of a configuration.

        Images are decoded on first use and kept in `cache_dir`; with the cache off, at every use.
        The embedded benchmark is opened with so many replicates; of any table, `max_prompts`
        prompts alone, as `first_prompts` takes them.
        """
        if config.train.threads is not None:
            torch.set_num_threads(config.train.threads)
        column = config.loss.explanation_column
        table = open_table(config.data, column, cache_dir, n_replicates=n_replicates)
        if max_prompts is not None:
            table = table.first_prompts(max_prompts)
        backbone = load_backbone(config.clip)
        device, kept = pick_device(config.train.device), cache_dir if config.train.cache else None
        threads = config.data.num_workers
        opener = image_opener(backbone.image_size, config.image_view, kept, threads, progress)
        return cls(table, opener(table, False), backbone, kept, device, progress, opener)

    def holding(self, split: Split) -> tuple["Workspace", Split]:
        """The workspace of the blocks that a split uses, and the split in its row numbers."""
        blocks = self.table.blocks
        if blocks is None:
            return self, split
        used = np.concatenate([split.train, split.validation, split.test])
        names = np.unique(blocks[used])
        part = self._parts.get(tuple(names.tolist()))
        if part is None:
            part = self._open_part(np.isin(blocks, names))
            self._parts[tuple(names.tolist())] = part
        parts = (split.train, split.validation, split.test)
        return part, Split(split.index, *(np.searchsorted(part.rows, rows) for rows in parts))

    def n_opened(self, splits: Sequence[Split]) -> int:
        """How many images runs on these splits open, those of whole blocks."""
        blocks = self.table.blocks
        if blocks is None:
            return len(self.images)
        used = [rows for s in splits for rows in (s.train, s.validation, s.test)]
        return int(np.isin(blocks, blocks[np.concatenate(used)]).sum()) if used else 0

    def _open_part(self, chosen: np.ndarray) -> "Workspace":
        assert self._opener is not None, "a table with blocks is opened by Workspace.open"
        own = self.table.of_rows(np.flatnonzero(chosen))
        own.draw_images()
        own = own.in_one_piece()
        return Workspace(
            own,
            self._opener(own, False),
            self.backbone,
            self.cache_dir,
            self.device,
            self._progress,
            self._opener,
            whole=self,
            rows=np.flatnonzero(chosen),
        )

    def subset(self, rows: np.ndarray) -> "Workspace":
        """The workspace of some rows of the table, renumbered from 0."""
        table, images = self.table.of_rows(rows).in_one_piece(), self.images[rows]
        opened = (self.backbone, self.cache_dir, self.device, self._progress, self._opener)
        return Workspace(table, images, *opened)

    def fresh_backbone(self, config: RunConfig) -> Backbone:
        """The pretrained backbone; what this configuration trains is a copy, the rest shared."""
        frozen = plan_freezing(config, self.backbone).frozen
        groups = self.backbone.groups()
        shared = [self.backbone.tokenizer, *(m for name in frozen for m in groups[name])]
        return copy.deepcopy(self.backbone, {id(part): part for part in shared})

    def cache_plan(self, config: RunConfig) -> CachePlan:
        """Which activations a configuration's budget has room for, for the whole table."""
        if self.whole is not self:
            return self.whole.cache_plan(config)
        n_texts, length = self._tokens(texts_read_by(config.head))[0].shape
        gb, precision = config.train.cache_gb, config.train.cache_precision
        n_images, pictures = len(self.images), self.pictures_of(config)
        return plan_cache(self.backbone, n_images, n_texts, length, gb, precision, pictures)

    def pictures_of(self, config: RunConfig) -> int:
        """Pictures of an image that runs of this configuration see."""
        return self.views + (N_DRAWN if config.train.augment != "none" else 0)

    def entry(self, config: RunConfig) -> TowerEntry:
        """Where runs enter the towers: after their frozen layers, if those are cached."""
        entry = plan_freezing(config, self.backbone).entry
        # where images enter raw, only texts are kept, which take as little room as embeddings
        at = EMBEDDING if entry.image == RAW else entry.image
        cached = config.train.cache and at in self.cache_plan(config).kept
        return entry if cached else FROM_RAW

    def cache_bytes(self, configs: Sequence[RunConfig]) -> int:
        """Bytes that the activations for all these configurations take."""
        n_texts, length = self._tokens(PROMPTS_ALONE)[0].shape
        entries: dict[tuple[TowerEntry, CachePrecision], int] = {}
        for config in configs:
            key = self.entry(config), config.train.cache_precision
            entries[key] = max(entries.get(key, 0), len(self.images) * self.pictures_of(config))
        return sum(
            boundary_bytes(self.backbone, entry.image, pictures, n_texts, length, precision)
            for (entry, precision), pictures in entries.items()
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

    def with_drawn(self, features: Features, config: RunConfig, train: np.ndarray) -> Features:
        """The same inputs, with random crops for training where the configuration asks for them.

        Args:
            features: Inputs.
            config: A resolved configuration.
            train: Rows that are trained on. Of a block of the embedded benchmark no more are drawn;
                other tables' rows all take their turn.
        """
        if config.train.augment == "none":
            return features
        assert self._crops is not None, "a workspace that trains is opened by Workspace.open"
        at, precision = features.entry.image, config.train.cache_precision
        drawn = self._crops.of(self._rows_drawn(train), at, precision)
        return dataclasses.replace(features, drawn=drawn)

    def _rows_drawn(self, train: np.ndarray) -> np.ndarray:
        return np.arange(len(self.images)) if self.whole is self else np.unique(train)

    def anchors(self) -> Features:
        """Embeddings of all images and prompts by the pretrained towers, as inputs."""
        return self._features_at(EMBEDDED)

    def warm(self, configs: Sequence[RunConfig], splits: Sequence[Split] = ()) -> None:
        """Fill the cache for all these configurations in one pass over images and prompts.

        Where the table has blocks, of those that hold these splits.
        """
        if self.table.blocks is None:
            self._fill(configs, np.arange(len(self.images)))
        else:
            for split in splits:
                part, own = self.holding(split)
                part._fill(configs, own.train)

    def _fill(self, configs: Sequence[RunConfig], train: np.ndarray) -> None:
        """Fill the cache, crops of some rows included."""
        self._fill_crops([c for c in configs if c.train.augment != "none"], train)
        asked: set[tuple[TowerEntry, CachePrecision]] = {
            (self.entry(config), config.train.cache_precision) for config in configs
        }
        wanted = asked - self._warm
        self._warm |= asked
        precisions: set[CachePrecision] = {precision for _, precision in wanted}
        for precision in precisions:
            entries = {entry for entry, other in wanted if other == precision}
            self._image_activations({entry.image for entry in entries} - {RAW}, precision)
            self._text_activations({entry.text for entry in entries} - {RAW}, precision)

    def _fill_crops(self, configs: Sequence[RunConfig], train: np.ndarray) -> None:
        crops: dict[CachePrecision, set[Boundary]] = {}
        for config in configs:
            at = self.entry(config).image
            crops.setdefault(config.train.cache_precision, set()).update({at} - {RAW})
        for precision, boundaries in crops.items():
            assert self._crops is not None, "a workspace that trains is opened by Workspace.open"
            self._crops.fill(self._rows_drawn(train), boundaries, precision)

    def pretrained_embeddings(self) -> Embeddings:
        """Embeddings of all images and prompts by the pretrained towers."""
        features = self.anchors()
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
        self,
        entry: TowerEntry,
        precision: CachePrecision = "full",
        read: PromptTexts = PROMPTS_ALONE,
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

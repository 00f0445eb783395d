"""What a process loads once and every run shares: table, images, prompts, backbone, activations."""

import copy
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qa_core.activations import EMBEDDING, Boundary, image_activations, text_activations
from qa_core.backbone import Backbone, load_backbone
from qa_core.config import RunConfig
from qa_core.data.image_store import open_image_store
from qa_core.data.open_table import open_table
from qa_core.data.rated_table import RatedTable
from qa_core.freezing import plan_freezing
from qa_core.model import RAW, Batch, Entry, frozen_entry

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


@dataclass(frozen=True)
class Features:
    """All images and prompts of a table, ready to enter the towers at one point.

    Attributes:
        images: Pixels, tokens or embeddings (n, ...).
        texts: Token ids, tokens or embeddings of the distinct prompts (prompts, ...).
        ends: Last position of each distinct prompt (prompts,).
        prompt_of: Which distinct prompt each image has (n,).
        entry: Where they enter.
    """

    images: np.ndarray
    texts: Tensor
    ends: Tensor
    prompt_of: np.ndarray
    entry: Entry

    def batch(self, rows: np.ndarray, device: str) -> Batch:
        """The batch of these rows, texts cut to the longest of them."""
        prompts, text_of = np.unique(self.prompt_of[rows], return_inverse=True)
        chosen = torch.from_numpy(prompts)
        texts, ends = self.texts[chosen], self.ends[chosen]
        if not self.entry.embedded:
            texts = texts[:, : int(ends.max()) + 1]
        images = torch.from_numpy(self.images[rows])
        parts = (images, texts, ends, torch.from_numpy(text_of))
        return Batch(*(part.to(device) for part in parts), entry=self.entry)


class Workspace:
    """The shared, read-only part of all runs on one table with one backbone."""

    def __init__(
        self,
        table: RatedTable,
        images: np.ndarray,
        backbone: Backbone,
        cache_dir: Path,
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
        self._token_ids, self._ends = backbone.tokenize(self.prompts)
        self._features: dict[Entry, Features] = {}

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
        """Load table, images and backbone of a configuration; images are decoded on first use."""
        if config.train.threads is not None:
            torch.set_num_threads(config.train.threads)
        table = open_table(config.data, config.loss.explanation_column, cache_dir)
        backbone = load_backbone(config.clip)
        paths = [Path(path) for path in table.frame["image_path"]]
        images = open_image_store(
            paths, backbone.image_size, cache_dir, max(1, config.data.num_workers), progress
        )
        device = pick_device(config.train.device)
        return cls(table, images, backbone, cache_dir, device, progress)

    def subset(self, rows: np.ndarray) -> "Workspace":
        """The workspace of some rows of the table, renumbered from 0."""
        frame = self.table.frame.iloc[rows].reset_index(drop=True)
        table = dataclasses.replace(self.table, frame=frame)
        images = self.images[rows]
        return Workspace(table, images, self.backbone, self.cache_dir, self.device, self._progress)

    def fresh_backbone(self) -> Backbone:
        """A copy of the pretrained backbone to train; the tokenizer is shared."""
        shared = {id(self.backbone.tokenizer): self.backbone.tokenizer}
        return copy.deepcopy(self.backbone, shared)

    def features(self, config: RunConfig) -> Features:
        """Inputs for runs of this configuration, past all that it freezes (if caching)."""
        plan = plan_freezing(config, self.backbone)
        return self._features_at(frozen_entry(plan) if config.train.cache else RAW)

    def warm(self, configs: Iterable[RunConfig]) -> None:
        """Fill the cache for all these configurations in one pass over the images."""
        entries = {frozen_entry(plan_freezing(c, self.backbone)) for c in configs if c.train.cache}
        boundaries = {_image_boundary(entry) for entry in entries}
        self._image_activations([at for at in boundaries if at is not None])

    def pretrained_embeddings(self) -> Embeddings:
        """Embeddings of all images and prompts by the pretrained towers."""
        features = self._features_at(Entry(embedded=True))
        image = np.asarray(features.images)
        text = features.texts.cpu().numpy()[features.prompt_of]
        scale = float(self.backbone.clip.logit_scale.detach().exp())
        return Embeddings(image, text, (image * text).sum(axis=1), scale)

    def encode_texts(self, prompts: Sequence[str]) -> np.ndarray:
        """Normalised embeddings (prompts, embed_dim) of any texts by the pretrained tower."""
        ids, ends = self.backbone.tokenize(prompts)
        return text_activations(self.backbone, ids, ends, EMBEDDING).cpu().numpy()

    def _features_at(self, entry: Entry) -> Features:
        if entry not in self._features:
            at = _image_boundary(entry)
            images = self.images if at is None else self._image_activations([at])[at]
            texts = self._token_ids
            if entry.embedded or entry.text is not None:
                text_at = EMBEDDING if entry.embedded else entry.text or 0
                texts = text_activations(self.backbone, texts, self._ends, text_at).cpu()
            self._features[entry] = Features(images, texts, self._ends, self._prompt_of, entry)
        return self._features[entry]

    def _image_activations(self, boundaries: list[Boundary]) -> dict[Boundary, np.ndarray]:
        return image_activations(
            self.backbone,
            self.images,
            self.images_sha256,
            boundaries,
            self.cache_dir,
            self._progress,
        )


def _image_boundary(entry: Entry) -> Boundary | None:
    return EMBEDDING if entry.embedded else entry.image


def pick_device(asked: str) -> str:
    """The device to run on: as asked, or the best there is for `auto`."""
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"

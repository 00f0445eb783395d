"""Random crops of the images that a run trains on, ready to enter the image tower."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qa_core.backbones.backbone import Backbone
from qa_core.backbones.tower import RAW, Boundary
from qa_core.data.image_store import ImagesOnDemand, open_image_store, pixels_sha256
from qa_core.data.rated_table import RatedTable
from qa_core.features.activations import ProgressListener, activations, image_inputs
from qa_core.features.inputs import Drawn, resident
from qa_core.settings.data import ImageView
from qa_core.settings.training import CachePrecision

Pixels = np.ndarray | ImagesOnDemand
Opener = Callable[[RatedTable, bool], Pixels]
"""Opens the images of a table, or random crops of them."""


def image_opener(
    size: int,
    view: ImageView,
    cache_dir: Path | None,
    threads: int,
    progress: ProgressListener | None,
) -> Opener:
    """Opens images decoded once and kept, or, without a cache, whenever they are asked for.

    Args:
        size: Side of the square in pixels.
        view: Which views of each image.
        cache_dir: Where they are kept.
        threads: Threads that decode.
        progress: Told, in words, how far decoding has come.
    """

    def opener(table: RatedTable, drawn: bool) -> Pixels:
        paths = [Path(path) for path in table.frame["image_path"]]
        if cache_dir is None or table.blocks is not None:
            return ImagesOnDemand(paths, size, view, drawn)
        return open_image_store(paths, size, cache_dir, max(1, threads), progress, view, drawn)

    return opener


@dataclass(frozen=True)
class RandomCrops:
    """Crops of a table's images, and what frozen layers make of them, each computed once.

    Attributes:
        table: The table.
        opener: Opens crops.
        backbone: What embeds them, on its device.
        cache_dir: Where activations are kept; None keeps them in memory only.
        progress: Told, in words, how far a pass has come.
    """

    table: RatedTable
    opener: Opener
    backbone: Backbone
    cache_dir: Path | None
    progress: ProgressListener | None
    _found: dict[tuple[Boundary, CachePrecision, bytes], Drawn] = field(default_factory=dict)

    def of(self, rows: np.ndarray, at: Boundary, precision: CachePrecision) -> Drawn:
        """Crops of some rows as they enter the tower at a boundary."""
        self.fill(rows, {at}, precision)
        return self._found[at, precision, rows.tobytes()]

    def fill(self, rows: np.ndarray, boundaries: set[Boundary], precision: CachePrecision) -> None:
        """Compute crops of some rows at all these boundaries, in one pass."""
        missing = {at for at in boundaries if (at, precision, rows.tobytes()) not in self._found}
        if not missing:
            return
        pixels = self.opener(self.table.of_rows(rows).in_one_piece(), True)
        found: dict[Boundary, Pixels] = {RAW: pixels} if RAW in missing else {}
        if deeper := missing - {RAW}:
            inputs = image_inputs(self.backbone, pixels, pixels_sha256(pixels))
            found |= activations(inputs, deeper, self.cache_dir, precision, self.progress)
        place_of = np.full(len(self.table.frame), -1)
        place_of[rows] = np.arange(len(rows))
        device = str(self.backbone.pixel_mean.device)
        for at, images in found.items():
            own = Drawn(resident(images, device), place_of)
            self._found[at, precision, rows.tobytes()] = own

"""Flags of the data: which rated images, how they are seen, and how their scores are read."""

import math
from dataclasses import dataclass
from typing import Literal

from qa_core.settings.checks import require, require_positive, require_range
from qa_core.targets import TARGETS, Target

ImageView = Literal["whole", "padded", "centre", "crops"]
ProtocolName = Literal[
    "auto",
    "replicates",
    "honest",
    "grouped_kfold",
    "common",
    "published",
    "official",
    "leave_one_generator_out",
    "cross",
]
DatasetName = Literal[
    "agiqa3k",
    "aigciqa2023",
    "agiqa1k",
    "pku_aigiqa4k",
    "aigiqa20k",
    "evalmuse40k",
    "evalmi50k",
    "qeval100k",
    "genai_bench",
    "csv",
]


@dataclass(frozen=True)
class DataConfig:
    """Which rated images, and how their scores are read."""

    data_csv_path: str | None = None
    """Table with name,prompt,mos_quality,mos_align (default: the embedded benchmark)."""
    dataset: DatasetName | None = None
    """A published data set, read from --data_root."""
    data_root: str | None = None
    """The data set's folder, as unpacked; for csv, a folder with data.csv."""
    test_dataset: DatasetName | None = None
    """A second data set, to test a model on that was trained on the first."""
    test_root: str | None = None
    """The second data set's folder."""
    image_base_dir: str | None = None
    """Folder that image names are relative to (default: found near the table)."""
    mos_range_q: tuple[float, float] | None = None
    """Nominal range of the quality scores, LOW HIGH."""
    mos_range_c: tuple[float, float] | None = None
    """Nominal range of the consistency scores, LOW HIGH."""
    label_scale_q: float | None = None
    """Shorthand for --mos_range_q 0 S."""
    label_scale_c: float | None = None
    """Shorthand for --mos_range_c 0 S."""
    columns: tuple[str, ...] = ()
    """Columns that the table calls otherwise, as OURS=THEIRS: name=image prompt=caption ..."""
    image_view: ImageView | None = None
    """whole: resize to the model's square; padded: the same with the aspect ratio kept; centre: the
    window in the middle at native resolution; crops: the whole and nine such windows (training
    draws some, testing averages all). Default: centre where qa-tiny sees one's own images, or else
    whole."""
    num_workers: int = 2
    """Threads that decode images into the cache."""

    def __post_init__(self) -> None:
        """Check ranges and doubled flags."""
        for target in TARGETS:
            letter, (bounds, scale) = target.letter, self._range_flags(target)
            require(
                bounds is None or scale is None,
                f"--mos_range_{letter} and --label_scale_{letter} say the same thing: give one.",
            )
            require_positive(f"label_scale_{letter}", scale)
            require(
                bounds is None or -math.inf < bounds[0] < bounds[1] < math.inf,
                f"--mos_range_{letter} needs two numbers, LOW below HIGH, as in 1 5.",
            )
        require_range("num_workers", self.num_workers, 0, 256)
        self._check_sources()

    def _check_sources(self) -> None:
        require(
            self.image_base_dir is None or bool(self.data_csv_path or self.dataset),
            "--image_base_dir needs --data_csv_path, the table that names the images.",
        )
        require(
            (self.dataset is None) == (self.data_root is None),
            "--dataset and --data_root go together: a data set's name, and its folder.",
        )
        require(
            (self.test_dataset is None) == (self.test_root is None),
            "--test_dataset and --test_root go together: a data set's name, and its folder.",
        )
        require(
            self.dataset is None or self.data_csv_path is None,
            f"--dataset {self.dataset} names a table: leave out --data_csv_path.",
        )
        require(
            self.dataset in (None, "csv") or not any(map(self.nominal_range, TARGETS)),
            f"--dataset {self.dataset} declares its ranges: leave them out.",
        )
        require(
            not self.columns or self.dataset == "csv" or self.data_csv_path is not None,
            "--columns names columns of a table of one's own, by --table or a folder.",
        )

    @property
    def is_own(self) -> bool:
        """Whether the images are the user's, not those of the embedded benchmark."""
        return self.dataset is not None or self.data_csv_path is not None

    def nominal_range(self, target: Target) -> tuple[float, float] | None:
        """Nominal (low, high) of a target's scores, or None where the flags do not say."""
        bounds, scale = self._range_flags(target)
        return (0.0, scale) if scale is not None else bounds

    def _range_flags(self, target: Target) -> tuple[tuple[float, float] | None, float | None]:
        """Its `--mos_range_` and its `--label_scale_`."""
        letter = target.letter
        return getattr(self, f"mos_range_{letter}"), getattr(self, f"label_scale_{letter}")

"""The configuration of one training run: small frozen dataclasses, composed in `RunConfig`.

Importing this module needs no torch, so that command lines answer `--help` at once. A field whose
default depends on the mode and the backbone is None here and filled by `qa_core.modes.resolve`.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from qa_core.errors import UserError
from qa_core.targets import TARGETS, Target

Scheduler = Literal["cosine", "linear", "constant", "step"]
ScaleSchedule = Literal["fixed", "learnable", "curriculum"]
BaseInit = Literal["unit", "fit"]
FusionInput = Literal["img", "txt", "cos", "product"]
SelectionMetric = Literal["mean_srocc", "srocc_quality", "srocc_consistency"]
CachePrecision = Literal["full", "half"]
EMBEDDED_BACKBONE = "qa-tiny"
ImageView = Literal["whole", "padded", "centre", "crops"]
ProtocolName = Literal[
    "auto",
    "replicates",
    "honest",
    "grouped_kfold",
    "common",
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


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise UserError(sentence)


def _require_range(flag: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise UserError(f"--{flag} {value:g} is outside {low:g} to {high:g}.")


def _require_positive(flag: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise UserError(f"--{flag} must be a positive number, not {value:g}.")


@dataclass(frozen=True)
class BackboneConfig:
    """Which CLIP the model starts from."""

    backbone: str = EMBEDDED_BACKBONE
    """An open_clip model name, or a folder with open_clip_config.json and weights; qa-tiny is the
    embedded one."""
    pretrained: str = "default"
    """open_clip tag, a weights file, `none` (random), or `default` (the embedded weights, the
    folder's, or a published tag's)."""
    tokenizer: str | None = None
    """Folder with tokenizer.json (default: the backbone's own, downloaded if it is neither
    open_clip's nor in the folder)."""


@dataclass(frozen=True)
class FreezeConfig:
    """How much of CLIP training may touch."""

    freeze_clip: bool = False
    """Freeze both towers: a linear probe."""
    partial_freeze: bool = False
    """Freeze the stem and the first blocks of each tower."""
    freeze_layers: int | None = None
    """Number of blocks that --partial_freeze freezes (default: 8 of 12, 18 of 24)."""

    def __post_init__(self) -> None:
        """Refuse flags that contradict each other."""
        _require(
            not (self.freeze_clip and self.partial_freeze),
            "--freeze_clip freezes everything and --partial_freeze a part: give one of the two.",
        )
        _require(
            self.freeze_layers is None or self.partial_freeze,
            f"--freeze_layers {self.freeze_layers} needs --partial_freeze beside it.",
        )
        _require_range("freeze_layers", self.freeze_layers, 0, 1000)


@dataclass(frozen=True)
class HeadConfig:
    """What the heads predict and from what."""

    residual_learning: bool = True
    """Score = CLIP-based base + scale * tanh correction; off: direct prediction."""
    residual_scale_q: float = 0.2
    """Largest correction of the quality score."""
    residual_scale_c: float = 0.2
    """Largest correction of the consistency score."""
    scale_schedule: ScaleSchedule = "fixed"
    """fixed, learnable (bounded to 0..1), or curriculum (grows from 0 to the given value)."""
    curriculum_share: float = 0.5
    """Share of training over which a curriculum scale grows."""
    base_init: BaseInit = "unit"
    """unit: a = 1, b = 0; fit: least squares of the training MOS on (cos + 1) / 2."""
    fusion_inputs: tuple[FusionInput, ...] = ("img", "txt", "cos")
    """What the consistency heads read, in every mode."""
    use_two_branch: bool = False
    """Direct mode: c is the mean of the fusion head and sigmoid(s * cos + t)."""
    matched_direct: bool = False
    """Direct prediction with the inputs, capacity and start of the residual heads, without their
    bound."""
    dropout: float = 0.1
    """Dropout inside the MLP heads."""
    antonym_prompts: bool = False
    """Compute each base from how well the image fits five prompts, from bad to perfect."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for flag in ("residual_scale_q", "residual_scale_c"):
            _require_range(flag, getattr(self, flag), 0.0, 1.0)
            _require_positive(flag, getattr(self, flag))
        _require_range("dropout", self.dropout, 0.0, 0.9)
        _require_range("curriculum_share", self.curriculum_share, 0.01, 1.0)
        _require(len(self.fusion_inputs) > 0, "--fusion_inputs needs at least one input.")
        _require(
            len(set(self.fusion_inputs)) == len(self.fusion_inputs),
            f"--fusion_inputs {' '.join(self.fusion_inputs)} names an input twice.",
        )
        _require(
            not (self.matched_direct and self.use_two_branch),
            "--matched_direct and --use_two_branch are two forms of direct prediction: give one.",
        )
        _require(
            not self.antonym_prompts or (self.residual_learning and self.base_init == "unit"),
            "--antonym_prompts replace the bases of residual learning: leave out"
            " --no_residual_learning and --base_init fit.",
        )


@dataclass(frozen=True)
class RefinementConfig:
    """The refinement of a coarse consistency score (direct mode only)."""

    use_refinement: bool = False
    """A small transformer reads [img, txt, coarse c] and predicts a correction."""
    refinement_layers: int = 2
    """Layers of the refinement transformer."""
    refinement_heads: int = 4
    """Attention heads of the refinement transformer."""
    refinement_dim: int = 256
    """Width of the refinement transformer."""
    strict_residual: bool = True
    """Supervise the correction itself, beside the refined score."""

    def __post_init__(self) -> None:
        """Check that the width divides into the heads."""
        for flag in ("refinement_layers", "refinement_heads", "refinement_dim"):
            _require_positive(flag, getattr(self, flag))
        _require(
            self.refinement_dim % self.refinement_heads == 0,
            f"--refinement_dim {self.refinement_dim} does not divide into"
            f" --refinement_heads {self.refinement_heads}.",
        )


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms; a weight of 0 leaves the term out."""

    w_q: float = 0.5
    """Weight of the squared error of quality."""
    w_c: float = 0.5
    """Weight of the squared error of consistency."""
    w_exp: float = 0.1
    """Weight of the explanation loss (with --use_explanations)."""
    w_plcc: float = 0.0
    """Weight of the loss 1 - PLCC of each target within a batch."""
    w_rank: float = 0.0
    """Weight of the pairwise rank loss within a batch."""
    use_explanations: bool = False
    """Predict the embedding of the explanation's text."""
    explanation_column: str = "explanation"
    """Column of the table that holds the explanation."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for flag in ("w_q", "w_c", "w_exp", "w_plcc", "w_rank"):
            _require_range(flag, getattr(self, flag), 0.0, 1000.0)
        _require(self.w_q + self.w_c > 0, "--w_q and --w_c are both 0: nothing would be learnt.")


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and its schedule."""

    lr: float | None = None
    """Learning rate of CLIP; with --freeze_clip, of the heads (default: by mode and backbone)."""
    lr_head: float | None = None
    """Learning rate of the heads, a and b (default 1e-3)."""
    weight_decay: float = 0.01
    """Decoupled weight decay; never on biases, norms, a, b and scales."""
    warmup_ratio: float = 0.1
    """Share of the steps over which the rate grows linearly from 0."""
    max_grad_norm: float = 1.0
    """Gradient norm to clip at; 0 does not clip."""
    scheduler: Scheduler = "cosine"
    """How the rate falls after the warm-up."""
    step_lr_step_size: int = 5
    """Epochs between two drops of --scheduler step."""
    step_lr_gamma: float = 0.5
    """Factor of each drop of --scheduler step."""
    grad_accum_steps: int = 1
    """Batches whose gradients are averaged before a step."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_positive("lr", self.lr)
        _require_range("lr", self.lr, 0.0, 1.0)
        _require_positive("lr_head", self.lr_head)
        _require_range("lr_head", self.lr_head, 0.0, 1.0)
        _require_range("weight_decay", self.weight_decay, 0.0, 10.0)
        _require_range("warmup_ratio", self.warmup_ratio, 0.0, 0.9)
        _require_range("max_grad_norm", self.max_grad_norm, 0.0, 1e6)
        _require_range("step_lr_gamma", self.step_lr_gamma, 0.0, 1.0)
        _require_range("step_lr_step_size", self.step_lr_step_size, 1, 10_000)
        _require_range("grad_accum_steps", self.grad_accum_steps, 1, 10_000)


@dataclass(frozen=True)
class KeepConfig:
    """Ways to keep what CLIP knows while it is fine-tuned; all are off by default."""

    probe_share: float = 0.0
    """LP-FT: share of the epochs in which the heads train alone, before CLIP does."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each block to the one below it; 1: all alike."""
    ema_decay: float = 0.0
    """Decay per step of a moving average of the weights, which is then evaluated; 0: none."""
    wise_ft: bool = False
    """WiSE-FT: interpolate CLIP's weights with the pretrained ones; validation chooses how far."""
    lora_rank: int = 0
    """LoRA: train changes of this rank to CLIP's matrices instead of CLIP itself; 0: off."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_range("probe_share", self.probe_share, 0.0, 0.9)
        _require_range("layer_decay", self.layer_decay, 0.01, 1.0)
        _require_range("ema_decay", self.ema_decay, 0.0, 0.9999)
        _require_range("lora_rank", self.lora_rank, 0, 1024)
        _require(
            not (self.wise_ft and self.lora_rank),
            "--wise_ft interpolates weights, and --lora_rank leaves them as they are: give one.",
        )

    def words(self) -> list[str]:
        """What is on, in words."""
        found = {
            f"heads alone for the first {self.probe_share:.0%} of the epochs": self.probe_share > 0,
            f"rate times {self.layer_decay:g} a block downwards": self.layer_decay < 1,
            f"average of the weights, decay {self.ema_decay:g} a step": self.ema_decay > 0,
            "weights interpolated with the pretrained ones": self.wise_ft,
            f"low-rank changes, rank {self.lora_rank}": self.lora_rank > 0,
        }
        return [words for words, on in found.items() if on]


@dataclass(frozen=True)
class TrainConfig:
    """The training loop."""

    epochs: int = 20
    """Passes over the training part."""
    batch_size: int = 32
    """Images per batch."""
    seed: int = 0
    """Seed of the heads' start, the order of the images and dropout; each split derives its own."""
    amp: bool = True
    """bfloat16 autocast where the device has it (never on CPU)."""
    selection_metric: SelectionMetric = "mean_srocc"
    """Validation measure that chooses the checkpoint (mean_srocc: over the targets present)."""
    early_stopping_patience: int = 0
    """Epochs without improvement before training stops; 0 never stops early."""
    early_stopping_min_delta: float = 0.0
    """Smallest rise of the selection metric that counts as improvement."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto."""
    threads: int | None = None
    """CPU threads of this run (default: all cores); the number is part of a result's identity."""
    cache: bool = True
    """Decode images and compute frozen layers once, and keep both; off: at every step."""
    cache_precision: CachePrecision = "full"
    """full: store activations of frozen layers in float32; half: in float16, half the space."""
    cache_gb: float = 20.0
    """Disk space for activations of frozen layers, in 10^9 bytes; freeze depths that do not fit are
    computed at every step."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_range("epochs", self.epochs, 1, 100_000)
        _require_range("batch_size", self.batch_size, 2, 1_000_000)
        _require_range("seed", self.seed, 0, 2**31 - 1)
        _require_range("early_stopping_patience", self.early_stopping_patience, 0, 100_000)
        _require_range("early_stopping_min_delta", self.early_stopping_min_delta, 0.0, 2.0)
        _require_range("threads", self.threads, 1, 1024)
        _require_range("cache_gb", self.cache_gb, 0.0, 1e6)


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
            _require(
                bounds is None or scale is None,
                f"--mos_range_{letter} and --label_scale_{letter} say the same thing: give one.",
            )
            _require_positive(f"label_scale_{letter}", scale)
            _require(
                bounds is None or -math.inf < bounds[0] < bounds[1] < math.inf,
                f"--mos_range_{letter} needs two numbers, LOW below HIGH, as in 1 5.",
            )
        _require_range("num_workers", self.num_workers, 0, 256)
        self._check_sources()

    def _check_sources(self) -> None:
        _require(
            self.image_base_dir is None or bool(self.data_csv_path or self.dataset),
            "--image_base_dir needs --data_csv_path, the table that names the images.",
        )
        _require(
            (self.dataset is None) == (self.data_root is None),
            "--dataset and --data_root go together: a data set's name, and its folder.",
        )
        _require(
            (self.test_dataset is None) == (self.test_root is None),
            "--test_dataset and --test_root go together: a data set's name, and its folder.",
        )
        _require(
            self.dataset is None or self.data_csv_path is None,
            f"--dataset {self.dataset} names a table: leave out --data_csv_path.",
        )
        _require(
            self.dataset in (None, "csv") or not any(map(self.nominal_range, TARGETS)),
            f"--dataset {self.dataset} declares its ranges: leave them out.",
        )
        _require(
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


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines one run, but for the split it is given."""

    clip: BackboneConfig = field(default_factory=BackboneConfig)
    freeze: FreezeConfig = field(default_factory=FreezeConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    keep: KeepConfig = field(default_factory=KeepConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        """Refuse flags that contradict each other across parts; settle how images are seen."""
        _require(
            not (self.freeze.freeze_clip and self.optim.lr_head is not None),
            "With --freeze_clip only the heads train, at --lr: leave --lr_head out.",
        )
        keeps = ", ".join(self.keep.words())
        _require(
            not (self.freeze.freeze_clip and keeps),
            f"With --freeze_clip nothing of CLIP changes, so this has no meaning: {keeps}.",
        )

        if self.data.image_view is None:
            view = usual_view(self.clip.backbone, own_images=self.data.is_own)
            object.__setattr__(self, "data", dataclasses.replace(self.data, image_view=view))

    @property
    def image_view(self) -> ImageView:
        """How images are seen."""
        assert self.data.image_view is not None, "settled when the configuration was made"
        return self.data.image_view

    def flat(self) -> dict[str, Any]:
        """All fields by flag name, without their groups; flag names are unique."""
        flat: dict[str, Any] = {}
        for part in dataclasses.fields(self):
            flat |= dataclasses.asdict(getattr(self, part.name))
        return flat


def usual_view(backbone: str, own_images: bool) -> ImageView:
    """How images are seen where nobody says it.

    A window of 48 native pixels tells `qa-tiny` more of a photograph than the whole at 48 pixels
    (docs/backbones.md has the figures), and costs the same.
    """
    return "centre" if own_images and backbone == EMBEDDED_BACKBONE else "whole"


def run_config_from_flat(values: dict[str, Any]) -> RunConfig:
    """A `RunConfig` from flag names and values, the rest at their defaults.

    Raises:
        UserError: A name is no flag of any part.
    """
    parts: dict[str, Any] = {}
    known: set[str] = set()
    for part in dataclasses.fields(RunConfig):
        part_type = cast("type[Any]", type(getattr(_DEFAULT, part.name)))
        names = {item.name for item in dataclasses.fields(part_type)}
        chosen = {name: _as_tuple(values[name]) for name in names & values.keys()}
        parts[part.name] = part_type(**chosen)
        known |= names
    unknown = sorted(values.keys() - known)
    _require(not unknown, f"Unknown setting(s): {', '.join(unknown)}.")
    return RunConfig(**parts)


def with_settings(config: RunConfig, **values: Any) -> RunConfig:
    """The configuration with some flags changed, by flag name."""
    return run_config_from_flat(config.flat() | values)


def _as_tuple(value: Any) -> Any:
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


_DEFAULT = RunConfig()

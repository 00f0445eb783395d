"""Flags of training: the loss, the optimiser, what keeps CLIP near its start, and the loop."""

from dataclasses import dataclass
from typing import Literal

from qa_core.settings.checks import require, require_positive, require_range

Scheduler = Literal["cosine", "linear", "constant", "step"]
SelectionMetric = Literal["mean_srocc", "srocc_quality", "srocc_consistency"]
CachePrecision = Literal["full", "half"]
Augmentation = Literal["none", "crop_flip"]
N_DRAWN = 8
"""Random crops of an image, drawn once, of which a training step sees one."""


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
            require_range(flag, getattr(self, flag), 0.0, 1000.0)
        require(self.w_q + self.w_c > 0, "--w_q and --w_c are both 0: nothing would be learnt.")


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
        require_positive("lr", self.lr)
        require_range("lr", self.lr, 0.0, 1.0)
        require_positive("lr_head", self.lr_head)
        require_range("lr_head", self.lr_head, 0.0, 1.0)
        require_range("weight_decay", self.weight_decay, 0.0, 10.0)
        require_range("warmup_ratio", self.warmup_ratio, 0.0, 0.9)
        require_range("max_grad_norm", self.max_grad_norm, 0.0, 1e6)
        require_range("step_lr_gamma", self.step_lr_gamma, 0.0, 1.0)
        require_range("step_lr_step_size", self.step_lr_step_size, 1, 10_000)
        require_range("grad_accum_steps", self.grad_accum_steps, 1, 10_000)


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
    adapter_reduction: int = 0
    """Adapters: train small networks in every block, as narrow as the tower's width over this, and
    the norms, instead of CLIP itself; 0: off."""
    l2_sp: float = 0.0
    """L2-SP: weight of half the squared distance of CLIP's weights to where they started, in place
    of their decay towards 0."""
    anchor: float = 0.0
    """Weight of 1 - cos between the embeddings and those of the pretrained CLIP."""
    soup: int = 1
    """Model soup: trainings from the same start whose best weights are averaged; 1: no soup."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("probe_share", self.probe_share, 0.0, 0.9)
        require_range("layer_decay", self.layer_decay, 0.01, 1.0)
        require_range("ema_decay", self.ema_decay, 0.0, 0.9999)
        require_range("lora_rank", self.lora_rank, 0, 1024)
        require_range("adapter_reduction", self.adapter_reduction, 0, 1024)
        require_range("l2_sp", self.l2_sp, 0.0, 1e6)
        require_range("anchor", self.anchor, 0.0, 1e6)
        require_range("soup", self.soup, 1, 100)
        self._check_pairs()

    def _check_pairs(self) -> None:
        added = "--lora_rank" if self.lora_rank else "--adapter_reduction"
        require(
            not (self.lora_rank and self.adapter_reduction),
            "--lora_rank and --adapter_reduction each train something beside CLIP: give one.",
        )
        for flag, on in (("wise_ft", self.wise_ft), ("l2_sp", self.l2_sp > 0)):
            require(
                not on or not (self.lora_rank or self.adapter_reduction),
                f"--{flag} is about CLIP's own weights, and {added} leaves them as they are:"
                " give one.",
            )
        require(
            self.soup == 1 or not self.probe_share,
            "--soup averages whole trainings, and --probe_share divides one in two: give one.",
        )

    def words(self) -> list[str]:
        """What is on, in words."""
        found = {
            f"heads alone for the first {self.probe_share:.0%} of the epochs": self.probe_share > 0,
            f"rate times {self.layer_decay:g} a block downwards": self.layer_decay < 1,
            f"average of the weights, decay {self.ema_decay:g} a step": self.ema_decay > 0,
            "weights interpolated with the pretrained ones": self.wise_ft,
            f"low-rank changes, rank {self.lora_rank}": self.lora_rank > 0,
            f"adapters of 1/{self.adapter_reduction} of the width": self.adapter_reduction > 0,
            f"weights drawn to where they started, {self.l2_sp:g}": self.l2_sp > 0,
            f"embeddings drawn to the pretrained ones, {self.anchor:g}": self.anchor > 0,
            f"mean of the weights of {self.soup} trainings": self.soup > 1,
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
    """bfloat16 autocast where the card has it."""
    amp_on_cpu: bool = False
    """bfloat16 autocast on CPU too: twice as fast for CLIP's own backbones on processors with AMX,
    slower on others and for the embedded backbone."""
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
    augment: Augmentation = "none"
    """crop_flip: each training step sees one of eight random crops of an image, of .8 to 1 of its
    area, half of them mirrored; validation and test see the image itself."""
    cache: bool = True
    """Decode images and compute frozen layers once, and keep both; off: at every step."""
    cache_precision: CachePrecision = "full"
    """full: store activations of frozen layers in float32; half: in float16, half the space."""
    cache_gb: float = 20.0
    """Disk space for activations of frozen layers, in 10^9 bytes; freeze depths that do not fit are
    computed at every step."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("epochs", self.epochs, 1, 100_000)
        require_range("batch_size", self.batch_size, 2, 1_000_000)
        require_range("seed", self.seed, 0, 2**31 - 1)
        require_range("early_stopping_patience", self.early_stopping_patience, 0, 100_000)
        require_range("early_stopping_min_delta", self.early_stopping_min_delta, 0.0, 2.0)
        require_range("threads", self.threads, 1, 1024)
        require_range("cache_gb", self.cache_gb, 0.0, 1e6)

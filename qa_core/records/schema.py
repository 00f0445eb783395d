"""What MLflow holds of an ablation: kinds of runs, their tags and parameters.

The code that writes runs and the code that reads them share these names. Stores of earlier versions
hold the same values: whoever changes one has to translate the old value where it is read.
"""

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from qa_core.errors import UserError

if TYPE_CHECKING:
    from mlflow.entities import Run


class Kind(StrEnum):
    """What a run is."""

    ABLATION = "ablation"
    """The whole; parent of modes, studies and references."""
    MODE = "mode"
    """A mode or arm; parent of its trials and confirmations."""
    STUDY = "study"
    """A designed study, which lists its points."""
    TRIAL = "trial"
    """One setting of a mode on the folds of the tuning pool."""
    CONFIRMATION = "confirmation"
    """One setting of a mode on one split, tested; a study's cells as well."""
    POOL = "pool"
    """A candidate of a study's point on one fold of the tuning pool."""
    STACK = "stack"
    """Many linear probes trained as one on a fold of the tuning pool."""
    REFERENCE = "reference"
    """A `Reference` on one split."""
    REFERENCE_MEANS = "reference_means"
    """A `Reference` over all splits, for MLflow's pages."""
    SINGLE = "single"
    """A run of its own, outside any ablation."""
    ORPHAN = "orphan"
    """A result to be ignored: half written, or replaced by a later attempt."""


PARENT_KINDS = (Kind.ABLATION, Kind.MODE, Kind.STUDY)
"""Kinds of runs that stay open while others are written below them."""
RESULT_KINDS = (
    Kind.TRIAL,
    Kind.CONFIRMATION,
    Kind.POOL,
    Kind.STACK,
    Kind.REFERENCE,
    Kind.ORPHAN,
)
"""Kinds of runs that hold one result each, written when it is known."""


class Reference(StrEnum):
    """What the modes are held against, in the order of tables."""

    ZEROSHOT = "zeroshot"
    """CLIP as pretrained, nothing learnt."""
    RIDGE = "ridge"
    """A ridge regression on CLIP's frozen features."""
    SCENE = "scene"
    """A kernel ridge on statistics of the pixels: no network, no prompt."""
    FLOOR = "floor"
    """Means of generator and prompt: no pixels."""
    CEILING = "ceiling"
    """What the raters' own noise allows."""


class Setting(StrEnum):
    """At which setting a mode is confirmed."""

    GUIDE = "guide"
    TUNED = "tuned"


MARGIN = 0.02
"""Default of an ablation's parameter `margin`: differences in SROCC below it count as none."""


def check_margin(margin: float) -> float:
    """The margin.

    Raises:
        UserError: It is not above 0 and below 1.
    """
    if not 0 < margin < 1:
        raise UserError(f"--margin {margin:g} is not above 0 and below 1.")
    return margin


class Foreseen(StrEnum):
    """What a pilot foresees of the decisions, as parameters of an ablation, by target.

    Each is the least and the most, with a blank between; in earlier versions one number.
    """

    DIFFERENCE = "foreseen_difference"
    """The smallest true difference in SROCC that four of five such ablations call."""
    MARGIN = "foreseen_margin"
    """The smallest margin within which four of five call equal modes the same."""

    def of(self, target: str) -> str:
        """Name of the parameter."""
        return f"{self}_{target}"


StudyName = Literal[
    "ladder",
    "depth",
    "ends",
    "scale",
    "data_size",
    "batch_size",
    "augmentation",
    "lr",
    "variants",
    "heads",
]
"""The designed studies, in the order in which they run and are reported."""
TUNE = "tune"
"""Name of the adaptive search, beside the designed studies."""
CONFIRM = "confirm"
"""Tag `study` of the cells of the confirmation, where a study's cells have the study's name."""


PREDICTIONS_FILE = "predictions.csv"
"""Artifact of a confirmation or reference: one row a test image."""


CARD_FILE = "champion.md"
"""The champion's model card, in the folder of its ablation."""

IMAGES_FILE, THUMBNAILS_FILE = "images.csv", "thumbnails.zip"
"""Artifacts of an ablation: one row a tested image, and small pictures of the first of them."""


class Tag:
    """Names of a run's tags."""

    KIND = "kind"
    ABLATION_ID = "ablation_id"
    PARENT = "mlflow.parentRunId"
    MODE = "mode"
    REFERENCE = "reference"
    STUDY = "study"
    SETTING = "setting"
    """`Setting`, or the values of a study's knobs."""
    SPLIT = "split"
    SEED = "seed"
    TRIAL = "trial"
    IDENTITY = "identity"
    """Hash of everything that determines the result."""
    STATE = "state"
    """How a trial ended: COMPLETE, PRUNED or FAIL."""
    ERROR = "error"
    FAILURE = "failure"
    """Why a cell failed: `diverged`, or `raised`."""
    UNDEFINED = "undefined"
    """Measures without a value and why, as JSON."""
    CHECKPOINT = "checkpoint"
    RETENTION_BY_CONSTRUCTION = "retention_by_construction"
    ORPHANED = "orphaned"
    """The kind that an orphan had before."""
    # of an ablation
    COMPLETE = "complete"
    ARMS = "arms"
    CHAMPION = "champion"
    CHAMPION_RUN = "champion_run"
    # of a mode
    ARM_OF = "arm_of"
    WORDS = "words"
    TUNED_IS_GUIDE = "tuned_is_guide"
    TUNED_REASON = "tuned_reason"
    FOLDS_PRUNED = "folds_pruned"
    FOLDS_OF_TRIALS = "folds_of_trials"
    # of a study, beside its `StudyListing`
    QUESTION = "question"


class Param:
    """Names of parameters that one part of the project writes and another reads.

    A run's own flags are parameters too, by the names that `RunConfig.flat` gives them.
    """

    # of an ablation
    PROFILE = "profile"
    PROTOCOL = "protocol"
    DATA_NAME = "data_name"
    DATA_VERSION = "data_version"
    DATA_SHA256 = "data_sha256"
    N_IMAGES = "n_images"
    N_PROMPTS = "n_prompts"
    N_GENERATORS = "n_generators"
    TARGETS = "targets"
    """Those that the table rates, with commas between them."""
    RANGE_QUALITY = "range_quality"
    RANGE_CONSISTENCY = "range_consistency"
    BACKBONE = "backbone"
    PRETRAINED = "pretrained"
    IMAGE_VIEW = "image_view"
    AUGMENT = "augment"
    BACKBONE_SHA256 = "backbone_sha256"
    IMAGES_SHA256 = "images_sha256"
    """Hash of the decoded images (of the first block of a table in blocks)."""
    CACHE_PRECISION = "cache_precision"
    AMP_ON_CPU = "amp_on_cpu"
    IMAGE_DEPTH = "image_depth"
    N_SPLITS = "n_splits"
    N_TUNED_SPLITS = "n_tuned_splits"
    """The first so many splits, on which the tuned settings are confirmed."""
    N_SEEDS = "n_seeds"
    MARGIN = "margin"
    """Differences in SROCC below it count as none."""
    N_TRIALS = "n_trials"
    EPOCHS = "epochs"
    SPLIT_SEED = "split_seed"
    N_POOL_PROMPTS = "n_pool_prompts"
    N_TEST_PROMPTS = "n_test_prompts"
    N_ELIGIBLE_PROMPTS = "n_eligible_prompts"
    VARIANCE_FACTOR = "variance_factor"
    """Nadeau-Bengio factor of the splits for what is measured on their test parts."""
    VALIDATION_FACTOR = "validation_factor"
    """The same for what is measured on their validation parts."""
    N_FOLDS = "n_folds"
    """K where the splits are the folds of repeated K-fold, else 0."""
    INTERVAL = "interval"
    """`IntervalKind` of the splits."""
    FUSION_INPUTS = "fusion_inputs"
    BASE_INIT = "base_init"
    BATCH_SIZE = "batch_size"
    THREADS_PER_WORKER = "threads_per_worker"
    WORKERS = "workers"
    RESULTS_VERSION = "results_version"
    MACHINE = "machine"
    DEVICE = "device"
    LEFT_OUT_OF_CACHE = "left_out_of_cache"
    """Freeze depths whose activations `--cache_gb` leaves no room for."""
    NOTES = "notes"
    """Sentences about data and cache that a report repeats, as JSON."""
    CODE_VERSION = "code_version"
    PLANNED = "planned_"
    """How the names of expected durations begin."""
    PLANNED_WHOLE = "planned_whole_s"
    """Seconds from start to end that were expected before it began."""
    # of a mode
    GUIDE_SETTING = "guide_setting"
    TUNED_SETTING = "tuned_setting"

    @staticmethod
    def planned(mode: str) -> str:
        """Seconds of one worker that a mode was expected to take."""
        return f"{Param.PLANNED}{mode}_s"


@contextlib.contextmanager
def records_of(place: str) -> Iterator[None]:
    """Read what a store or server holds, which may be damaged, of another version or a stranger's.

    Raises:
        UserError: A value cannot be read as what it should be.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"What {place} holds of the ablation cannot be read ({type(error).__name__}: {error}):"
            " it is damaged, or of another version of this project."
        ) from error


def is_kind(run: "Run", kind: Kind) -> bool:
    """Whether a run is of this kind."""
    return run.data.tags.get(Tag.KIND) == kind


def is_finished(run: "Run") -> bool:
    """Whether a run ended well."""
    return run.info.status == "FINISHED"


def is_complete(ablation: "Run") -> bool:
    """Whether an ablation has everything that was asked of it."""
    return ablation.data.tags.get(Tag.COMPLETE) == "true"


def is_confirmation(run: "Run") -> bool:
    """Whether a run confirms a mode; cells that only a study asked for do not."""
    return is_kind(run, Kind.CONFIRMATION) and run.data.tags.get(Tag.STUDY, CONFIRM) == CONFIRM

"""What each figure's caption says: what is drawn, its centre and band, and n."""

from reports.evidence.frames import select
from reports.evidence.load import Ablation
from reports.figures import style
from reports.figures.deciles import compute_deciles
from reports.figures.tradeoff import compute_tradeoff
from reports.language import say


def _n(ablation: Ablation) -> str:
    """Number of runs behind a figure at the guide's setting, in words."""
    cells = ablation.settled("guide")
    return say(
        "n = {runs} runs ({splits} splits), the guide’s setting",
        runs=str(len(cells)),
        splits=str(len(set(cells["split"]))),
    )


def _n_both(ablation: Ablation) -> str:
    """Number of runs behind a figure of both settings."""
    tuned = len(select(ablation.cells, setting="tuned"))
    words = [_n(ablation), *([say("{n} tuned runs", n=str(tuned))] if tuned else [])]
    return say("; ").join(words)


def bar_of_splits(ablation: Ablation) -> str:
    """What a bar beside a mean is, or why there is none."""
    if ablation.has_one_part:
        return say("no bar, since these splits are no re-splits")
    return say("bar: 95 % Nadeau–Bengio interval, unadjusted")


def strips(ablation: Ablation) -> str:
    """Caption of the SROCC strips."""
    return say(
        "Test SROCC. Small points: splits, each one test part of unseen prompts; mark: mean; "
        "{bar}, cut where it leaves what SROCC can be. Filled: "
        "the guide’s setting; hollow: the tuned one, where tuning moved it. Vertical lines: means "
        "of the reference rows. {n}.",
        bar=bar_of_splits(ablation),
        n=_n_both(ablation),
    )


def paired(ablation: Ablation) -> str:
    """Caption of the paired differences."""
    return say(
        "Above: from the traditional mode (left end) to each other mode (right end) on the same "
        "split; thin: splits; thick: their mean. Below: the difference; points: splits; mark: "
        "mean; {bar}. {n}.",
        bar=say("bar: 95 % bootstrap interval over prompts")
        if ablation.has_one_part
        else bar_of_splits(ablation),
        n=_n(ablation),
    )


def wins(ablation: Ablation) -> str:
    """Caption of the matrix of splits won."""
    return say(
        "Share of splits in which the row’s mode has the higher test SROCC than the column’s, a "
        "tie counting half. It describes these splits, which overlap: no verdict rests on it. {n}; "
        "no interval is drawn.",
        n=_n(ablation),
    )


def curves(ablation: Ablation) -> str:
    """Caption of the learning curves."""
    return say(
        "SROCC by epoch on validation (colour, solid) and on a fixed train subset of the same "
        "size (grey, dashed), both in eval mode; epoch 0 is before training. Line: median over "
        "runs; band: their interquartile range. {n}.",
        n=_n(ablation),
    )


def gap(ablation: Ablation) -> str:
    """Caption of the train-validation gap."""
    return say(
        "Train–validation gap against validation SROCC, one mark a run, at the best checkpoint; "
        "the tail of a mark leads to the gap at the last epoch, which selection has not shrunk. "
        "Dashed: the guide’s limit. {n}; no interval is drawn.",
        n=_n(ablation),
    )


def saturation(ablation: Ablation) -> str:
    """Caption of delta saturation."""
    return say(
        "Above: share of samples whose correction lies within 5 % of its "
        "bound, on validation by epoch (line: median over runs; band: their range), and at the "
        "right on test at the best checkpoint, one mark a split; dashed: 10 %, above which the "
        "scale may be too small. Below: distribution of |delta| over the test images of all "
        "splits. Undefined for the traditional mode, which has no bound. {n}.",
        n=_n(ablation),
    )


def base_delta(ablation: Ablation) -> str:
    """Caption of base against base + delta."""
    return say(
        "What the correction earns: left end of each line the base alone, right end base + delta. "
        "Thin: splits; thick: their mean. {n}; no interval is drawn.",
        n=_n(ablation),
    )


def retention(ablation: Ablation) -> str:
    """Caption of alignment retention against SROCC."""
    return say(
        "Test SROCC against alignment retention: the rank correlation of cos after fine-tuning "
        "with cos before, within matched and within shuffled pairs, averaged. 1 keeps CLIP’s "
        "ordering whole; the linear probe has 1 by construction. Small points: splits; mark: "
        "mean. {n}; no interval is drawn.",
        n=_n(ablation),
    )


def cost(ablation: Ablation) -> str:
    """Caption of cost against SROCC."""
    data = compute_tradeoff(ablation, ablation.targets[0], "seconds_per_epoch")
    trained = say("; ").join(f"{style.label(m)} {v:,.0f}" for m, v in data.trainable.items())
    return say(
        "Test SROCC against seconds an epoch on this machine. Small points: splits; mark: mean. "
        "Parameters trained: {trained}. {n}; no interval is drawn.",
        trained=trained or say("not logged"),
        n=_n(ablation),
    )


def trials(ablation: Ablation) -> str:
    """Caption of the trials against their knobs."""
    return say(
        "Tuning: the objective (selection metric of the best epoch, mean over three grouped folds "
        "of the pool) against freeze depth, scales and learning rate. One mark a complete trial; "
        "ringed: trial 0, the guide’s setting. {n}; all knobs of a mode move together, so no curve "
        "is fitted and no interval drawn.",
        n=_n_trials(ablation),
    )


def history(ablation: Ablation) -> str:
    """Caption of the search's history and the knobs' importance."""
    return say(
        "Left: the objective of each complete trial (mark) in the order asked, and the best so far "
        "(line). Right: importance of each knob within its mode by PED-ANOVA, summing to 1; with "
        "so few trials a hint, not a finding. {n}; no interval is drawn.",
        n=_n_trials(ablation),
    )


def _n_trials(ablation: Ablation) -> str:
    states = ablation.trials["state"].value_counts().to_dict()
    words = {
        "COMPLETE": say("complete"),
        "PRUNED": say("pruned"),
        "FAIL": say("failed"),
        "FAILED": say("failed"),
        "RUNNING": say("running"),
    }
    counts = [f"{n} {words.get(state, state.lower())}" for state, n in sorted(states.items())]
    return say("n: {counts}", counts=say(", ").join(counts) or say("no trials"))


def scatter(ablation: Ablation) -> str:
    """Caption of predicted against MOS."""
    table = ablation.predictions
    images = len(set(select(table, setting="guide")["row"])) if len(table) else 0
    return say(
        "Predicted against mean opinion score, one point a test image, predictions averaged over "
        "the splits that tested it; line: equality. n = {images} images, the guide’s setting; "
        "no band.",
        images=str(images),
    )


def deciles(ablation: Ablation) -> str:
    """Caption of the errors by decile."""
    images = max((compute_deciles(ablation, target).n for target in ablation.targets), default=0)
    return say(
        "Error by decile of mean opinion score. Above: mean of prediction − MOS (above 0 too "
        "kind, below 0 too harsh; a falling line is drawn to the middle); below: mean size of the "
        "error. Predictions averaged over the splits that tested an image. n = {images} images, "
        "the guide’s setting; no band.",
        images=str(images),
    )


def generators(ablation: Ablation) -> str:
    """Caption of the figures within generators."""
    return say(
        "SROCC within each generator: pooled rank correlation is partly generator identity, this "
        "is what remains. Mark: mean over splits; beside a name: its images that were ever tested. "
        "{n}; no interval is drawn.",
        n=_n(ablation),
    )

"""Contrasts of the claims that designed studies decide, each from one study's own splits."""

from collections.abc import Iterable, Sequence

import numpy as np

from qa_core.measures.catalogue import SROCC
from qa_core.modes import PUBLISHED_RATES, freezing_of
from qa_core.records.schema import Param, Setting
from reports.evidence.frames import select
from reports.evidence.studies import Study
from reports.language import phrase
from reports.verdicts.contrasts import GUIDE_MODES, Contrast, Evidence, NotTested, contrast_of
from reports.verdicts.measured import Side, measure, side_of_study

BAND = (2 / 3, 5 / 6)
"""Share of the blocks that the guide's advice covers: from 8 of 12 to 20 of 24."""
GUIDE_BATCH = 32

Sides = list[tuple[float, Side]]


def full_catches_up(evidence: Evidence, target: str) -> Sequence[Contrast]:
    """Slope of residual − partial freeze over log data size."""
    study, metric = _study(evidence, "data_size"), SROCC.logged(target)
    shares = _levels(study, "train_share")
    sides: Sides = []
    for share, weight in zip(shares, _slope_weights(shares), strict=True):
        where = {"varies": "train_share", "train_share": share}
        sides.append((weight, _side(study, metric, mode="residual", **where)))
        rival = _side(study, metric, mode="residual_partial_freeze", **where)
        sides.append((-weight, rival))
    label = "slope of residual − partial freeze per tenfold data"
    return [contrast_of(measure(study.design, sides, metric), label)]


def probe_enough_small_data(evidence: Evidence, target: str) -> Sequence[Contrast]:
    """The linear probe − each rival at the smallest share; all hold where the best rival's does."""
    study, metric = _study(evidence, "data_size"), SROCC.logged(target)
    least = min(_levels(study, "train_share"), default=1.0)
    where = {"varies": "train_share", "train_share": least}
    own = _side(study, metric, mode="linear_probe", **where)
    contrasts: list[Contrast] = []
    for rival in (mode for mode in GUIDE_MODES if mode != "linear_probe"):
        sides = [(1.0, own), (-1.0, _side(study, metric, mode=rival, **where))]
        label = f"linear probe − {rival} at {100 * least:.0f} % of the prompts".replace("_", " ")
        found = measure(study.design, sides, metric)
        contrasts.append(contrast_of(found, label, null=-evidence.ablation.margin))
    return contrasts


def freeze_band_best(evidence: Evidence, target: str) -> Sequence[Contrast]:
    """Mean of the depths in the band − the depth outside it that is best on the pool."""
    study, metric = _study(evidence, "depth"), SROCC.logged(target)
    whole = int(evidence.ablation.params[Param.IMAGE_DEPTH])
    depths = _levels(study, "freeze_layers")
    inside = [depth for depth in depths if in_band(depth, whole)]
    outside = [depth for depth in depths if not in_band(depth, whole)]
    if not inside or not outside:
        raise NotTested(phrase("no depth inside the band, or none outside it"))
    rival = _best_on_pool(study, "freeze_layers", outside)
    sides = [(1 / len(inside), _side(study, metric, freeze_layers=depth)) for depth in inside]
    sides.append((-1.0, _side(study, metric, freeze_layers=rival)))
    words = ", ".join(f"{depth:g}" for depth in inside)
    label = f"mean of depths {words} − depth {rival:g} of {whole}"
    return [contrast_of(measure(study.design, sides, metric), label, in_srocc=True)]


def in_band(depth: float, image_depth: int) -> bool:
    """Whether a depth lies between 2/3 and 5/6 of the blocks."""
    low, high = (share * image_depth for share in BAND)
    return low - 1e-9 <= depth <= high + 1e-9


def scale_suits_data(evidence: Evidence, target: str) -> Sequence[Contrast]:
    """Slope of SROCC over log scale with little data − the same with all."""
    study, metric = _study(evidence, "data_size"), SROCC.logged(target)
    varies = "train_share,residual_scale"
    shares = _levels(study, "train_share", varies=varies)
    if len(shares) < 2:
        raise NotTested(phrase("needs two shares of the data with several scales"))
    scales = _levels(study, "residual_scale", varies=varies)
    weights = _slope_weights(scales)
    sides = [
        (sign * weight, _side(study, metric, varies=varies, train_share=share, residual_scale=at))
        for sign, share in ((1, shares[0]), (-1, shares[-1]))
        for at, weight in zip(scales, weights, strict=True)
    ]
    label = f"slope per tenfold scale, at {100 * shares[0]:.0f} % − at {100 * shares[-1]:.0f} %"
    return [contrast_of(measure(study.design, sides, metric), label, above=False)]


def lr_range_holds_best(evidence: Evidence, target: str) -> Sequence[Contrast]:
    """In each mode: the best rate inside the range − the best outside, both chosen on the pool."""
    study, metric = _study(evidence, "lr"), SROCC.logged(target)
    contrasts: list[Contrast] = []
    for mode in GUIDE_MODES:
        rates = PUBLISHED_RATES[freezing_of(mode)]
        levels = _levels(study, "lr", mode=mode)
        inside = [rate for rate in levels if rates.low <= rate <= rates.high]
        outside = [rate for rate in levels if rate not in inside]
        if not inside or not outside:
            raise NotTested(
                phrase("no rate inside the range of {mode}, or none outside it", mode=mode)
            )
        own, rival = (_best_on_pool(study, "lr", some, mode=mode) for some in (inside, outside))
        sides = [
            (weight, _side(study, metric, mode=mode, lr=rate))
            for weight, rate in ((1.0, own), (-1.0, rival))
        ]
        label = f"{mode}, rate {own:g} − {rival:g}".replace("_", " ")
        contrasts.append(contrast_of(measure(study.design, sides, metric), label, in_srocc=True))
    return contrasts


def batch_size_hardly_matters(evidence: Evidence, target: str) -> Sequence[Contrast]:
    """Each batch size − 32, held against both ends of ± margin (two one-sided tests)."""
    margin = evidence.ablation.margin
    study, metric = _study(evidence, "batch_size"), SROCC.logged(target)
    guide = _side(study, metric, mode="residual", batch_size=GUIDE_BATCH)
    contrasts: list[Contrast] = []
    for size in _levels(study, "batch_size", mode="residual"):
        if size != GUIDE_BATCH:
            own = _side(study, metric, mode="residual", batch_size=size)
            found = measure(study.design, [(1.0, own), (-1.0, guide)], metric)
            label = f"residual, batch {size:g} − {GUIDE_BATCH}"
            for null, above in ((-margin, True), (margin, False)):
                contrasts.append(contrast_of(found, label, null, above))
    return contrasts


def _study(evidence: Evidence, name: str) -> Study:
    if evidence.setting != Setting.GUIDE:
        raise NotTested(phrase("studies are run at the guide’s setting"))
    study = evidence.ablation.studies.get(name)
    if study is None:
        words = name.replace("_", "-")
        if len(select(evidence.ablation.runs, kind="study", study=name)):
            raise NotTested(phrase("the {study} study was begun and not finished", study=words))
        raise NotTested(phrase("needs the {study} study, which was not run", study=words))
    if len(study.cells) < study.n_listed:
        missing = study.n_listed - len(study.cells)
        raise NotTested(
            phrase(
                "{missing} of {listed} cells of the {study} study are missing",
                missing=missing,
                listed=study.n_listed,
                study=name.replace("_", "-"),
            )
        )
    return study


def _levels(study: Study, knob: str, **where: object) -> list[float]:
    """Values of a knob that the study has, ascending."""
    return sorted(set(select(study.cells, **where)[knob].dropna().astype(float)))


def _side(study: Study, metric: str, **where: object) -> Side:
    """A point of the study, which must have this metric."""
    if study.values(metric, **where).empty:
        raise NotTested(
            phrase("{measure} has no value in the {study} study", measure=metric, study=study.name)
        )
    return side_of_study(study, **where)


def _best_on_pool(study: Study, knob: str, levels: Iterable[float], **where: object) -> float:
    """The level whose point scored best on the tuning pool."""
    scores = {level: study.values("pool", **{knob: level}, **where) for level in levels}
    known = {level: float(values.mean()) for level, values in scores.items() if len(values)}
    if not known:
        raise NotTested(phrase("nothing could be chosen: there is no tuning pool"))
    return max(known, key=lambda level: known[level])


def _slope_weights(levels: Sequence[float]) -> list[float]:
    """What the least-squares slope over log10 of the level multiplies the values with."""
    if len(levels) < 2:
        raise NotTested(phrase("needs a split with at least two levels"))
    x = np.log10(np.asarray(levels, dtype=float))
    x -= x.mean()
    return (x / np.sum(x**2)).tolist()

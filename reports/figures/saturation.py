"""How far the bounded correction is used: saturation by epoch, at the end, and |delta| itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qa_core.measures.catalogue import SATURATION
from qa_core.measures.limits import BINDING_SHARE, SATURATED_DELTA
from qa_core.records.schema import Setting
from qa_core.targets import Target
from reports.evidence.ablation import Ablation
from reports.evidence.frames import quantiles_by_epoch, select
from reports.figures import style
from reports.figures.axes import empty, limit_line, score_axes
from reports.figures.layout import mode_legend, new_figure
from reports.figures.page import Drawn, Page
from reports.figures.words import count_runs
from reports.language import say
from reports.statistics import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = np.linspace(0.0, 1.0, 41)


@dataclass(frozen=True)
class SaturationData:
    """Per mode: median and range over runs by epoch (epoch, median, low, high), and test ends."""

    target: str
    by_epoch: dict[str, pd.DataFrame]
    at_end: dict[str, FloatArray]


@dataclass(frozen=True)
class DeltaData:
    """Per mode: share of test samples in each bin of |delta| over [0, 1]."""

    target: str
    shares: dict[str, FloatArray]
    n: dict[str, int]


def compute_saturation(ablation: Ablation, target: str) -> SaturationData:
    """Share of samples with |delta| > .95: validation by epoch, test at the best checkpoint."""
    curves = ablation.curves
    by_epoch: dict[str, pd.DataFrame] = {}
    at_end: dict[str, FloatArray] = {}
    for mode in ablation.mode_names:
        ends = ablation.by_split(mode, SATURATION.logged(target))
        if len(ends):
            at_end[mode] = ends.to_numpy(float)
        own = select(curves, mode=mode, setting=Setting.GUIDE)
        band = quantiles_by_epoch(own, SATURATION.curve(target), 0.0, 1.0)
        if len(band):
            by_epoch[mode] = band
    return SaturationData(target, by_epoch, at_end)


def draw_saturation(data: SaturationData, ax: "Axes") -> None:
    """Median and range by epoch; at the right, the test part's values, one tick a split."""
    if not data.by_epoch and not data.at_end:
        empty(ax, say("undefined: no mode with a bounded correction was run"))
        return
    last = max((int(frame.index[-1]) for frame in data.by_epoch.values()), default=0)
    xs_of_test: list[float] = []
    for slot, mode in enumerate(data.at_end):
        tint = style.colour(mode)
        if mode in data.by_epoch:
            frame = data.by_epoch[mode]
            ax.fill_between(frame.index, frame["low"], frame["high"], color=tint, alpha=0.13, lw=0)
            ax.plot(frame.index, frame["median"], color=tint, marker=style.marker(mode), ms=2.5)
        x = last + (0.06 + 0.045 * slot) * max(last, 5)
        xs_of_test.append(x)
        values = data.at_end[mode]
        ax.scatter([x] * len(values), values, s=10, marker=style.marker(mode), color=tint,
                   alpha=0.6, linewidths=0)  # fmt: skip
    top = max(ax.get_ylim()[1], 1.25 * BINDING_SHARE)
    ax.set_ylim(-0.02 * top, top)
    limit_line(ax, BINDING_SHARE, "10 %")
    score_axes(ax, "y")
    _name_epochs(ax, last, xs_of_test)
    ax.set_title(say(data.target))
    ax.set_xlabel(say("epoch"))


def _name_epochs(ax: "Axes", last: int, xs_of_test: list[float]) -> None:
    """Whole epochs up to the last but for those that "test" would touch, and "test" itself."""
    from matplotlib.ticker import MaxNLocator

    ticks = [int(tick) for tick in MaxNLocator(6, integer=True).tick_values(0, last)]
    names = {float(tick): str(tick) for tick in ticks if 0 <= tick <= last}
    if xs_of_test:
        place = float(np.mean(xs_of_test))
        names = {x: name for x, name in names.items() if place - x > 0.08 * max(last, 5)}
        names[place] = say("test")
    ax.set_xticks(list(names), list(names.values()))


def compute_delta(ablation: Ablation, target: Target) -> DeltaData:
    """Distribution of |delta| over all test images of all splits, guide's setting."""
    table, part = ablation.predictions, target.delta
    shares: dict[str, FloatArray] = {}
    counts: dict[str, int] = {}
    if part in table:
        own = select(table, setting=Setting.GUIDE).dropna(subset=[part])
        for mode in ablation.mode_names:
            values = select(own, mode=mode)[part].abs().to_numpy(float)
            if values.size:
                binned = np.histogram(np.clip(values, 0.0, 1.0), _BINS)[0]
                shares[mode] = binned / values.size
                counts[mode] = int(values.size)
    return DeltaData(target, shares, counts)


def draw_delta(data: DeltaData, ax: "Axes") -> None:
    """Outline histograms of |delta|; right of the dashed line a correction counts as saturated."""
    if not data.shares:
        empty(ax, say("undefined: no mode with a bounded correction was run"))
        return
    for mode, share in data.shares.items():
        ax.stairs(share, _BINS, color=style.colour(mode), lw=1.1)
    ax.axvline(SATURATED_DELTA, color=style.LIMIT, lw=0.8, ls=(0, (4, 2)))
    words = say("saturated above .95")
    ax.text(SATURATED_DELTA - 0.015, 0.97, words, color=style.LIMIT, fontsize=8, ha="right",
            va="top", transform=ax.get_xaxis_transform())  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.15 * max(float(share.max()) for share in data.shares.values()))
    score_axes(ax, "xy")
    ax.set_xlabel(say("|delta|, {target} (1 is the bound)", target=data.target))


def _draw(ablation: Ablation) -> Drawn:
    figure, axes = new_figure(2, len(ablation.targets), 4.4)
    shown: set[str] = set()
    for column, target in enumerate(ablation.targets):
        saturation, delta = compute_saturation(ablation, target), compute_delta(ablation, target)
        draw_saturation(saturation, axes[0, column])
        draw_delta(delta, axes[1, column])
        shown |= saturation.at_end.keys() | delta.shares.keys()
    axes[0, 0].set_ylabel(say("share with |delta| > .95"))
    axes[1, 0].set_ylabel(say("share of test images"))
    mode_legend(figure, [mode for mode in ablation.mode_names if mode in shown])
    return figure, say(
        "Above: share of samples whose correction lies within 5 % of its "
        "bound, on validation by epoch (line: median over runs; band: their range), and at the "
        "right on test at the best checkpoint, one mark a split; dashed: 10 %, above which the "
        "scale may be too small. Below: distribution of |delta| over the test images of all "
        "splits. Undefined for the traditional mode, which has no bound. {n}.",
        n=count_runs(ablation),
    )


PAGE = Page("saturation", "Does the residual’s bound bind?", _draw)

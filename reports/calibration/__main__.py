"""How often the report's tests err: `python -m reports.calibration [--out FILE]`.

`designs`: the decisions of `reports.inference` on whole simulated data sets, in each design that
ships. The rest: the Nadeau-Bengio verdict on re-splits, and the methods that only describe.

Simulates ablations with known truth and counts, for the verdict and for each method that only
describes: how often any of a family's equal contrasts is called different after Holm, how often a
single 95 % interval covers the truth, and how often a true lift is called.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.calibration.designs import DESIGNS, simulate
from reports.calibration.image_level import (
    POOL_SHARE,
    TEST_SHARE,
    image_level_scores,
    split_correlation,
)
from reports.calibration.methods import ALPHA, METHODS, called_by_holm
from reports.calibration.rates import rates_of, worst_of
from reports.calibration.rates import table as design_table
from reports.calibration.split_level import CONTRASTS, paired_differences, split_level_scores
from reports.calibration.worlds import WORLDS

RHOS = (0.0, 0.1, 0.2, 0.29, 0.4)
SPLITS, OTHER_SPLITS = 10, (5, 20)
LIFTS = (0.01, 0.02, 0.03)
SIMULATIONS, IMAGE_LEVEL_SIMULATIONS = 10_000, 2_000
IMAGE_LEVEL_SEED = 99
DESIGN_SIMULATIONS, DESIGN_SEED = 500, 7
WORKERS = 2

CORRECTION = TEST_SHARE / (1 - POOL_SHARE - TEST_SHARE)
"""n_test / (n_eligible - n_test) of these re-splits: .4."""

# The last procedure is the one lifted; its contrasts come first in each pair.
_LIFTED = np.array([first == max(i for i, _ in CONTRASTS) for first, _ in CONTRASTS])

FloatArray = NDArray[np.float64]
Rates = dict[str, Any]


def rates_of_methods(differences: FloatArray) -> dict[str, Rates]:
    """Rates by method over the families (n, 6, J) of differences whose expectation is 0."""
    factor = 1 / differences.shape[-1] + CORRECTION
    found: dict[str, Rates] = {}
    for name, p_of in METHODS.items():
        p = p_of(differences, factor)
        rates: Rates = {
            "false_rate": float(called_by_holm(p).any(axis=1).mean()),
            "coverage": float((p > ALPHA).mean()),
            "power": {},
        }
        for lift in LIFTS:
            lifted = differences + lift * _LIFTED[:, None]
            called = called_by_holm(p_of(lifted, factor))
            ahead = called & (lifted.mean(axis=-1) > 0)
            rates["power"][f"{lift:.2f}"] = float(ahead[:, _LIFTED].mean())
            rates["false_rate_beside_lift"] = float(called[:, ~_LIFTED].any(axis=1).mean())
        found[name] = rates
    return found


def _split_level(cell: tuple[float, int]) -> dict[str, Rates]:
    rho, n_splits = cell
    rng = np.random.default_rng([RHOS.index(rho), n_splits])
    return rates_of_methods(paired_differences(split_level_scores(SIMULATIONS, n_splits, rho, rng)))


def _image_level(n: int) -> tuple[dict[str, Rates], float, float]:
    """Rates by method; the correlation of splits and the SD of differences that came out."""
    differences = paired_differences(image_level_scores(n, IMAGE_LEVEL_SEED))
    spread = float(np.mean(differences.std(axis=0, ddof=1)))
    return rates_of_methods(differences), split_correlation(differences), spread


def _design(cell: tuple[str, str]) -> Rates:
    design, world = cell
    families = simulate(design, WORLDS[world], DESIGN_SIMULATIONS, DESIGN_SEED)
    return rates_of(families, [k for k, lifted in enumerate(_LIFTED) if lifted])


def calibrate_designs() -> Rates:
    """`{design: rates}`: the worst of the worlds, and each world apart."""
    cells = [(design, world) for design in DESIGNS for world in WORLDS]
    with ProcessPoolExecutor(WORKERS) as pool:
        found = dict(zip(cells, pool.map(_design, cells), strict=True))
    return {name: worst_of({world: found[name, world] for world in WORLDS}) for name in DESIGNS}


def calibrate() -> Rates:
    """All cells of the methods on re-splits, as calibration.json holds them."""
    cells = [(rho, n) for n in (SPLITS, *OTHER_SPLITS) for rho in RHOS]
    with ProcessPoolExecutor(WORKERS) as pool:
        of_images = pool.submit(_image_level, IMAGE_LEVEL_SIMULATIONS)
        of_cells = dict(zip(cells, pool.map(_split_level, cells), strict=True))
        image_level, rho, spread = of_images.result()
    result: Rates = {}
    for method in METHODS:
        by_splits = {
            n: _by_rho({r: of_cells[r, n][method] for r in RHOS}) for n in (SPLITS, *OTHER_SPLITS)
        }
        result[method] = by_splits[SPLITS] | {
            "by_splits": {str(n): by_splits[n] for n in OTHER_SPLITS},
            "image_level": _with_error(image_level[method], IMAGE_LEVEL_SIMULATIONS),
        }
    result["image_level"] = {
        "rho": rho,
        "sd_of_differences": spread,
        "simulations": IMAGE_LEVEL_SIMULATIONS,
    }
    return result | {"simulations": SIMULATIONS}


def _by_rho(rates: dict[float, Rates]) -> Rates:
    """`measure: {rho: value}` from the rates of each rho."""
    cells = {f"{rho:.2f}": _with_error(of_rho, SIMULATIONS) for rho, of_rho in rates.items()}
    return {measure: {rho: of[measure] for rho, of in cells.items()} for measure in cells["0.00"]}


def _with_error(rates: Rates, n: int) -> Rates:
    """The rates with the Monte-Carlo standard error of those that are plain numbers.

    Of coverage it is an upper bound: six contrasts of one ablation count as one.
    """
    plain = {name: rate for name, rate in rates.items() if isinstance(rate, float)}
    errors = {name: float(np.sqrt(rate * (1 - rate) / n)) for name, rate in plain.items()}
    return rates | {"monte_carlo_error": errors}


def table(result: Rates) -> str:
    """The rates as a Markdown table, Monte-Carlo standard errors in brackets."""
    lines = [
        "| method | splits | ρ | equals called | beside a lift | intervals cover "
        + "".join(f"| power at {lift:.2f} " for lift in LIFTS) + "|",
        "|---" * (6 + len(LIFTS)) + "|",
    ]  # fmt: skip
    for method in METHODS:
        rates = result[method]
        for n in (SPLITS, *OTHER_SPLITS):
            own = rates if n == SPLITS else rates["by_splits"][str(n)]
            for rho in own["false_rate"]:
                row = {m: own[m][rho] for m in own if isinstance(own[m], dict) and rho in own[m]}
                lines.append(_row(method, str(n), rho, row))
        rho = f"{result['image_level']['rho']:.2f}"
        lines.append(_row(method, f"{SPLITS}, images", rho, rates["image_level"]))
    return "\n".join(lines)


def _row(method: str, splits: str, rho: str, rates: Rates) -> str:
    errors = rates["monte_carlo_error"]
    measures = ("false_rate", "false_rate_beside_lift", "coverage")
    cells = [f"{rates[m]:.3f} ({errors[m]:.3f})" for m in measures]
    cells += [f"{rates['power'][f'{lift:.2f}']:.2f}" for lift in LIFTS]
    return f"| {' | '.join([method.replace('_', ' '), splits, rho, *cells])} |"


def main() -> None:
    """Simulate, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/calibration.json"))
    out = parser.parse_args().out
    designs = calibrate_designs()
    print(design_table(designs), end="\n\n")
    result = calibrate()
    print(table(result))
    result["designs"] = designs
    before = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    learners = {key: before[key] for key in ("learners",) if key in before}  # took half an hour
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result | learners, indent=1) + "\n", encoding="utf-8")
    print(f"Written to {out}.")


if __name__ == "__main__":
    main()

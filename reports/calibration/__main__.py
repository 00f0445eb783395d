"""How often the report's decisions err: `python -m reports.calibration [--out FILE]`.

Holds `reports.inference` against whole simulated data sets whose truth is known, in each design
that ships: how often any of a family's equal contrasts is called different, how often a single
95 % interval covers the truth, how often a true lift is called.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from reports.calibration.designs import CONTRASTS, DESIGNS, simulate
from reports.calibration.rates import Rates, rates_of, table, worst_of, write_rates
from reports.calibration.worlds import WORLDS

SIMULATIONS, SEED = 200, 7
WORKERS = 2

_LAST = max(first for first, _ in CONTRASTS)
LIFTED = [number for number, (first, _) in enumerate(CONTRASTS) if first == _LAST]
"""Contrasts of the last procedure, the one that is lifted to count power."""


def calibrate() -> Rates:
    """`{design: rates}`: the worst of the worlds, and each world apart."""
    cells = [(design, world) for design in DESIGNS for world in WORLDS]
    with ProcessPoolExecutor(WORKERS) as pool:
        found = dict(zip(cells, pool.map(_rates, cells), strict=True))
    return {name: worst_of({world: found[name, world] for world in WORLDS}) for name in DESIGNS}


def _rates(cell: tuple[str, str]) -> Rates:
    design, world = cell
    return rates_of(simulate(design, WORLDS[world], SIMULATIONS, SEED), LIFTED)


def main() -> None:
    """Simulate, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/calibration.json"))
    designs = calibrate()
    write_rates(parser.parse_args().out, {"designs": designs}, table(designs))


if __name__ == "__main__":
    main()

"""Claims of a user's own, from a Python file of a few lines (docs/report.md shows one)."""

import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qa_core.errors import UserError
from reports.claims import CLAIMS, Claim
from reports.verdicts.contrasts import Contrast, Evidence, NotTested


def all_claims(path: Path | None) -> tuple[Claim, ...]:
    """The guide's claims, and those of a user's file.

    Raises:
        UserError: As `read_claims`.
    """
    return CLAIMS if path is None else (*CLAIMS, *read_claims(path))


def read_claims(path: Path) -> tuple[Claim, ...]:
    """The claims in the file's CLAIMS.

    Raises:
        UserError: The file cannot be run, or holds no claims, or one with a name that is taken.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path} with claims.")
    try:
        found = runpy.run_path(str(path)).get("CLAIMS")
    except Exception as error:
        raise UserError(f"{path} cannot be run: {type(error).__name__}: {error}.") from error
    if not isinstance(found, list | tuple) or not all(isinstance(c, Claim) for c in found):
        raise UserError(f"{path} needs a list CLAIMS of reports.claims.Claim.")
    names = [claim.id for claim in (*CLAIMS, *found)]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"{path}: a claim is called {', '.join(sorted(twice))} already.")
    return tuple(_faults_told(claim, path) for claim in found)


def _is_series(values: Any) -> bool:
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.size == 0:
        return False
    return bool(np.isfinite(values).all())


def _faults_told(claim: Claim, path: Path) -> Claim:
    """The claim, whose own faults are told in a sentence."""

    def contrasts(evidence: Evidence, target: str) -> Sequence[Contrast]:
        try:
            found = list(claim.contrasts(evidence, target))
        except NotTested:
            raise
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            raise UserError(f"{path}: the claim {claim.id} fails on {target}: {words}.") from error
        if not all(isinstance(one, Contrast) and _is_series(one.values) for one in found):
            raise UserError(
                f"{path}: the claim {claim.id} on {target} gives something else than contrasts of"
                " one finite value a split."
            )
        return found

    return replace(claim, contrasts=contrasts)

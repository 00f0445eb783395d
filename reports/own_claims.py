"""Claims of a user's own, from a Python file of a few lines (docs/report.md shows one)."""

import runpy
from pathlib import Path

from qa_core.errors import UserError
from reports.claims import CLAIMS, Claim


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
    return tuple(found)

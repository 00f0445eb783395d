"""What a command that ended had read and written, so that the same one knows it has nothing to do.

To open an ablation takes its libraries tens of seconds of a processor. States are compared, never
times: a clock may have been set back.
"""

import hashlib
import importlib.metadata
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_core.records.schema import Kind
from qa_core.system.files import json_of, written_whole
from qa_core.system.unchanged import state_of

if TYPE_CHECKING:
    from experiments.ablation import AblationArgs
    from studies.stores import Stores

NOTE, REPORT_NOTE = ".ended.json", ".report.json"
CHECKOUT = Path(__file__).resolve().parents[2]
CODE = [CHECKOUT / room for room in ("qa_core", "studies", "reports", "experiments")]


def state_asked(args: "AblationArgs") -> str:
    """Digest of all that determines what a command does: flags, inputs, code and packages.

    Taken before anything is read, so that what changes under way is a change.
    """
    flags, own = asdict(args), [args.out, args.cache]
    places = [flag for flag in flags.values() if isinstance(flag, Path) and flag not in own]
    places += [Path(args.backbone), Path(args.pretrained)]
    if args.table is not None:
        places.append(args.table.parent)  # where images are looked for
    packages = sorted(f"{one.name} {one.version}" for one in importlib.metadata.distributions())
    told = repr((type(args).__name__, flags, sys.version, packages, _asked_of_report()))
    inputs = state_of([*places, *CODE], leave_out=[*own, *_compiled()])
    return hashlib.sha256(f"{told} {inputs}".encode(errors="surrogateescape")).hexdigest()


def _compiled() -> list[Path]:
    """Folders that Python writes by itself."""
    return [folder for room in CODE for folder in room.rglob("__pycache__")]


def note_end(args: "AblationArgs", asked: str) -> None:
    """Note that this command did all that was asked for."""
    _write(args.out / NOTE, {"asked": asked, "written": _state_written(args.out)})


def has_ended(args: "AblationArgs", asked: str) -> bool:
    """Whether this command ended before, and nothing that it read or wrote has changed since."""
    return _is_noted(args.out / NOTE, {"asked": asked, "written": _state_written(args.out)})


def _state_written(out: Path) -> str:
    files = (file for file in out.glob("[!.]*") if file.is_file())
    return state_of(sorted(files))


def note_report(stores: "Stores") -> None:
    """Note of what a report was built, and by which code."""
    _write(stores.out / REPORT_NOTE, _state_reported(stores))


def is_report_current(stores: "Stores") -> bool:
    """Whether the report is of what the ablation holds now, by this code, in the language asked."""
    return _is_noted(stores.out / REPORT_NOTE, _state_reported(stores))


def _state_reported(stores: "Stores") -> dict[str, Any]:
    ablation = stores.open_tracker().runs(Kind.ABLATION)[0]
    built = [stores.out / name for name in ("report.pdf", "report.html", "results.json")]
    return {
        "ended": ablation.info.end_time,
        "code": state_of(CODE, leave_out=_compiled()),
        "built": state_of(built),
        "asked": _asked_of_report(),
    }


def _asked_of_report() -> list[str | None]:
    return [os.environ.get(name) for name in ("REPORT_LANG", "REPORT_FONT")]


def _write(note: Path, state: dict[str, Any]) -> None:
    with written_whole(note) as partial:
        partial.write_text(json.dumps(state))


def _is_noted(note: Path, state: dict[str, Any]) -> bool:
    try:
        return json_of(note) == state
    except (OSError, ValueError):
        return False

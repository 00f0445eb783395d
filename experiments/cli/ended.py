"""What a command that ended had read and written, so that the same one knows it has nothing to do.

To open an ablation takes its libraries tens of seconds of a processor.
"""

import hashlib
import importlib.metadata
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from qa_core.system.files import written_whole
from qa_core.system.unchanged import state_of

if TYPE_CHECKING:
    from experiments.ablation import AblationArgs

NOTE = ".ended.json"
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
    settings = [os.environ.get(name) for name in ("REPORT_LANG", "REPORT_FONT")]
    told = repr((type(args).__name__, flags, sys.version, packages, settings))
    inputs = state_of([*places, *CODE], leave_out=[*own, *_compiled()])
    return hashlib.sha256(f"{told} {inputs}".encode(errors="surrogateescape")).hexdigest()


def _compiled() -> list[Path]:
    """Folders that Python writes by itself."""
    return [folder for room in CODE for folder in room.rglob("__pycache__")]


def note_end(args: "AblationArgs", asked: str) -> None:
    """Note that this command did all that was asked for."""
    with written_whole(args.out / NOTE) as note:
        note.write_text(json.dumps({"asked": asked, "written": _state_written(args.out)}))


def has_ended(args: "AblationArgs", asked: str) -> bool:
    """Whether this command ended before, and nothing that it read or wrote has changed since."""
    try:
        note = json.loads((args.out / NOTE).read_text())
        return note == {"asked": asked, "written": _state_written(args.out)}
    except (OSError, ValueError):
        return False


def _state_written(out: Path) -> str:
    files = (file for file in out.iterdir() if file.is_file())
    return state_of(sorted(file for file in files if not file.name.startswith(".")))

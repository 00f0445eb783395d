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

from qa_core.system.files import json_of, written_whole
from qa_core.system.unchanged import state_of

if TYPE_CHECKING:
    from experiments.ablation import AblationArgs

NOTE = ".ended.json"
CHECKOUT = Path(__file__).resolve().parents[2]
CODE = [CHECKOUT / room for room in ("qa_core", "studies", "reports", "experiments")]


def state_asked(args: "AblationArgs") -> str | None:
    """Digest of all that determines what a command does: flags, inputs, code and packages.

    Taken before anything is read, so that what changes under way is a change. None where it cannot
    be told, as where inputs lie in `OUT` itself.
    """
    flags, own = asdict(args), [args.out, args.cache]
    named = (flag for name, flag in flags.items() if name not in ("out", "cache"))
    places = [flag for flag in named if isinstance(flag, Path)]
    places += [Path(args.backbone), Path(args.pretrained)]
    if args.table is not None:
        places.append(args.table.parent)  # where images are looked for
    inputs = state_of([*places, *CODE], leave_out=own)
    if inputs is None:
        return None
    packages = sorted(f"{one.name} {one.version}" for one in importlib.metadata.distributions())
    language = [os.environ.get(name) for name in ("REPORT_LANG", "REPORT_FONT")]
    told = repr((type(args).__name__, flags, sys.version, packages, language, inputs))
    return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()


def note_end(args: "AblationArgs", asked: str | None) -> None:
    """Note that this command did all that was asked for."""
    if asked is not None:
        with written_whole(args.out / NOTE) as note:
            note.write_text(json.dumps({"asked": asked, "written": _state_written(args.out)}))


def has_ended(args: "AblationArgs", asked: str | None) -> bool:
    """Whether this command ended before, and nothing that it read or wrote has changed since."""
    try:
        note = json_of(args.out / NOTE)
    except (OSError, ValueError):
        return False
    return asked is not None and note == {"asked": asked, "written": _state_written(args.out)}


def _state_written(out: Path) -> str | None:
    files = (file for file in out.glob("[!.]*") if file.is_file())
    return state_of(sorted(files))

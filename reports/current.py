"""Whether the report in a folder is of what the ablation holds now, by this code.

What it was built of is noted beside it. Such states are compared, never times: a clock may have
been set back.
"""

import json
import os
from pathlib import Path
from typing import Any

from qa_core.system.files import json_of, written_whole
from qa_core.system.unchanged import state_of

PDF, HTML, RESULTS = "report.pdf", "report.html", "results.json"
NOTE = ".report.json"
_CHECKOUT = Path(__file__).resolve().parents[1]
CODE = [_CHECKOUT / room for room in ("qa_core", "reports")]


def note_built(out: Path, ended: int | None) -> None:
    """Note what a report was built of.

    Args:
        out: Its folder.
        ended: When the ablation ended, as its run says.
    """
    with written_whole(out / NOTE) as note:
        note.write_text(json.dumps(_state(out, ended) | {"language": _language()}))


def is_current(out: Path, ended: int | None) -> bool:
    """Whether this code built what is there when the ablation had ended so, in the language asked.

    Whatever else was asked for, claims of one's own say, is left as it is.
    """
    try:
        note = json_of(out / NOTE)
        language = note.pop("language")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return note == _state(out, ended) and (not any(_language()) or language == _language())


def _state(out: Path, ended: int | None) -> dict[str, Any]:
    built = state_of([out / name for name in (PDF, HTML, RESULTS)])
    return {"ended": ended, "code": state_of(CODE), "built": built}


def _language() -> list[str | None]:
    return [os.environ.get(name) or None for name in ("REPORT_LANG", "REPORT_FONT")]

"""`clip-qa COMMAND`: every command by one name, for an installed wheel as for a checkout."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

COMMANDS = {
    "ablation": "experiments.ablation",
    "study": "experiments.study",
    "plan": "experiments.plan",
    "status": "experiments.status",
    "report": "reports.build",
    "baseline": "experiments.baseline",
    "predict": "experiments.predict",
    "serve": "experiments.serve",
    "export": "experiments.export",
    "ui": "experiments.ui",
    "check-data": "experiments.check_data",
    "floor": "experiments.floor",
}
"""The module of each command."""


def main() -> None:
    """Run the command that the first word names, with the flags behind it."""
    name, *flags = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return
    if name not in COMMANDS:
        print(f"error: There is no command {name!r}.\n\n{_help()}", file=sys.stderr)
        sys.exit(2)
    from qa_core import command_line

    sys.argv = [f"clip-qa {name}", *flags]
    module = importlib.import_module(COMMANDS[name])
    command_line.run(module.main, getattr(module, "INTERRUPTED", ""))


def _help() -> str:
    lines = [f"  {name:12}{_first_line(module)}" for name, module in COMMANDS.items()]
    return "\n".join(["usage: clip-qa COMMAND --help", "", *lines])


def _first_line(module: str) -> str:
    """The first line of a module's docstring; the module is read, not run, which is faster."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return (text or "").splitlines()[0]


if __name__ == "__main__":
    main()

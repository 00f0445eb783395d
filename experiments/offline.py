"""A .venv from a folder of wheels, without a package index; imports the standard library alone."""

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from qa_core.errors import UserError, in_words

ROOT = Path(__file__).resolve().parents[1]
PINS = "constraints.txt"
"""In a folder of wheels: a line that says for which machine, then the version of each package."""


def main() -> None:
    """Make the .venv of this checkout from --wheels."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--system_torch", action="store_true")
    args = parser.parse_args()
    try:
        set_up(args.wheels, args.system_torch)
    except (UserError, OSError) as error:
        print(f"error: {in_words(error)}", file=sys.stderr)
        sys.exit(2)


def set_up(wheels: Path, system_torch: bool) -> None:
    """Make .venv anew, seeing this Python's packages where torch is to come from there.

    Raises:
        UserError: The folder does not fit this Python, or something is missing in both.
    """
    pins = read_pins(wheels)
    check_needs(requirements(), pins, wheels, system_torch)
    environment = ROOT / ".venv"
    if Path(sys.prefix) == environment:
        raise UserError(f"PYTHON={sys.executable} is of the .venv to be made: name one outside it.")
    has_pip = find_spec("ensurepip") is not None  # else the machine's own installs
    venv.EnvBuilder(system_torch, clear=True, symlinks=True, with_pip=has_pip).create(environment)
    python = str(environment / "bin" / "python")
    if system_torch:
        _show_packages(python, site_folders(sys.path))
    install = ["install", "-qq", "--disable-pip-version-check", "--no-index", "--no-warn-conflicts"]
    install += ["--find-links", str(wheels), "--constraint", str(wheels / PINS)]
    command = [python, "-m", "pip", *install, "--editable", str(ROOT)]
    if subprocess.run(command, env=_plain_environment(), check=False).returncode:
        raise UserError(
            f"pip could not install from {wheels}. What it says above is neither there nor on"
            " this machine: collect wheels again, with fewer packages in WITHOUT=."
        )


def this_machine() -> str:
    """This Python and machine, as wheels name them: cp312-linux_x86_64."""
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    return f"cp{sys.version_info.major}{sys.version_info.minor}-{platform}"


def requirements() -> list[str]:
    """What pyproject.toml requires, as torch>=2.8."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]


def plain_name(name: str) -> str:
    """A package's name as constraints.txt spells it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def pinned_names(lines: Iterable[str]) -> set[str]:
    """Names in lines of name==version."""
    return {plain_name(line.partition("==")[0]) for line in lines if "==" in line}


def read_pins(wheels: Path) -> set[str]:
    """Names of the packages in a folder of wheels.

    Raises:
        UserError: It is no such folder, or for another Python or machine.
    """
    if not (wheels / PINS).is_file():
        raise UserError(f"{wheels} is no folder of make wheelhouse: there is no {PINS} in it.")
    first, *lines = (wheels / PINS).read_text("utf-8").splitlines()
    machine = first.removeprefix("# ")
    if machine != this_machine():
        raise UserError(
            f"{wheels} is for {machine}, and {sys.executable} is {this_machine()}: name another"
            f" Python (PYTHON=), or collect wheels with FOR={this_machine()}."
        )
    return pinned_names(lines)


def check_needs(needs: list[str], pins: set[str], wheels: Path, of_machine: bool) -> None:
    """Compare what has no wheel with what this Python has.

    Raises:
        UserError: A package is missing here, or too old.
    """
    for need in needs:
        name, least = re.split(r">=|,|$", need)[:2]
        if plain_name(name) in pins:
            continue
        if not of_machine:
            raise UserError(
                f"{wheels} has no wheel of {name}: add SYSTEM_TORCH=1 if {sys.executable} has it."
            )
        version = _version_here(name)
        if version is None:
            raise UserError(f"{sys.executable} has no {name}, nor has {wheels} a wheel of it.")
        if _numbers(version) < _numbers(least):
            raise UserError(f"{sys.executable} has {name} {version}; {least} or newer is needed.")


def _version_here(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    """2.8 of 2.8.0+cu128, for comparisons."""
    return [int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:2]]


def site_folders(search_path: list[str]) -> list[str]:
    """Where a Python has its packages, also if it is an environment itself or has PYTHONPATH."""
    return [path for path in search_path if path and any(Path(path).glob("*.dist-info"))]


def _show_packages(python: str, folders: list[str]) -> None:
    """Let a Python see these folders, behind its own."""
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    (Path(own) / "system.pth").write_text("".join(f"{folder}\n" for folder in folders), "utf-8")


def _plain_environment() -> dict[str, str]:
    """Without pip's settings, which name indexes or pins of others, and without PYTHONPATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    kept.pop("PYTHONPATH", None)
    return kept | {"PIP_CONFIG_FILE": os.devnull}


if __name__ == "__main__":
    main()

"""The wheels that a machine without a package index lacks, collected into a folder."""

import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from experiments.offline import PINS, ROOT, pinned_names, plain_name, this_machine
from qa_core import command_line as cli
from qa_core.errors import UserError

GLIBC = 28
"""Wheels may ask for glibc 2.28, as those of torch do."""
N_LARGEST = 8


@dataclass(frozen=True)
class WheelhouseArgs:
    """Collect the wheels that a machine without a package index lacks, to run this project."""

    machine: str = this_machine()
    """Its Python and processor, as in cp312-linux_x86_64."""
    without: str = ""
    """Packages that it has, separated by commas; what only they need is left out as well."""
    wheels: Path = Path("wheels")
    """Folder to make."""
    debug: bool = False
    """Show the traceback of an error as well."""


def main() -> None:
    """Parse the command line and collect."""
    collect(cli.parse(WheelhouseArgs, str(WheelhouseArgs.__doc__)))


def collect(args: WheelhouseArgs) -> None:
    """Fill the folder, or leave nothing; print how many wheels and MB.

    Raises:
        UserError: The folder is in use, a name is unknown, or wheels cannot be had.
    """
    python, processor = parse_machine(args.machine)
    without = parse_without(args.without)
    if args.wheels.exists():
        raise UserError(f"{args.wheels} is there already: remove it, or name another (WHEELS=).")
    pins = _resolve(python, processor, without)
    args.wheels.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.wheels.parent) as folder:
        made = Path(folder) / "wheels"
        made.mkdir()
        (made / PINS).write_text(f"# {args.machine}\n{pins}", "utf-8")
        _download(made, pip_flags(python, processor))
        made.rename(args.wheels)
    print(summary(args.wheels))


def parse_machine(machine: str) -> tuple[str, str]:
    """cp312-linux_x86_64 as 3.12 and x86_64.

    Raises:
        UserError: It has another form, or nothing of this project runs there.
    """
    found = re.fullmatch(r"cp3(1[1-9]|[2-9]\d)-linux_(x86_64|aarch64)", machine)
    if found is None:
        raise UserError(
            f"{machine!r} is not of the form cp312-linux_x86_64: Python 3.11 or newer on Linux,"
            " x86_64 or aarch64."
        )
    return f"3.{found[1]}", found[2]


def parse_without(names: str) -> list[str]:
    """Packages that the machine has.

    Raises:
        UserError: constraints.txt, which has all that could be needed, has no such package.
    """
    without = [plain_name(name) for name in names.split(",") if name.strip()]
    known = pinned_names((ROOT / "constraints.txt").read_text("utf-8").splitlines())
    for name in without:
        if name not in known:
            raise UserError(f"WITHOUT= names {name}, which is no package of constraints.txt.")
    return without


def pip_flags(python: str, processor: str) -> list[str]:
    """What pip needs to choose wheels for another machine."""
    tags = [f"manylinux_2_{minor}" for minor in range(GLIBC, 4, -1)] + ["manylinux2014", "linux"]
    platforms = [f"--platform={tag}_{processor}" for tag in tags]
    abi = f"cp{python.replace('.', '')}"
    return [*platforms, f"--python-version={python}", "--implementation=cp", f"--abi={abi}"]


def _resolve(python: str, processor: str, without: list[str]) -> str:
    """Lines of name==version; what is left out takes with it what only it needs."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
    command += ["--no-annotate", "--only-binary=:all:", "--excludes=-", "--constraints"]
    command += ["constraints.txt", f"--python-version={python}"]
    command += [f"--python-platform={processor}-manylinux_2_{GLIBC}", "pyproject.toml"]
    done = subprocess.run(
        command, input="\n".join(without), stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        raise UserError("No such set of wheels can be had; uv says above why.")
    return done.stdout


def _download(folder: Path, flags: list[str]) -> None:
    """Wheels of the pinned versions, and what builds this project itself there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", *flags, "--dest", str(folder)]
    command += ["--requirement", str(folder / PINS), *project["build-system"]["requires"]]
    if subprocess.run(command, check=False).returncode:
        raise UserError("Not all wheels could be had; pip says above which.")


def summary(wheels: Path) -> str:
    """How many wheels and MB a folder has, and which are the largest."""
    sizes = {wheel.name.split("-")[0]: wheel.stat().st_size / 1e6 for wheel in wheels.glob("*.whl")}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:N_LARGEST]
    told = ", ".join(f"{name} {sizes[name]:.0f}" for name in largest)
    return f"{wheels}: {len(sizes)} wheels, {sum(sizes.values()):.1f} MB, of which {told}"


if __name__ == "__main__":
    cli.run(main)

"""Wheels for a machine without an index: how they are asked for, and a .venv from them refused."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from experiments import offline, wheelhouse
from experiments.wheelhouse import WheelhouseArgs
from qa_core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
MakesWheels = Callable[..., Path]


@pytest.fixture
def wheels(tmp_path: Path) -> MakesWheels:
    """Makes a folder of wheels with these pins, for this machine unless another is named."""

    def make(*pins: str, machine: str = offline.this_machine()) -> Path:
        (tmp_path / offline.PINS).write_text("\n".join([f"# {machine}", *pins]))
        return tmp_path

    return make


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What this Python has, to be filled by a test."""
    here: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in here:
            raise metadata.PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(metadata, "version", version)
    return here


def test_a_machine_becomes_the_words_of_pip() -> None:
    flags = wheelhouse.pip_flags(*wheelhouse.parse_machine("cp312-linux_x86_64"))
    assert flags[0] == "--platform=manylinux_2_28_x86_64"
    assert {f"--platform={tag}_x86_64" for tag in ("manylinux2014", "manylinux_2_17", "linux")} < {
        *flags
    }
    assert flags[-3:] == ["--python-version=3.12", "--implementation=cp", "--abi=cp312"]
    assert wheelhouse.parse_machine("cp311-linux_aarch64") == ("3.11", "aarch64")


def test_the_present_machine_is_one_of_them() -> None:
    python, _ = wheelhouse.parse_machine(offline.this_machine())
    assert python == f"3.{sys.version_info.minor}"


@pytest.mark.parametrize(
    "machine", ["cp312", "cp310-linux_x86_64", "312-linux_x86_64", "cp312-win_amd64", "", "3.12"]
)
def test_a_machine_in_another_form_is_refused(machine: str) -> None:
    with pytest.raises(UserError, match="not of the form cp312-linux_x86_64"):
        wheelhouse.parse_machine(machine)


def test_packages_left_out_are_known_by_any_spelling() -> None:
    assert wheelhouse.parse_without("") == []
    assert wheelhouse.parse_without("torch, Open_CLIP.torch,") == ["torch", "open-clip-torch"]
    with pytest.raises(UserError, match=r"WITHOUT= names troch, which is no package"):
        wheelhouse.parse_without("torch,troch")


def test_what_is_required_is_pinned_or_left_out() -> None:
    pinned = offline.pinned_names((ROOT / "constraints.txt").read_text().splitlines())
    names = {offline.plain_name(re.split("[<>=]", need)[0]) for need in offline.requirements()}
    assert {"torch", "open-clip-torch"} < names <= pinned


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already"):
        wheelhouse.collect(WheelhouseArgs(wheels=tmp_path))


def test_a_folder_is_made_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(folder: Path, flags: list[str]) -> None:
        (folder / "numpy-2.4.6-cp312-cp312-manylinux_2_28_x86_64.whl").write_bytes(bytes(1_600_000))
        if not flags:
            raise UserError("cut off")
        (folder / "rich-15.0.0-py3-none-any.whl").write_bytes(bytes(400_000))

    monkeypatch.setattr(wheelhouse, "_resolve", lambda *_: "numpy==2.4.6\nrich==15.0.0\n")
    monkeypatch.setattr(wheelhouse, "_download", lambda folder, _: download(folder, []))
    args = WheelhouseArgs("cp312-linux_x86_64", wheels=tmp_path / "a" / "wheels")
    with pytest.raises(UserError, match="cut off"):
        wheelhouse.collect(args)
    assert list((tmp_path / "a").iterdir()) == []
    monkeypatch.setattr(wheelhouse, "_download", download)
    wheelhouse.collect(args)
    assert capsys.readouterr().out.endswith("wheels: 2 wheels, 2.0 MB, of which numpy 2, rich 0\n")
    pins = (args.wheels / offline.PINS).read_text()
    assert pins == "# cp312-linux_x86_64\nnumpy==2.4.6\nrich==15.0.0\n"


def test_a_folder_of_something_else_is_refused(tmp_path: Path, wheels: MakesWheels) -> None:
    with pytest.raises(UserError, match="is no folder of make wheelhouse"):
        offline.read_pins(tmp_path)
    with pytest.raises(UserError, match=r"is for cp399-linux_x86_64, and .* collect wheels with"):
        offline.read_pins(wheels(machine="cp399-linux_x86_64"))
    assert offline.read_pins(wheels("rich==15.0.0")) == {"rich"}


def test_what_has_no_wheel_is_asked_of_the_machine(versions: dict[str, str]) -> None:
    def check(of_machine: bool = True) -> None:
        offline.check_needs(["torch>=2.8", "rich>=14,<20"], {"rich"}, Path("wheels"), of_machine)

    with pytest.raises(UserError, match="has no torch, nor has wheels a wheel of it"):
        check()
    versions["torch"] = "2.7.1+cu128"
    with pytest.raises(UserError, match=r"has torch 2\.7\.1\+cu128; 2\.8 or newer is needed"):
        check()
    for version in ("2.8.0+cu128", "2.10.0a0+git", "3.0"):
        versions["torch"] = version
        check()
    with pytest.raises(UserError, match="wheels has no wheel of torch: add SYSTEM_TORCH=1"):
        check(of_machine=False)


def test_packages_are_seen_where_a_python_has_them(tmp_path: Path) -> None:
    library, environment, module = (tmp_path / name for name in ("lib", "site-packages", "torch"))
    library.mkdir()
    for folder in (environment, module):
        (folder / "torch-2.9.0.dist-info").mkdir(parents=True)
    path = ["", str(module), str(library), str(environment), str(tmp_path / "nowhere")]
    assert offline.site_folders(path) == [str(module), str(environment)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make setup` reads before it makes a .venv."""
    folder = tmp_path / "checkout"
    for name in ("Makefile", "pyproject.toml", "experiments/__init__.py", "experiments/offline.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "qa_core").mkdir()
    for name in ("__init__.py", "errors.py"):
        shutil.copy(ROOT / "qa_core" / name, folder / "qa_core")
    (folder / "constraints.txt").touch()
    return folder


def refused(checkout: Path, *variables: str, **environment: str) -> str:
    """What `make setup` says with these variables; it ends with exit code 2 and no .venv."""
    done = subprocess.run(
        ["make", "-s", "setup", *variables],
        cwd=checkout,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()
    return done.stderr


def test_make_refuses_a_system_torch_that_is_missing_or_old(
    checkout: Path, wheels: MakesWheels
) -> None:
    pins = [f"{re.split('[<>=]', need)[0]}==1" for need in offline.requirements()]
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    given = [f"PYTHON={python}", "SYSTEM_TORCH=1", f"WHEELS={wheels(*pins[1:])}"]
    old = checkout / "site-packages" / "torch-2.7.1.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.7.1\n")
    told = refused(checkout, *given, PYTHONPATH=str(old.parent))
    assert f"error: {python} has torch 2.7.1; 2.8 or newer is needed.\n" in told
    assert "add SYSTEM_TORCH=1" in refused(checkout, given[0], given[2])


def test_make_refuses_another_python_and_a_torch_without_wheels(checkout: Path) -> None:
    assert "SYSTEM_TORCH=1 goes with WHEELS=folder." in refused(checkout, "SYSTEM_TORCH=1")
    told = refused(checkout, "WHEELS=x", "PYTHON=no-python")
    assert "PYTHON=no-python is no Python 3.11 or newer" in told


def test_the_folder_to_be_made_is_nothing_to_set_up_from() -> None:
    for target, module in {"wheelhouse": "wheelhouse", "plan": "offline"}.items():
        command = ["make", "-n", "-W", "pyproject.toml", target, "WHEELS=x"]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert f"experiments.{module}" in told
        assert ("pip install" in told) == (target == "wheelhouse")

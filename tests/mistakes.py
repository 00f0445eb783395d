"""How each mistake of docs/mistakes.md is made: the words of a command, in a small world."""

import contextlib
import os
import shutil
import socket
import sqlite3
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

from experiments import offline
from qa_core.model.checkpoint import FORMAT

MISTAKES: dict[str, "Callable[[World], list[str]]"] = {}


@dataclass
class World:
    """Where mistakes are made: a table, its images, a checkpoint, and a folder to write to.

    Attributes:
        folder: Empty folder of the test, and its working directory.
        table: CSV of the small table, its images beside it.
        checkpoint: A whole checkpoint of narrow-3.
        out: Folder with an MLflow store that all runs share.
        patch: Takes back what a mistake changes in this process.
        on_exit: What ends with the mistake.
    """

    folder: Path
    table: Path
    checkpoint: Path
    out: Path
    patch: pytest.MonkeyPatch
    on_exit: contextlib.ExitStack

    def rows(self, **first: object) -> pd.DataFrame:
        """The table, some cells of its first row changed."""
        frame = pd.read_csv(self.table, keep_default_na=False).astype(object)
        for column, value in first.items():
            frame.loc[0, column] = value
        return frame

    def write(self, frame: pd.DataFrame, **how: Any) -> str:
        """The frame as mine.csv."""
        frame.to_csv("mine.csv", index=False, **how)
        return "mine.csv"

    def train(self, *flags: str, table: str | None = None, images: Path | None = None) -> list[str]:
        """Words that train an epoch on a table."""
        words = ["experiments.baseline", "--backbone", "narrow-3", "--pretrained", "none"]
        words += ["--threads", "1", "--epochs", "1", "--output_dir", str(self.out)]
        words += ["--cache_dir", "cache", "--data_csv_path", table or str(self.table)]
        return [*words, "--image_base_dir", str(images or self.table.parent), *flags]

    def train_on(self, frame: pd.DataFrame, *flags: str, **how: Any) -> list[str]:
        """Words that train on this frame."""
        return self.train(*flags, table=self.write(frame, **how))

    def train_on_image(self, content: bytes) -> list[str]:
        """Words that train on the table, this image its first."""
        pictures = self.copied_images()
        (pictures / "broken.png").write_bytes(content)
        return self.train(table=self.write(self.rows(name="broken.png")), images=pictures)

    def copied_images(self) -> Path:
        """A folder of our own with the images."""
        pictures = self.folder / "pictures"
        shutil.copytree(self.table.parent, pictures)
        return pictures

    def predict(
        self, *flags: str, checkpoint: str | None = None, prompts: str | None = "a cat\n"
    ) -> list[str]:
        """Words that score the images of a folder with one."""
        pictures = Path("one")
        pictures.mkdir(exist_ok=True)
        shutil.copy(self.table.parent / "p00_0.png", pictures)
        words = ["experiments.predict", "--checkpoint", checkpoint or str(self.checkpoint)]
        if "--images" not in flags:
            words += ["--images", str(pictures)]
        if prompts is not None:
            Path("prompts.txt").write_text(prompts)
            words += ["--prompts", "prompts.txt"]
        return [*words, *flags]

    def changed_checkpoint(self, **changes: object) -> list[str]:
        """Words that score with a checkpoint in which some parts are others, or None for gone."""
        content = torch.load(self.checkpoint, weights_only=True) | changes
        torch.save({k: v for k, v in content.items() if v is not None}, "x.pt")
        return self.predict(checkpoint="x.pt")

    def check(self, frame: pd.DataFrame) -> list[str]:
        """Words that check a table on our own images."""
        table, images = self.write(frame), self.folder / "pictures"
        if not images.exists():
            self.copied_images()
        return ["experiments.check_data", "--table", table, "--images", str(images)]


def makes(mistake: str) -> Callable[[Callable[[World], list[str]]], None]:
    """Register how a mistake is made."""

    def register(made: Callable[[World], list[str]]) -> None:
        assert mistake not in MISTAKES
        MISTAKES[mistake] = made

    return register


def trains_with(mistake: str, *flags: str) -> None:
    """Register a mistake that is a flag of a training run."""
    MISTAKES[mistake] = lambda world: world.train(*flags)


def commands(mistake: str, *words: str) -> None:
    """Register a mistake that is a command as it stands."""
    MISTAKES[mistake] = lambda world: [*words]


trains_with("a misspelt flag", "--freez_clip")
trains_with("a word without a flag", "stray")
trains_with("a number that is none", "--epochs", "many")
trains_with("an unknown choice", "--scheduler", "slow")
trains_with("frozen wholly and in part", "--freeze_clip", "--partial_freeze")
trains_with("a depth without its flag", "--freeze_layers", "2")
trains_with("a depth beyond the backbone", "--partial_freeze", "--freeze_layers", "18")
trains_with("a rate for heads beside a frozen CLIP", "--freeze_clip", "--lr_head", "1e-3")
trains_with("a negative scale", "--residual_scale_q", "-0.1")
trains_with("an absurd scale", "--residual_scale_c", "7")
trains_with("a negative learning rate", "--lr", "-1")
trains_with("an absurd learning rate", "--lr", "10")
trains_with("a setting that is NaN", "--dropout", "nan")
trains_with("a batch of one", "--batch_size", "1")
trains_with("a range without end", "--mos_range_q", "1", "inf")
commands("a range in another form", "experiments.ablation", "--range_q", "5")
trains_with("a range said twice", "--mos_range_q", "1", "5", "--label_scale_q", "5")
trains_with("a split that is not there", "--split", "99")
trains_with("a device that is not there", "--device", "tpu")
commands("a table named twice", "experiments.ablation", "--data", ".", "--table", "x.csv")
commands(
    "a data set that is not known", "experiments.floor", "--data", "agiqa4k", "--data_root", "."
)
commands("a data set without its folder", "experiments.floor", "--data", "agiqa3k")
commands("a negative number of workers", "experiments.ablation", "--workers", "-1")
commands("half of a forecast on paper", "experiments.plan", "--cards", "8")
commands("a study without name", "make", "study")
commands("wheels for no machine", "experiments.wheelhouse", "--machine", "cp312")
commands("wheels without an unknown package", "experiments.wheelhouse", "--without", "troch")
commands("a setup from no wheels", "experiments.offline", "--wheels", "nowhere")
commands("a study of no split", "experiments.study", "--study", "depth", "--splits", "0")


@makes("a torch of the machine that is too old")
def _(world: World) -> list[str]:
    world.patch.setattr(offline, "ROOT", world.folder)
    world.patch.setattr(offline, "requirements", lambda: ["torch>=2.8"])
    world.patch.setattr(metadata, "version", lambda name: "2.7.1")
    Path("constraints.txt").write_text(f"# {offline.this_machine()}\n")
    return ["experiments.offline", "--wheels", ".", "--system_torch"]


MISTAKES["a table that is not there"] = lambda w: w.train(table="nowhere.csv")
MISTAKES["a table without rows"] = lambda w: w.train_on(w.rows().head(0))
MISTAKES["a folder as table"] = lambda w: w.train(table=str(w.table.parent))
MISTAKES["a column that is missing"] = lambda w: w.train_on(w.rows().drop(columns="prompt"))
MISTAKES["a table without scores"] = lambda w: w.train_on(
    w.rows().drop(columns=["mos_quality", "mos_align"])
)
MISTAKES["an opinion on no usual scale"] = lambda w: w.train_on(w.rows(mos_quality=1000))
MISTAKES["opinions that are all equal"] = lambda w: w.train_on(w.rows().assign(mos_quality=3))
MISTAKES["fewer prompts than splits need"] = lambda w: w.train_on(w.rows().head(8))
MISTAKES["a row twice"] = lambda w: w.train_on(pd.concat([w.rows(), w.rows().head(1)]))
MISTAKES["an empty prompt"] = lambda w: w.train_on(w.rows(prompt=" "))
MISTAKES["a table in another encoding"] = lambda w: w.train_on(
    w.rows(prompt="café"), encoding="latin-1"
)
MISTAKES["a published protocol without consistency"] = lambda w: w.train_on(
    w.rows().drop(columns="mos_align"), "--protocol", "published"
)
trains_with("an official split without parts", "--protocol", "official")
MISTAKES["a missing folder of images"] = lambda w: w.train(images=Path("nowhere"))
MISTAKES["an image that is not there"] = lambda w: w.train_on(w.rows(name="absent.png"))
MISTAKES["a name that climbs out"] = lambda w: w.train_on(w.rows(name="../p00_0.png"))
MISTAKES["an absolute name"] = lambda w: w.train_on(w.rows(name="/etc/hostname"))
MISTAKES["a name longer than names can be"] = lambda w: w.train_on(w.rows(name="x" * 5000))
MISTAKES["an image of no bytes"] = lambda w: w.train_on_image(b"")
MISTAKES["a text called image"] = lambda w: w.train_on_image(b"hello")


@makes("an empty file as table")
def _(world: World) -> list[str]:
    Path("mine.csv").touch()
    return world.train(table="mine.csv")


def _opinion(value: object) -> Callable[[World], list[str]]:
    def make(world: World) -> list[str]:
        frame = world.rows()
        frame.loc[3, "mos_quality"] = value
        return world.train_on(frame, "--mos_range_q", "1", "5")

    return make


MISTAKES["a formula's error"] = _opinion("#N/A")
MISTAKES["a number that became a date"] = _opinion("03-May")
MISTAKES["a comma that may be thousands"] = _opinion("1,512")
MISTAKES["opinions outside the range"] = lambda w: w.train("--mos_range_q", "8", "9")
MISTAKES["opinions on two scales"] = lambda w: w.train_on(
    w.rows().assign(mos_quality=range(40, 64))
)
MISTAKES["a prompt under another name"] = lambda w: w.train_on(
    w.rows().rename(columns={"prompt": "caption"})
)
MISTAKES["a column that is not there"] = lambda w: w.train_on(
    w.rows().rename(columns={"name": "image"}), "--columns", "name=imag"
)
trains_with("a column that nobody knows", "--columns", "nam=image")
MISTAKES["raters of no score"] = lambda w: w.train_on(
    w.rows()[["name", "prompt"]].assign(r1=1, r2=2, r3=3)
)
MISTAKES["an opinion in words"] = _opinion("good")
MISTAKES["an opinion out of range"] = _opinion(7)


@makes("opinions equal in training")
def _(world: World) -> list[str]:
    frame = world.rows().assign(mos_quality=3.0, part="train")
    frame.loc[20:, ["part", "mos_quality"]] = ["test", 4.0]
    return world.train_on(frame, "--protocol", "official")


@makes("a quote that is not closed")
def _(world: World) -> list[str]:
    Path("mine.csv").write_text('name,prompt,mos_quality\n"a.png,x,1\n')
    return world.train(table="mine.csv")


@makes("more cells than columns")
def _(world: World) -> list[str]:
    lines = world.table.read_text().splitlines()
    Path("mine.csv").write_text("\n".join([*lines[:2], lines[2] + ",1"]))
    return world.train(table="mine.csv")


@makes("a spreadsheet that is none")
def _(world: World) -> list[str]:
    Path("mine.xlsx").write_bytes(b"PK\3\4 and so on")
    return world.train(table="mine.xlsx")


@makes("a link that leads out")
def _(world: World) -> list[str]:
    pictures = world.copied_images()
    (pictures / "link.png").symlink_to(world.table.parent / "p00_0.png")
    return world.train(table=world.write(world.rows(name="link.png")), images=pictures)


@makes("an image cut off")
def _(world: World) -> list[str]:
    whole = (world.table.parent / "p00_0.png").read_bytes()
    return world.train_on_image(whole[: len(whole) // 2])


@makes("a decompression bomb")
def _(world: World) -> list[str]:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return world.train_on_image(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b""))


trains_with("an unknown backbone", "--backbone", "ViT-B-33")
trains_with("unknown weights", "--backbone", "ViT-B-32", "--pretrained", "laion")
MISTAKES["a checkpoint that is not there"] = lambda w: w.predict(checkpoint="nowhere.pt")
MISTAKES["a checkpoint of another backbone"] = lambda w: w.changed_checkpoint(
    whole=False, backbone_sha256="0" * 64
)
MISTAKES["a checkpoint that lacks a part"] = lambda w: w.changed_checkpoint(state=None)
MISTAKES["a checkpoint of another program"] = lambda w: w.changed_checkpoint(format=None)


@makes("weights without network")
def _(world: World) -> list[str]:
    world.patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    world.patch.setenv("HF_HUB_CACHE", str(world.folder))
    return world.train("--backbone", "ViT-B-32", "--pretrained", "laion2b_s34b_b79k")


class Evil:
    """Touches a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """What unpickling would call."""
        return (Path.touch, (Path("touched"),))


@makes("weights that are code")
def _(world: World) -> list[str]:
    torch.save({"state_dict": Evil()}, "evil.pt")
    return world.train("--pretrained", "evil.pt")


@makes("a checkpoint that is code")
def _(world: World) -> list[str]:
    torch.save({"format": FORMAT, "state": Evil()}, "evil.pt")
    return world.predict(checkpoint="evil.pt")


def _damaged(change: Callable[[bytearray], bytes]) -> Callable[[World], list[str]]:
    def make(world: World) -> list[str]:
        Path("x.pt").write_bytes(change(bytearray(world.checkpoint.read_bytes())))
        return world.predict(checkpoint="x.pt")

    return make


def _flip(raw: bytearray) -> bytes:
    raw[len(raw) // 2] ^= 1
    return bytes(raw)


MISTAKES["a truncated checkpoint"] = _damaged(lambda raw: bytes(raw[: len(raw) // 2]))
MISTAKES["a checkpoint with a flipped bit"] = _damaged(_flip)


@makes("resuming another run")
def _(world: World) -> list[str]:
    torch.save({"format": FORMAT, "identity": "another"}, "mine_last.pt")
    return world.train("--resume_from", "mine_last.pt")


@makes("scoring with a last state")
def _(world: World) -> list[str]:
    torch.save({"format": FORMAT, "identity": "any", "optimizer": {}}, "mine_last.pt")
    return world.predict(checkpoint="mine_last.pt")


MISTAKES["no image in the folder"] = lambda w: w.predict("--images", str(w.out))
MISTAKES["a folder without prompts"] = lambda w: w.predict(prompts=None)
MISTAKES["more prompts than images"] = lambda w: w.predict(prompts="a\nb\n")
MISTAKES["a sheet of no images"] = lambda w: w.predict("--sheet_images", "0")
MISTAKES["a full disk"] = lambda w: w.predict("--out", "/dev/full")
trains_with("a folder that may not be written", "--output_dir", "/sys/forbidden")
MISTAKES["a file where a folder should be"] = lambda w: w.train("--output_dir", str(w.table))


@makes("prompts in another encoding")
def _(world: World) -> list[str]:
    words = world.predict()
    Path("prompts.txt").write_bytes("café".encode("latin-1"))
    return words


@makes("an image without prompt")
def _(world: World) -> list[str]:
    Path("prompts.csv").write_text("name,prompt\nother.png,a cat\n")
    return world.predict("--prompts", "prompts.csv", prompts=None)


def _without_room_for(world: World, rows: int) -> None:
    from torch.nn.modules.module import register_module_forward_hook

    from qa_core.model.quality_model import QualityModel

    def watch(module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, QualityModel) and module.training and len(output.q) > rows:
            raise torch.OutOfMemoryError("so to speak")

    world.on_exit.callback(register_module_forward_hook(watch).remove)


@makes("not even one image fits the card")
def _(world: World) -> list[str]:
    _without_room_for(world, 0)
    return world.train()


@makes("a batch too large for the card")
def _(world: World) -> list[str]:
    _without_room_for(world, 4)
    return world.train("--batch_size", "8")


@makes("a loss that is NaN")
def _(world: World) -> list[str]:
    from qa_core.training import trainer

    calls, real = [0], trainer.total_loss
    nothing = torch.tensor(float("nan"), requires_grad=True)

    def total_loss(*arguments: Any) -> Any:
        calls[0] += 1
        return real(*arguments) if calls[0] == 1 else (nothing, {})

    world.patch.setattr(trainer, "total_loss", total_loss)
    return world.train("--epochs", "2", "--batch_size", "32")


@makes("a store of another MLflow")
def _(world: World) -> list[str]:
    shutil.copy(world.out / "mlflow.db", "mlflow.db")
    with sqlite3.connect("mlflow.db") as store:
        store.execute("UPDATE alembic_version SET version_num = 'another'")
    return world.train("--output_dir", ".")


@makes("a store that is none")
def _(world: World) -> list[str]:
    Path("mlflow.db").write_text("hello, I am no database at all. " * 40)
    return ["reports.build", "--out", "."]


commands("a report without ablation", "reports.build", "--out", "nowhere")
commands("a quote open in a list", "reports.build", "--runs", "runs/a 'runs/b")


def report(world: World, *words: str) -> list[str]:
    shutil.copy(world.out / "mlflow.db", "mlflow.db")
    return ["reports.build", "--out", ".", *words]


@makes("predictions in another form")
def _(world: World) -> list[str]:
    return report(world, "--predictions", "mine.csv")


@makes("predictions that are not there")
def _(world: World) -> list[str]:
    return report(world, "--predictions", "theirs:mine.csv")


def small_report(*words: str) -> list[str]:
    from report_fixture import Made, make_ablation

    make_ablation(Path(), Made(n_splits=2, n_trials=0, modes=("residual",), references=False))
    return ["reports.build", "--out", ".", *words]


@makes("a claim that fails")
def _(world: World) -> list[str]:
    Path("mine.py").write_text(
        "from reports.claims import Claim\n"
        "def wrong(evidence, target):\n    return [{}['nothing']]\n"
        "CLAIMS = [Claim('mine', 'Mine', 'mine', wrong)]\n"
    )
    return small_report("--claims", "mine.py")


@makes("a date that is none")
def _(world: World) -> list[str]:
    world.patch.setenv("SOURCE_DATE_EPOCH", "today")
    return small_report()


@makes("a busy port")
def _(world: World) -> list[str]:
    taken = world.on_exit.enter_context(socket.create_server(("127.0.0.1", 0)))
    return ["experiments.ui", "--port", str(taken.getsockname()[1]), "--out", str(world.out)]


commands("no seed at all", "experiments.ablation", "--seeds", "0")
commands("a margin that nothing can lie within", "experiments.ablation", "--margin", "0")


@makes("two ablations in one folder")
def _(world: World) -> list[str]:
    from qa_core.system.locking import sole_owner

    world.on_exit.enter_context(sole_owner(Path(".ablation.lock"), "An ablation"))
    return ["experiments.ablation", "--out", "."]


trains_with("refinement beside residual learning", "--use_refinement")
trains_with("a scale above a half", "--residual_scale_q", "0.9")
trains_with("a rate out of the guide's range", "--lr", "0.5")
trains_with("random weights")


@makes("a table by a spreadsheet program")
def _(world: World) -> list[str]:
    frame = world.rows(prompt='a "red" cube;\nand a dog').drop(columns="explanation")
    text = frame.to_csv(index=False, sep=";", decimal=",", lineterminator="\r\n")
    Path("mine.csv").write_bytes(text.encode("utf-8-sig"))
    return world.train(table="mine.csv")


@makes("prompts of any length and script")
def _(world: World) -> list[str]:
    frame = world.rows(prompt="word " * 2000)
    frame.loc[1, "prompt"] = "一只红色的猫, кот, قطة 🐈"
    return world.train_on(frame)


@makes("an image that cannot be scored")
def _(world: World) -> list[str]:
    words = world.predict()
    Path("one/broken.png").write_bytes(b"hello")
    shutil.copy(world.table.parent / "p00_0.png", os.fsdecode(b"one/\xff.png"))
    return [*words, "--sheet", "sheet.html"]


@makes("an animated image")
def _(world: World) -> list[str]:
    frames = [Image.new("RGB", (8, 8), shade) for shade in ("red", "blue")]
    frames[0].save(world.copied_images() / "moves.gif", save_all=True, append_images=frames[1:])
    return world.check(world.rows(name="moves.gif"))


@makes("one picture under two names")
def _(world: World) -> list[str]:
    pictures = world.copied_images()
    shutil.copy(pictures / "p00_0.png", pictures / "p00_1.png")
    return world.check(world.rows())


@makes("a prompt of 10,000 characters")
def _(world: World) -> list[str]:
    return world.check(world.rows(prompt="word " * 2000))


@makes("wrong rows, all at once")
def _(world: World) -> list[str]:
    frame = world.rows(mos_quality="good")
    frame.loc[5, "name"] = "absent.png"
    return world.check(frame)

"""Anything at all is given to what reads from outside; `make fuzz` gives it far more of it.

Readers give a table or a UserError, the command line a configuration or exit code 2, a checkpoint
the same weights or a UserError, a picture pixels or one of the errors that are caught; any text
comes out of the report's languages as the text that it is.
"""

import contextlib
import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fuzzing import TRIED, VALUES, fuzzed, mutations, tell
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from experiments.ablation import AblationArgs, base_config
from experiments.baseline import BaselineArgs
from experiments.cli.contact_sheet import ScoredImage, write_contact_sheet
from qa_core import command_line as cli
from qa_core.config import RunConfig
from qa_core.data.decode import FORMATS, UnreadableImage, decode_image
from qa_core.data.rated_table import RatedTable
from qa_core.data.tables.agiqa3k import read_agiqa3k
from qa_core.data.tables.csv_table import read_csv_table
from qa_core.data.tables.evalmuse40k import read_evalmuse40k
from qa_core.data.tables.genai_bench import read_genai_bench
from qa_core.data.tables.qeval100k import read_qeval100k
from qa_core.errors import UserError
from qa_core.model.checkpoint import read_checkpoint, save_checkpoint
from reports.paper.latex import escape


@pytest.fixture(scope="module", autouse=True)
def _told() -> Iterator[None]:
    yield
    tell()


# --- tables ------------------------------------------------------------------------------------

HOSTILE = (
    *("a.png", "b.png", "", " ", "nan", "inf", "-1", "1", "3.5", "1e400", "5", "0x10", "1_0"),
    *("NA", "-", "1.234,5", "#N/A", "2026-05-03", "[1, 2]", "[", "1,234", "va", "val"),
    *("../a.png", "/etc/hostname", "a\0b", '"', '"x', "x" * 300, "a,b", "1,5", "train", "٣", "."),
)
CELLS = st.sampled_from(HOSTILE) | st.text(max_size=6)
NAMES = (
    *("name", "prompt", "mos_quality", "mos_align", "mos_consistency", "std_quality"),
    *("quality_1", "quality_2", "rater", "r1", "r2", "Prompt", "caption"),
    *("generator", "part", "n_raters", "explanation", "file", "group", "name ", "", "file.1"),
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A file that looks more or less like a rated table."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=200))
    likely = ["name", "prompt", "mos_quality"] if draw(st.booleans()) else []
    header = likely + draw(st.lists(st.sampled_from(NAMES), max_size=4))
    width = len(header) + draw(st.sampled_from((0, 0, 0, 1, -1)))
    rows = draw(
        st.lists(st.lists(CELLS, min_size=max(0, width), max_size=max(0, width)), max_size=5)
    )
    separator = draw(st.sampled_from(",;\t|"))
    line_end = draw(st.sampled_from(("\n", "\r\n", "\r")))
    text = line_end.join(separator.join(row) for row in [header, *rows])
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")))
    return text.encode(encoding, errors="replace")


def require_sound(table: RatedTable) -> None:
    """A table that was accepted is what everything downstream takes it for."""
    frame = table.frame
    for target in ("quality", "consistency"):
        if f"mos_{target}" in frame:
            mos = frame[f"mos_{target}"].to_numpy(float)
            rated = mos[~np.isnan(mos)]
            assert len(rated) and ((rated >= 0) & (rated <= 1)).all()
            assert len(mos) == 1 or np.ptp(rated) > 0
    names, prompts = list(frame["name"]), list(frame["prompt"])
    assert names and len(set(names)) == len(names)
    assert ("" in prompts) != table.has_prompts and ("mos_consistency" not in frame or prompts[0])
    assert table.sha256


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder of two images."""
    with tempfile.TemporaryDirectory() as name:
        for image in ("a.png", "b.png"):
            Image.new("RGB", (4, 4)).save(Path(name) / image)
        yield Path(name)


@fuzzed(60)
@given(content=tables(), require=st.booleans(), ranged=st.booleans())
def test_any_bytes_are_a_table_or_a_user_error(
    folder: Path, content: bytes, require: bool, ranged: bool
) -> None:
    TRIED["CSV tables"] += 1
    path = folder / "mine.csv"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        require_sound(
            read_csv_table(path, folder, (1, 5) if ranged else None, None, require_images=require)
        )
    (folder / "data.csv").write_bytes(content)
    with contextlib.suppress(UserError):
        require_sound(read_agiqa3k(folder, require_images=False))


@pytest.mark.parametrize("ending", ["xlsx", "parquet"])
@fuzzed(10)
@given(data=st.data())
def test_a_damaged_spreadsheet_is_a_table_or_a_user_error(
    folder: Path, ending: str, data: st.DataObject
) -> None:
    TRIED[ending] += 1
    whole, mine = folder / f"whole.{ending}", folder / f"mine.{ending}"
    if not whole.exists():
        rows = {"name": ["a.png", "b.png"], "prompt": ["x", "y"], "mos_quality": [1, 2]}
        frame = pd.DataFrame(rows)
        frame.to_excel(whole, index=False) if ending == "xlsx" else frame.to_parquet(whole)
    mine.write_bytes(data.draw(mutations(whole.read_bytes())))
    with contextlib.suppress(UserError):
        require_sound(read_csv_table(mine, folder))


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.text(max_size=5) | VALUES,
        "img_path": st.sampled_from(("g/a.png", "", "/x", "../x", "b.png")) | VALUES,
        "total_score": st.lists(st.integers(1, 5), max_size=3) | VALUES,
    },
)


ROWS = st.fixed_dictionaries(
    {}, optional={name: VALUES | st.sampled_from(HOSTILE) for name in NAMES[:8]}
)
JSON = st.lists(ENTRIES, max_size=3) | st.lists(ROWS, max_size=4) | VALUES


JSON_READERS: dict[str, Callable[[Path], RatedTable]] = {
    "train_list.json": lambda root: read_evalmuse40k(root, require_images=False),
    "genai_image.json": lambda root: read_genai_bench(root, require_images=False),
    "image_quality_train.json": lambda root: read_qeval100k(root, require_images=False),
    "image_alignment_train.json": lambda root: read_qeval100k(root, require_images=False),
    "mine.json": lambda root: read_csv_table(root / "mine.json", root, require_images=False),
    "mine.jsonl": lambda root: read_csv_table(root / "mine.jsonl", root, require_images=False),
}


@fuzzed(40)
@given(content=JSON.map(json.dumps) | st.text(max_size=20))
def test_any_json_is_a_table_or_a_user_error(content: str) -> None:
    TRIED["JSON tables"] += 1
    with tempfile.TemporaryDirectory() as name:
        for file, read in JSON_READERS.items():
            path = Path(name) / file
            path.write_text(content, encoding="utf-8", errors="surrogatepass")
            with contextlib.suppress(UserError):
                require_sound(read(Path(name)))


@pytest.mark.filterwarnings("ignore:::PIL")  # of what is damaged
@pytest.mark.parametrize("form", FORMATS)
@fuzzed(20)
@given(data=st.data())
def test_a_damaged_picture_is_pixels_or_unreadable(form: str, data: st.DataObject) -> None:
    TRIED["images"] += 1
    whole = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (12, 9, 3), np.uint8)
    Image.fromarray(pixels).save(whole, form)
    with contextlib.suppress(UnreadableImage):
        decoded = decode_image(io.BytesIO(data.draw(mutations(whole.getvalue()))), 8)
        assert decoded.shape == (3, 8, 8) and decoded.dtype == np.uint8


# --- command lines -----------------------------------------------------------------------------

FLAGS = [f"--{name}" for name in RunConfig().flat()]
FLAGS += [f"--no_{name}" for name in RunConfig().flat()] + ["--out", "--range_q", "--data"]
GIVEN = ("1", "0", "-1", "nan", "inf", "-inf", "1e-4", "img", "cos", "none", "1:5", "--")
WORDS = st.sampled_from(FLAGS) | st.sampled_from(GIVEN) | st.text(max_size=4)


@fuzzed(30)
@given(words=st.lists(WORDS, max_size=6), of_ablation=st.booleans())
def test_any_words_are_a_configuration_or_exit_code_2(words: list[str], of_ablation: bool) -> None:
    TRIED["argv"] += 1

    def main() -> None:
        if of_ablation:
            config = base_config(cli.parse(AblationArgs, "", words))
        else:
            config = cli.parse(BaselineArgs, "", words).run
        assert isinstance(config, RunConfig)

    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        try:
            cli.run(main)
        except SystemExit as ended:
            helped = {"-h", "--help"} & set(words)
            assert ended.code == 2 or (helped and ended.code == 0)


# --- checkpoints -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint() -> Iterator[tuple[Path, bytes, dict[str, Any]]]:
    """A small checkpoint: its file, its bytes, and what it holds."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.pt"
        state = {f"w{k}": torch.randn(5, 7) for k in range(4)} | {"n": torch.arange(9)}
        flat = RunConfig().flat()
        save_checkpoint(path, {"config": flat, "state": state, "range_quality": (1.0, 5.0)})
        yield path, path.read_bytes(), read_checkpoint(path)


def same(one: Any, other: Any) -> bool:
    """Whether two contents are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return type(one) is type(other) and one == other


@fuzzed(100)
@given(data=st.data())
def test_a_damaged_checkpoint_is_the_same_or_a_user_error(
    checkpoint: tuple[Path, bytes, dict[str, Any]], data: st.DataObject
) -> None:
    TRIED["checkpoints"] += 1
    path, whole, content = checkpoint
    path.write_bytes(data.draw(mutations(whole)))
    try:
        read = read_checkpoint(path)
    except UserError:
        return
    assert same(read, content)


# --- texts in the report's languages ------------------------------------------------------------

TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="\\{}$&#%_~^<>\"'`|-!?=[]@*/ \n\taé–’", max_size=20),
)


class Shown(HTMLParser):
    """The text of a page, and its elements."""

    def __init__(self, page: str):
        super().__init__()
        self.texts: list[str] = []
        self.elements: Counter[str] = Counter()
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1


@fuzzed(40)
@given(prompt=TEXTS)
def test_html_shows_any_text(prompt: str, folder: Path) -> None:
    TRIED["HTML"] += 1
    page = folder / "sheet.html"
    image = ScoredImage(folder / "a.png", prompt, {"q": 0.5})
    write_contact_sheet(page, [image], "q", 1, 0, {"q": (1.0, 5.0)})
    shown = Shown(page.read_bytes().decode())
    assert prompt in "".join(shown.texts)
    assert shown.elements["figure"] == shown.elements["b"] == 1 and "script" not in shown.elements


TEX = {
    r"\textbackslash{}": "\\", r"\{": "{", r"\}": "}", r"\$": "$", r"\&": "&", r"\#": "#",
    r"\%": "%", r"\_": "_", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^",
    r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|", r"\textasciigrave{}": "`",
    "-{}": "-", "--{}": "–", "$-$": "−", "--": "–", r"$\leq$": "≤", r"$\pm$": "±",
}  # fmt: skip
"""What LaTeX prints of each command, by its own manuals; the longest is read first."""


def as_latex_prints(source: str) -> str:
    """What a paragraph of LaTeX prints; ValueError at what is no plain text to it."""
    printed, at = "", 0
    while at < len(source):
        command = next((c for c in sorted(TEX, key=len)[::-1] if source.startswith(c, at)), None)
        if command is None and (source[at] in "\\{}$&#%_~^<>|`" or source[at] < " "):
            raise ValueError(f"{source[at]!r} at {at} of {source!r}")
        printed += TEX[command] if command else source[at]
        at += len(command or "x")
    return printed


@fuzzed(200)
@given(text=TEXTS)
def test_latex_prints_any_text(text: str) -> None:
    TRIED["LaTeX"] += 1
    plain = "".join(" " if c < " " or c == "\x7f" else c for c in text)
    assert as_latex_prints(escape(text)) == plain.replace("’", "'")


@fuzzed(3)
@given(texts=st.lists(TEXTS, min_size=1, max_size=200))
def test_typst_is_handed_any_text_as_text(texts: list[str]) -> None:
    import typst

    from reports.verdicts.results import write_json

    TRIED["Typst"] += len(texts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(folder / "content.json", {"texts": texts})
        (folder / "page.typ").write_text(
            '#let texts = json("content.json").texts\n'
            "#for one in texts { par(one) }\n"
            "#for one in texts [#metadata(par(one).body.text) <said>]\n"
        )
        shown = json.loads(
            typst.query(folder / "page.typ", "<said>", field="value", ignore_system_fonts=True)
        )
    assert shown == texts

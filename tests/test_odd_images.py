"""Images as strangers make them: decoded and turned, or unreadable by a sentence."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qa_core.data import decode
from qa_core.data.check import image_findings
from qa_core.data.decode import FORMATS, UnreadableImage, decode_image
from qa_core.data.image_store import open_image_store
from qa_core.errors import UserError

CASES = Path(__file__).parents[2] / "shared" / "cases"
WRONG = {  # type, count, value: what a resolution's tag (rational) or others may be instead
    "text": (2, 4, b"abc\0"),
    "signed": (10, 1, struct.pack("<ii", -1, 0)),
    "no numbers": (5, 0, b"\0\0\0\0"),
    "far away": (5, 1, struct.pack("<I", 2**31)),
    "unknown type": (99, 7, b"\1\2\3\4"),
}


def exif(orientation: int, wrong: tuple[int, int, bytes], tag: int) -> bytes:
    """An EXIF block with an orientation and one tag of a wrong type."""
    kind, count, value = wrong
    entries = [(0x0112, 3, 1, struct.pack("<HH", orientation, 0))]
    data = b""
    if len(value) > 4:
        data, value = value, struct.pack("<I", 8 + 2 + 24 + 4)
    entries.append((tag, kind, count, value))
    body = struct.pack("<H", 2)
    for name, kind, count, value in sorted(entries):
        body += struct.pack("<HHI", name, kind, count) + value
    return b"Exif\0\0II*\0\x08\0\0\0" + body + b"\0\0\0\0" + data


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("tag", [0x011A, 0x0132, 0x8769, 0x010E], ids=hex)
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_good_pixels_with_odd_metadata_are_decoded_and_turned(
    form: str, tag: int, wrong: tuple[int, int, bytes]
):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, 8:] = 255  # white on the right; turned by 6 it is at the bottom
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, exif=exif(6, wrong, tag))
    decoded = decode_image(io.BytesIO(file.getvalue()), 16)
    assert decoded[:, 12, :].mean() > 200 and decoded[:, 4, :].mean() < 50


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")
def test_the_cases_are_decoded_upright_or_unreadable():
    for path in sorted((CASES / "01-exif-rational").glob("*.jpg")):
        with decode.open_image(path) as file:
            assert decode.upright_rgb(file).size == (48, 64), path.name
    for path in sorted((CASES / "02-broken-avif").glob("*.avif")):
        with pytest.raises(UnreadableImage):
            decode_image(path, 8)


def test_what_would_start_a_program_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[object] = []
    monkeypatch.setattr("subprocess.check_call", lambda *words, **how: started.append(words))
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *given: started.append(given))
    path = tmp_path / "picture.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(UnreadableImage, match="none of PNG, JPEG"):
        decode_image(path, 8)
    assert not started


@pytest.mark.parametrize("form", ["ICO", "TGA", "PCX", "DDS", "JPEG2000", "PSD"])
def test_formats_that_are_not_listed_are_not_opened(tmp_path: Path, form: str):
    path = tmp_path / "picture.png"
    if form == "PSD":
        path.write_bytes(b"8BPS\0\1" + b"\0" * 60)
    else:
        Image.new("RGB", (8, 8)).save(path, form)
    with pytest.raises(UnreadableImage, match="none of PNG"):
        decode_image(path, 8)


def test_an_image_that_would_take_too_much_memory_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "large.png"
    Image.new("P", (400, 300)).save(path)
    monkeypatch.setattr(decode, "MAX_MEMORY", 400 * 300 * decode._PIXEL_BYTES)
    with pytest.raises(UnreadableImage, match=r"400 x 300 pixels may take .* make it smaller"):
        decode_image(path, 8)
    Image.new("RGB", (400, 300)).save(path)
    assert decode_image(path, 8).shape == (3, 8, 8)


def test_a_decoder_that_fails_in_any_way_is_that_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paths = [tmp_path / "good.png", tmp_path / "bad.png"]
    for path in paths:
        Image.new("RGB", (8, 8)).save(path)
    upright_rgb = decode.upright_rgb

    def fail(image: Image.Image) -> Image.Image:
        if Path(str(getattr(image, "filename", ""))).name == "bad.png":
            raise NotImplementedError
        return upright_rgb(image)

    monkeypatch.setattr(decode, "upright_rgb", fail)
    with pytest.raises(UserError, match=r"bad\.png \(data row 2\) .* NotImplementedError"):
        open_image_store(paths, 8, tmp_path / "cache")
    problems, _ = image_findings(paths)
    assert any("data row 2" in str(problem) and "bad.png" in str(problem) for problem in problems)


@pytest.mark.filterwarnings("ignore:::PIL")  # of what is damaged
@pytest.mark.parametrize("form", FORMATS)
def test_mutations_of_every_format_are_pixels_or_unreadable(form: str):
    rng = np.random.default_rng(sum(form.encode()))
    whole = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (12, 9, 3), np.uint8)).save(whole, form)
    for _ in range(150):
        data = bytearray(whole.getvalue())
        for place in rng.integers(0, len(data), rng.integers(1, 8)):
            data[place] = rng.integers(0, 256)
        cut = data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data
        try:
            assert decode_image(io.BytesIO(bytes(cut)), 8).shape == (3, 8, 8)
        except UnreadableImage as error:
            assert str(error)

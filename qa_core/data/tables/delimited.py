"""Rows of a text file with delimiters, as spreadsheet programs and scripts write it."""

import csv
import io
import re
from pathlib import Path

from qa_core.errors import UserError

DELIMITERS = (",", ";", "\t")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_delimited(path: Path, encoding: str = "utf-8-sig") -> tuple[list[list[str]], str]:
    """All rows as text, the header among them, and their delimiter.

    The delimiter (comma, semicolon or tab) is the one that occurs most in the first row, or the one
    that a first line `sep=;` names. A byte-order mark is skipped and tells UTF-16.

    Raises:
        UserError: If the file is missing, in another encoding, or a quote in it is wrong.
    """
    lines = io.StringIO(decoded(path, encoding), newline="")
    first = lines.readline()
    named = re.fullmatch(r"sep=(.)\s*", first)
    if named is None:
        while first and not first.strip():
            first = lines.readline()
        lines.seek(0)
    plain = re.sub(r'"[^"]*"', "", first)
    delimiter = named[1] if named else max(DELIMITERS, key=plain.count)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    rows: list[list[str]] = []
    while True:
        start = reader.line_num + 1 + (named is not None)
        try:
            rows.append(next(reader))
        except StopIteration:
            return rows, delimiter
        except csv.Error as error:
            open_quote = "unexpected end of data" in str(error)
            reason = "a quote is not closed" if open_quote else str(error)
            raise UserError(
                f"{path} cannot be read as a table: {reason} in the row that begins in line"
                f" {start}; put texts that hold quotes in quotes, with each quote doubled."
            ) from None


def decoded(path: Path, encoding: str = "utf-8-sig") -> str:
    """The text of a file; a byte-order mark is skipped and tells UTF-16.

    Raises:
        UserError: If the file is missing or in another encoding.
    """
    try:
        raw = path.read_bytes()
        return raw.decode("utf-16" if raw.startswith(_UTF16_MARKS) else encoding)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such table.") from None
    except UnicodeDecodeError:
        wanted = "UTF-8" if encoding == "utf-8-sig" else encoding
        raise UserError(f"{path} is not {wanted} text; save it as UTF-8.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read as a table: {error.strerror}.") from None

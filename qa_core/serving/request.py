"""What a request to the served model may hold: bytes of images and prompts, never a path."""

import base64
import binascii

import pandas as pd

from qa_core.errors import UserError

MOST_IMAGES, MOST_BYTES = 256, 64 * 2**20
"""Of a request."""


def read_request(rows: pd.DataFrame) -> tuple[list[bytes], list[str] | None]:
    """Images and prompts of a request, whatever format it came in.

    MLflow hands over bytes from JSON and parquet, and text from CSV. Text is base64 and nothing
    else: a path or an address is never opened.

    Args:
        rows: The column `image`, and `prompt` unless quality alone is scored.

    Raises:
        UserError: It holds something else, or too much.
    """
    if "image" not in rows:
        raise UserError("The request has no column image.")
    if len(rows) > MOST_IMAGES:
        raise UserError(f"The request has {len(rows)} images; send at most {MOST_IMAGES} at once.")
    images = [_bytes_of(value, number) for number, value in enumerate(rows["image"], start=1)]
    if sum(map(len, images)) > MOST_BYTES:
        raise UserError(f"The images have more than {MOST_BYTES // 2**20} MiB together.")
    if "prompt" not in rows:
        return images, None
    prompts = rows["prompt"].tolist()
    for number, prompt in enumerate(prompts, start=1):
        if not isinstance(prompt, str):
            raise UserError(f"Prompt {number} is no text.")
    return images, prompts


def _bytes_of(value: object, number: int) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise UserError(f"Image {number} is no image: send the bytes of its file, in text as base64.")

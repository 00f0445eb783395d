"""CLIP's towers, their weights and tokenizers, on open_clip.

open_clip imports `transformers` where it is installed, for text towers that are not built here:
two seconds of every command and worker. So it is imported without: open_clip then takes it for
absent as long as the process lives, and whoever else imports it may.
"""

import sys

if "open_clip" not in sys.modules and "transformers" not in sys.modules:
    sys.modules["transformers"] = None  # type: ignore[assignment]
    try:
        import open_clip  # noqa: F401
    finally:
        del sys.modules["transformers"]

"""How much the tests of `make fuzz` try, what they have tried, and how a file is damaged."""

import os
from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("FUZZ_TIMES", "0"))
"""How often more inputs than in the suite; 0 in the suite, whose inputs are always the same."""

TRIED: Counter[str] = Counter()


def tell() -> None:
    """Say, in `make fuzz`, what the file's tests tried."""
    for target, count in sorted(TRIED.items()) if TIMES else ():
        print(f"\nfuzz  {count:>9} {target}", end="")
    TRIED.clear()


def fuzzed(usual: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Settings of a test: `usual` inputs in the suite, so many times more in `make fuzz`."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return settings(
            max_examples=usual * max(TIMES, 1),
            deadline=None,
            derandomize=not TIMES,
            database=None,
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.large_base_example,
                HealthCheck.filter_too_much,
            ],
        )(test)

    return decorate


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
"""Whatever JSON can hold."""


@st.composite
def mutations(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with some bytes changed, taken out, put in, or cut off."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        kind = draw(st.sampled_from(("change", "change", "change", "remove", "insert", "cut")))
        if kind == "change" and raw:
            raw[at] ^= draw(st.integers(1, 255))
        elif kind == "remove":
            del raw[at : at + draw(st.integers(1, 8))]
        elif kind == "insert":
            raw[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "cut":
            del raw[at:]
    return bytes(raw)

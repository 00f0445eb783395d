"""Which scale scores are read on, and what is said where it is a guess or wrong."""

from pathlib import Path

import numpy as np
import pytest

from qa_core.data.tables.csv_table import read_csv_table
from qa_core.data.tables.scales import Seen, choose_ranges
from qa_core.errors import UserError
from qa_core.targets import Target

Q, C = Target.QUALITY, Target.CONSISTENCY
PATH = Path("mine.csv")


def choose(q, c=None, named=None):
    seen = {Q: Seen("mos_quality", *q)} | ({} if c is None else {C: Seen("mos_align", *c)})
    return choose_ranges(seen, named or {}, PATH)


def test_both_scores_of_a_table_share_a_scale_unless_told():
    assert choose((1.2, 4.4), (0.3, 4.9))[0] == {Q: (0, 5), C: (0, 5)}
    assert choose((1.2, 4.4), (1, 6.5))[0] == {Q: (1, 7), C: (1, 7)}
    ranges, notes = choose((1.2, 4.4), (1, 6.5), {C: (0, 10)})
    assert ranges == {Q: (0, 10), C: (0, 10)} and "named for the other score" in notes[0]
    assert choose((1.2, 44), (1, 5), {C: (1, 5)})[0] == {Q: (0, 100), C: (1, 5)}


def test_seven_points_are_seven():
    assert choose((1.4, 6.8))[0] == {Q: (1, 7)}
    assert choose((1.4, 7.1))[0] == {Q: (1, 10)}


def test_a_guess_asks_and_a_full_scale_does_not():
    assert "name it (RANGE_Q, RANGE_C)" in choose((1.4, 3.9))[1][0]
    assert "name it" not in choose((1, 5))[1][0]
    assert choose((1.4, 3.9), named={Q: (1, 5)}) == ({Q: (1, 5)}, [])


def test_two_scales_are_asked_for():
    for q, c in (((12, 88), (0.1, 0.9)), ((12, 88), (1.5, 4.5))):
        with pytest.raises(UserError, match="seem to be on different scales; name both"):
            choose(q, c)
    assert choose((12, 88), (0.1, 0.9), {C: (0, 1)})[0] == {Q: (0, 100), C: (0, 1)}


def test_a_wrong_range_ends_in_one_sentence(tmp_path: Path):
    values = np.linspace(0, 4.49, 30)
    lines = [f"{k}.png,p{k},{value}" for k, value in enumerate(values)]
    (tmp_path / "mine.csv").write_text("\n".join(["name,prompt,mos_quality", *lines]))
    with pytest.raises(UserError) as caught:
        read_csv_table(tmp_path / "mine.csv", tmp_path, (1, 5), require_images=False)
    assert str(caught.value) == (
        f"{tmp_path}/mine.csv: 7 of 30 values of mos_quality lie outside 1 to 5 (data rows 1, 2, 3"
        " …): scores run 0 to 4.49; try 0:5."
    )

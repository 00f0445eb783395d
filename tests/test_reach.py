"""What an ablation leaves open is named beforehand, and turns out so."""

import pytest

from experiments.reach import out_of_reach
from qa_core.config import RunConfig, with_settings
from qa_core.settings.data import ProtocolName
from reports.claims import CLAIMS
from studies.profiles import PROFILES

LATER = "its study (make study STUDY={})"


def test_a_default_run_on_the_embedded_backbone_leaves_these_open() -> None:
    assert out_of_reach(RunConfig(), "auto", PROFILES["default"]) == [
        f"Full fine-tuning catches up on more data: needs {LATER.format('data_size')}",
        f"The linear probe is enough for very little data: needs {LATER.format('data_size')}",
        "Residual learning converges within 5–10 epochs: needs 20 epochs (PROFILE=full)",
        "Residual learning's validation curve fluctuates less: needs 20 epochs (PROFILE=full)",
        f"Freezing between 2/3 and 5/6 of the depth is best: needs {LATER.format('depth')}",
        f"Small scales suit little data, .3–.5 much: needs {LATER.format('data_size')}",
        "The recommended LR range of each mode holds its best LR: needs a published backbone"
        f" (BACKBONE=) and {LATER.format('lr')}",
        f"Batch size hardly matters for residual learning: needs {LATER.format('batch_size')}",
    ]


@pytest.mark.parametrize(("backbone", "n_open"), [("qa-tiny", 1), ("ViT-L-14", 0)])
def test_a_full_run_leaves_nothing_open_but_what_is_not_of_its_backbone(
    backbone: str, n_open: int
) -> None:
    base = with_settings(RunConfig(), backbone=backbone)
    assert len(out_of_reach(base, "auto", PROFILES["full"])) == n_open


@pytest.mark.parametrize("protocol", ["common", "published", "official"])
def test_a_protocol_that_decides_nothing_says_so_in_one_line(protocol: ProtocolName) -> None:
    (line,) = out_of_reach(RunConfig(), protocol, PROFILES["full"])
    assert line == f"every claim of the guide: PROTOCOL={protocol} decides none"


def test_every_study_that_decides_a_claim_exists() -> None:
    from studies.designed.catalogue import DESIGNS

    of_studies = {claim.family for claim in CLAIMS} & DESIGNS.keys()
    assert of_studies == {"data_size", "depth", "lr", "batch_size"}

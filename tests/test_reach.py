"""What an ablation leaves open is named beforehand, and turns out so."""

import pytest

from experiments.reach import out_of_reach
from reports.claims import CLAIMS
from studies.profiles import PROFILES

LATER = "its study (make study STUDY={})"


def test_a_default_run_on_the_embedded_backbone_leaves_these_open() -> None:
    assert out_of_reach("qa-tiny", PROFILES["default"]) == [
        f"full_catches_up needs {LATER.format('data_size')}",
        f"probe_enough_small_data needs {LATER.format('data_size')}",
        "residual_converges_early needs 20 epochs (PROFILE=full)",
        "residual_is_steadier needs 20 epochs (PROFILE=full)",
        f"freeze_band_best needs {LATER.format('depth')}",
        f"scale_suits_data needs {LATER.format('data_size')}",
        f"lr_range_holds_best needs a published backbone (BACKBONE=) and {LATER.format('lr')}",
        f"batch_size_hardly_matters needs {LATER.format('batch_size')}",
    ]


@pytest.mark.parametrize(("backbone", "n_open"), [("qa-tiny", 1), ("ViT-L-14", 0)])
def test_a_full_run_leaves_nothing_open_but_what_is_not_of_its_backbone(
    backbone: str, n_open: int
) -> None:
    assert len(out_of_reach(backbone, PROFILES["full"])) == n_open


def test_every_study_that_decides_a_claim_exists() -> None:
    from studies.designed.catalogue import DESIGNS

    of_studies = {claim.family for claim in CLAIMS} & DESIGNS.keys()
    assert of_studies == {"data_size", "depth", "lr", "batch_size"}

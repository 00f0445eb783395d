"""A new mode or arm is its record: plan, search, studies, figures and tables take it from there."""

import dataclasses
from collections import Counter
from collections.abc import Iterator

import pytest
from matplotlib.markers import MarkerStyle
from test_claims import ORDERED, make, verdicts
from test_study_report import rates, sizes

from qa_core.arms import ARMS, CONTROLS, MODES, Arm, Mode, find_mode, parse_arms
from qa_core.config import RunConfig
from qa_core.modes import BackboneSpec, freezing_of, mode_config, mode_name
from reports.evidence.ablation import Ablation
from reports.evidence.frames import mode_rank
from reports.figures import style
from studies.ablation import confirmation_settings
from studies.designed.catalogue import DESIGNS
from studies.space import ModeSpace, all_spaces

VIT_B = BackboneSpec(12, 12, published=True)
MODE, ARM = "two_branches", "smooth_branches"


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    mode = Mode(
        label="two branches, part frozen",
        short="two branches",
        colour="#654321",
        marker=".",
        flags={"residual_learning": False, "use_two_branch": True, "partial_freeze": True},
        rate_factor=2,
    )
    arm = Arm(
        of=MODE,
        label="smoothed",
        words="an average of the weights, with a part frozen",
        colour="#123456",
        marker="+",
        flags={"ema_decay": 0.9},
        knobs={"ema_decay": (0.5, 0.99)},
    )
    monkeypatch.setitem(MODES, MODE, mode)
    monkeypatch.setitem(ARMS, ARM, arm)
    yield


def spaces() -> dict[str, ModeSpace]:
    return all_spaces(parse_arms(ARM), RunConfig(), VIT_B)


def test_it_is_tuned_over_its_knobs_and_confirmed(added: None) -> None:
    found = spaces()
    assert list(found) == [*MODES, *CONTROLS, ARM] and list(MODES)[-1] == MODE
    assert found[MODE].distributions.keys() == {"freeze_layers", "lr"}
    assert found[ARM].distributions.keys() == {"freeze_layers", "lr", "ema_decay"}
    settings = confirmation_settings(found, dict.fromkeys(found, "run"), {})
    assert {setting.mode for setting in settings} == set(found)


def test_its_flags_name_it_and_set_its_rate(added: None) -> None:
    for name, space in spaces().items():
        assert mode_name(space.guide) == (MODE if name == ARM else name)
    assert freezing_of(MODE) == freezing_of(ARM) == "partial"
    found = mode_config(MODE, RunConfig(), VIT_B)
    assert (found.optim.lr, found.freeze.freeze_layers) == (2 * 3e-5, 8)
    assert mode_config("residual_partial_freeze", RunConfig(), VIT_B).optim.lr == 3e-5


def test_studies_of_all_modes_take_it_in_and_that_of_the_scale_only_with_a_correction(
    added: None,
) -> None:
    modes = {
        name: {point.mode for point in DESIGNS[name].points(RunConfig(), VIT_B)}
        for name in ("lr", "data_size", "variants", "scale")
    }
    assert modes["lr"] == modes["data_size"] == modes["variants"] == set(MODES)
    configs = {name: mode_config(name, RunConfig(), VIT_B) for name in MODES}
    corrected = {name for name, config in configs.items() if config.head.residual_learning}
    assert modes["scale"] == corrected and MODE not in corrected >= set(ORDERED) - {"traditional"}


def test_tables_and_figures_show_it_in_its_place(added: None) -> None:
    assert sorted([ARM, "lp_ft", MODE, "residual"], key=mode_rank) == [
        "residual",
        MODE,
        "lp_ft",
        ARM,
    ]
    assert (style.label(MODE), style.short(MODE)) == (
        "two branches, part frozen",
        "two branches",
    )
    assert (style.colour(ARM), style.marker(ARM), style.short(ARM)) == ("#123456", "+", "smoothed")


@pytest.mark.parametrize("part", ["label", "colour", "marker"])
def test_no_two_look_alike(added: None, part: str) -> None:
    looks = Counter(getattr(find_mode(name), part) for name in (*MODES, *CONTROLS, *ARMS))
    assert [look for look, times in looks.items() if times > 1] == []


def test_marks_of_modes_and_controls_are_filled() -> None:
    markers = {name: record.marker for name, record in (MODES | CONTROLS).items()}
    assert [n for n, m in markers.items() if m not in MarkerStyle.filled_markers] == []


def test_no_two_modes_differ_only_in_what_tuning_changes(added: None) -> None:
    """Tuned, they would be one; and a run is named after its flags (`mode_name`)."""
    found = Counter(
        tuple(sorted((flag, value) for flag, value in record.flags.items()
                     if flag not in knobs_of(name)))
        for name, record in (MODES | CONTROLS).items()
    )  # fmt: skip
    assert max(found.values()) == 1


def knobs_of(mode: str) -> set[str]:
    """Flags that tuning changes, one residual scale standing for both."""
    space = all_spaces((), RunConfig(), VIT_B)[mode]
    flags = set(space.distributions)
    return flags | {"residual_scale_q", "residual_scale_c"} if "residual_scale" in flags else flags


def with_studies(scores: dict[str, float]) -> Ablation:
    ablation = make(scores)
    there = ablation.params | {"image_depth": "12", "backbone": "ViT-B-32", "protocol": "honest"}
    studies = {one.name: one for one in (sizes(), rates(1))}
    return dataclasses.replace(ablation, params=there, studies=studies)


def test_the_claims_keep_their_rivals(added: None) -> None:
    before = verdicts(with_studies(ORDERED))
    after = verdicts(with_studies({**ORDERED, MODE: 0.9}))
    tested = {claim for (claim, _), verdict in before.items() if verdict.verdict != "not tested"}
    assert tested >= {"probe_enough_small_data", "lr_range_holds_best", "probe_cheapest",
                      "residual_partial_freeze_best", "modes_beat_zeroshot"}  # fmt: skip
    assert after == before

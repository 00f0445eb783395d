"""Near-duplicates of a prompt are one group, other prompts are not."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_core.data.groups import group_of


@pytest.mark.parametrize(
    "other",
    [
        "a cat in a caf\u00e9",
        "A Cat in a CAF\u00c9.",
        "  a cat\tin a\n cafe\u0301 ",
        "a cat in a caf\u00e9 ?!",
        "a\u200b cat in a\u00a0caf\u00e9\ufeff",
        "a cat in a caf\u00e9\u2026",
        "\uff21 cat in a caf\u00e9\u3002",
    ],
)
def test_near_duplicates_are_one_group(other: str):
    assert group_of(other) == group_of("a cat in a caf\u00e9")


@pytest.mark.parametrize(
    "other", ["a cat in a cafe", "two cats in a caf\u00e9", "a cat, in a caf\u00e9"]
)
def test_other_prompts_are_others(other: str):
    assert group_of(other) != group_of("a cat in a caf\u00e9")


def test_signs_alone_stay_a_prompt():
    assert group_of("?!") == "?!"
    assert group_of("?!") != group_of("...")


@given(st.text(), st.sampled_from(["NFC", "NFD"]))
def test_the_form_of_accents_and_a_second_look_change_nothing(text: str, form):
    assert group_of(unicodedata.normalize(form, text)) == group_of(text)
    assert group_of(group_of(text)) == group_of(text)

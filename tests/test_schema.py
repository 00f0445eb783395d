"""What a study lists is read back as it was written, and as earlier versions wrote it."""

from qa_core.records.study_listing import StudyListing, StudyPoint

POINT = StudyPoint("residual", {"residual_scale": 0.1}, 0.25, 1e-4, 0.61, ("a", "b"))
GRID = StudyPoint(
    "linear_probe",
    {"variant": "best"},
    1.0,
    5e-3,
    None,
    ("c",),
    ((1e-3, 0.2, 0.5), (5e-3, 1.0, None)),
)


def test_a_listing_is_read_as_it_was_written() -> None:
    listing = StudyListing(n_splits=2, epochs=8, variance_factor=0.1 + 0.2, points=(POINT, GRID))
    assert StudyListing.from_tags({"study": "scale"} | listing.to_tags()) == listing


def test_points_keep_their_order_and_their_stored_form() -> None:
    tags = StudyListing(2, 8, 0.9, (POINT, GRID)).to_tags()
    assert list(tags) == ["n_splits", "epochs", "variance_factor", "point.000", "point.001"]
    assert tags["point.000"] == (
        '{"mode": "residual", "knobs": {"residual_scale": 0.1}, "train_share": 0.25,'
        ' "lr": 0.0001, "pool": 0.61, "cells": ["a", "b"]}'
    )
    assert tags["point.001"].endswith('"grid": [[0.001, 0.2, 0.5], [0.005, 1.0, null]]}')


def test_a_study_that_has_just_begun_lists_nothing() -> None:
    assert StudyListing.from_tags({"study": "scale", "question": "?"}) is None

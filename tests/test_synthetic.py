"""The embedded benchmark: formula, fairness, determinism."""

import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qa_core.data.groups import group_of
from qa_core.data.synthetic import rating
from qa_core.data.synthetic.benchmark import (
    GENERATORS,
    POOL,
    REPLICATE,
    Picture,
    Prompt,
    answer_prompts,
    draw_picture,
    draw_sets,
    first_version_keys,
    rate_pictures,
)
from qa_core.data.synthetic.captions import caption
from qa_core.data.synthetic.distort import (
    KINDS,
    PRETRAINING_KINDS,
    WITHHELD_KINDS,
    Distortion,
    distort,
)
from qa_core.data.synthetic.faults import Fault, contradict
from qa_core.data.synthetic.grammar import (
    BACKGROUNDS,
    OPPOSITES,
    WITHHELD_PAIRS,
    WITHHELD_RELATIONS,
    Group,
    Scene,
    allowed_in_pretraining,
    draw_scene,
)
from qa_core.data.synthetic.render import SIZE, render
from qa_core.data.synthetic.rendered import load_benchmark
from qa_core.data.synthetic.scenes import (
    VERSIONS,
    alignment_pairs,
    draw_distortions,
    draw_pretraining_scene,
    kept_alignment_pairs,
    render_pretraining_pairs,
)
from qa_core.data.synthetic.seen import SEEN_FILE, is_unseen, seen_hashes, was_seen

STRENGTHS = st.floats(0.05, 0.95)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_words_of_a_scene():
    scene = Scene(
        (Group("star", "red", "dark", "large"), Group("cross", "orange", "", "", 3)),
        "above",
        "sky",
    )
    assert scene.words == "a large dark red star above three orange crosses on a sky background"
    assert Scene((Group("ring", "orange"),), "", "sky").objects == "an orange ring"


def test_key_is_the_same_for_all_wordings():
    first, second = Group("star", "red"), Group("cross", "green", "", "small", 2)
    for relation, opposite in OPPOSITES.items():
        scene = Scene((first, second), relation, "grey")
        assert scene.key == Scene((second, first), opposite, "grey").key
        assert scene.key != replace(scene, relation=opposite).key
    assert Scene((first, second), "", "grey").key == Scene((second, first), "", "grey").key


@given(st.sampled_from(KINDS), STRENGTHS, st.floats(0.01, 0.05))
def test_stronger_distortion_is_worse(kind: str, strength: float, more: float):
    weak = rating.picture_quality([Distortion(kind, strength)])
    assert rating.picture_quality([Distortion(kind, strength + more)]) < weak < 1
    assert rating.picture_quality([]) == 1


@pytest.mark.parametrize("n_groups", [1, 2, 3])
def test_habits_of_people(n_groups: int):
    def left(*kinds: str, amount: int = 1) -> float:
        return rating.agreement([Fault(kind, "", amount) for kind in kinds], n_groups)

    order = ["missing", "shape", "colour", "relation", "count", "background", "size", "shade"]
    values = [left(kind) for kind in order]
    assert values == sorted(values)
    assert 1 - left("missing") > 3 * (1 - left("shade"))
    assert left("count", amount=2) < left("count")
    assert left("missing", "shade") < left("missing")
    assert left() == 1


@given(STRENGTHS, STRENGTHS, st.floats(0.01, 0.05))
def test_halo_pulls_each_score_towards_the_other(quality: float, agreement: float, more: float):
    def opinions(q: float, a: float) -> tuple[float, float]:
        seen = rating.true_opinions(np.array([q]), np.array([a]))
        return float(seen[0][0]), float(seen[1][0])

    before = opinions(quality, agreement)
    better = opinions(quality + more, agreement)
    assert 0 < better[1] - before[1] < better[0] - before[0]
    assert 0 < before[0] < 1 and 0 < before[1] < 1


def test_panel_follows_the_true_opinion_with_noise():
    true = np.linspace(0.05, 0.95, 300)
    seen = rating.draw_raters(len(true), rng())
    scores = rating.rate(true, seen, rng(1))
    assert seen.sum(axis=1).min() >= 15
    assert seen.sum(axis=1).max() <= 24
    assert 0 <= scores.mos.min() <= scores.mos.max() <= 1
    assert 0.95 < np.corrcoef(true, scores.mos)[0, 1] < 0.9999
    assert scores.std.mean() > 0.1


def test_a_contradiction_is_in_the_picture():
    """No fault, no difference; any fault, another scene."""
    draws = rng()
    for _ in range(400):
        scene = draw_scene(draws, withheld=True)
        shown, faults = contradict(scene, 0.4, (1,) * 6, True, draws)
        assert shown.groups
        assert (shown == scene) == (not faults)


def test_every_kind_of_distortion_shows():
    clean = render(draw_scene(rng(), withheld=True), rng())
    assert clean.shape == (SIZE, SIZE, 3)
    for kind in KINDS:
        changes = [
            np.abs(distort(clean, [Distortion(kind, s)], rng()).astype(float) - clean).mean()
            for s in (0.2, 0.9)
        ]
        assert 0.3 < changes[0] < changes[1], kind


@pytest.fixture(scope="module")
def prompts() -> list[list[Prompt]]:
    """The prompts of the pool and of one replicate."""
    return draw_sets(1)


@pytest.fixture(scope="module")
def pictures(prompts: list[list[Prompt]]) -> list[list[Picture]]:
    """Their pictures."""
    return [answer_prompts(own, number) for number, own in enumerate(prompts)]


def meant(prompt: Prompt) -> list[Scene]:
    """All scenes that a prompt may mean."""
    backgrounds = [prompt.scene.background] if prompt.names_background else BACKGROUNDS
    return [replace(prompt.scene, background=background) for background in backgrounds]


def test_benchmark_is_whole_and_drawn_as_far_as_it_is_used(tmp_path: Path, prompts, pictures):
    table = load_benchmark(tmp_path, 1)
    frame = table.frame
    assert list(frame.index) == list(range(len(frame)))
    for replicate, parts in ((-1, POOL), (0, REPLICATE)):
        own = frame[frame["replicate"] == replicate]
        assert own.groupby("part")["group"].nunique().to_dict() == parts
        assert len(own) == sum(parts.values()) * len(GENERATORS)
    assert len(set(frame["group"])) == sum(POOL.values()) + sum(REPLICATE.values())
    assert "" not in frame["explanation"].tolist()
    for column in ("mos_quality", "mos_consistency", "true_quality", "true_consistency"):
        assert 0 <= frame[column].to_numpy(float).min() <= frame[column].to_numpy(float).max() <= 1
    assert table.sha256 == load_benchmark(tmp_path, 1).sha256
    assert not list(tmp_path.rglob("*.png"))
    pool = table.of_rows(np.flatnonzero(frame["part"] == "pool"))
    pool.draw_images()
    paths = [Path(path) for path in frame["image_path"]]
    assert {path for path in paths if path.is_file()} == {Path(p) for p in pool.frame["image_path"]}
    some = table.first_prompts(20)
    some.draw_images()
    assert all(Path(path).is_file() for path in some.frame["image_path"])
    with Image.open(paths[7]) as drawn:
        assert np.array_equal(np.asarray(drawn), draw_picture(pictures[0][7], 0, 7))
    fresh = rate_pictures(pictures[1], 1)
    kept = frame[frame["replicate"] == 0].reset_index(drop=True)
    assert np.allclose(fresh["mos_quality"], kept["mos_quality"])
    assert fresh["explanation"].tolist() == kept["explanation"].tolist()


def test_the_first_prompts_of_each_part_are_taken_in_their_proportion(tmp_path: Path):
    table = load_benchmark(tmp_path, 1)
    some = table.first_prompts(100)
    counts = some.frame.groupby(["replicate", "part"])["prompt"].nunique().to_dict()
    assert counts == {
        (-1, "pool"): 67,
        (0, "train"): 33,
        (0, "validation"): 5,
        (0, "test"): 63,
        (0, "reserve"): 99,
    }
    names = some.frame["name"].tolist()
    assert len(names) == sum(counts.values()) * len(GENERATORS)
    kept = table.frame[table.frame["name"].isin(names)].reset_index(drop=True)
    assert some.frame.equals(kept)
    assert table.first_prompts(479).sha256 == table.sha256


def test_sets_share_no_prompt_and_more_replicates_change_none(prompts):
    more = draw_sets(2)
    assert more[:2] == prompts
    every = [prompt for own in more for prompt in own]
    assert len({prompt.meaning for prompt in every}) == len(every)
    assert len({group_of(prompt.words) for prompt in every}) == len(every)


def test_meaning_is_the_same_for_all_wordings():
    first, second = Group("star", "red"), Group("cross", "green")
    scene = Scene((first, second), "above", "grey")
    turned = Scene((second, first), "below", "sand")
    assert Prompt(scene, False).meaning == Prompt(turned, False).meaning
    assert Prompt(scene, True).meaning != Prompt(turned, True).meaning
    assert Prompt(scene, True).meaning != Prompt(scene, False).meaning


def test_benchmark_asks_for_and_shows_nothing_that_pretraining_saw(prompts, pictures):
    assert not any(was_seen(scene) for own in prompts for p in own for scene in meant(p))
    shown = [picture.shown for own in pictures for picture in own]
    assert not any(was_seen(scene) or is_unseen(scene) for scene in shown)


def test_scenes_seen_are_those_of_the_pretraining():
    """The replay's first scenes; all 24,000, which take a minute, gave exactly this file."""
    hashes = np.load(SEEN_FILE)
    assert len(hashes) == 22_190 and np.all(np.diff(hashes.astype(np.int64)) > 0)
    first = render_pretraining_pairs(250, seed=0).scenes
    assert np.isin(seen_hashes(first), hashes).all()
    assert all(map(was_seen, first)) and not any(map(is_unseen, first))
    assert not any(zlib.crc32(repr(key).encode()) in set(hashes) for key in first_version_keys())


def test_rejecting_what_was_seen_leaves_the_mix_of_prompts(prompts, pictures):
    every = [prompt for own in prompts for prompt in own]
    sizes = np.bincount([len(p.scene.groups) for p in every], minlength=4)[1:] / len(every)
    assert sizes == pytest.approx([0.22, 0.58, 0.20], abs=0.05)  # 1,500 drawn without rejection
    assert np.mean([p.names_background for p in every]) == pytest.approx(0.75, abs=0.05)
    faultless = np.mean([not p.faults for own in pictures for p in own])
    assert faultless == pytest.approx(0.39, abs=0.03)


def test_generators_overlap_and_differ(pictures):
    frame = rate_pictures(pictures[1], 1)
    for target in ("mos_quality", "mos_consistency"):
        scores = [
            frame.loc[frame["generator"] == name, target].to_numpy(float) for name in GENERATORS
        ]
        assert np.ptp([values.mean() for values in scores]) > 0.1
        assert min(values.std() for values in scores) > 0.1


def test_benchmark_holds_what_pretraining_never_saw(prompts, pictures):
    asked = [prompt.scene for prompt in prompts[0]]
    assert any(scene.relation in WITHHELD_RELATIONS for scene in asked)
    assert any(
        (group.shape, group.colour) in WITHHELD_PAIRS for scene in asked for group in scene.groups
    )
    kinds = {distortion.kind for picture in pictures[0] for distortion in picture.distortions}
    assert kinds == set(KINDS)


def test_pretraining_holds_nothing_withheld():
    draws, keys = rng(), first_version_keys()
    for _ in range(1500):
        scene = draw_pretraining_scene(draws)
        assert scene.key not in keys
        assert not is_unseen(scene)
        assert allowed_in_pretraining(scene)
        assert not {d.kind for d in draw_distortions(draws)} & set(WITHHELD_KINDS)
    assert set(PRETRAINING_KINDS) == set(KINDS) - set(WITHHELD_KINDS)


def test_pretraining_pairs_are_deterministic():
    first, second = render_pretraining_pairs(6, seed=3), render_pretraining_pairs(6, seed=3)
    assert first.images.shape == (6, VERSIONS, SIZE, SIZE, 3)
    assert np.array_equal(first.images, second.images)
    assert first.captions == second.captions
    for images, clean in zip(first.images, first.clean, strict=True):
        assert all(np.array_equal(images[clean][0], image) for image in images[clean])


def test_alignment_pairs_are_deterministic_and_distinct():
    images, captions = alignment_pairs(40, seed=5)
    again, _ = alignment_pairs(40, seed=5)
    assert images.shape == (40, SIZE, SIZE, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(images, again)
    assert len(set(captions)) == 40


def test_kept_alignment_pairs_are_drawn_once_and_again_where_damaged(tmp_path: Path):
    images, captions = alignment_pairs(3, seed=5)
    for damage in (b"", b"no archive", None):
        kept, kept_captions = kept_alignment_pairs(3, 5, tmp_path)
        assert np.array_equal(kept, images) and kept_captions == captions
        (file,) = tmp_path.glob("*.npz")
        if damage is not None:
            file.write_bytes(damage)
    written = file.stat().st_mtime_ns
    kept_alignment_pairs(3, 5, tmp_path)
    assert file.stat().st_mtime_ns == written


def test_captions_speak_of_quality():
    draws = rng()
    scene = draw_scene(draws, withheld=False)
    bad = [caption(scene, [Distortion("blur", 0.95)], draws) for _ in range(200)]
    good = [caption(scene, [], draws) for _ in range(200)]
    assert np.mean([bool(re.search("terrible|awful|poor|bad|damaged", c)) for c in bad]) > 0.75
    assert np.mean([bool(re.search("excellent|perfect", c)) for c in good]) > 0.75
    assert np.mean(["very blurry" in c for c in bad]) > 0.5

"""The embedded backbone: its files, its tokenizer, and its way through open_clip."""

import gzip
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from qa_core.backbones.registry import (
    TINY_MERGES,
    TINY_NAME,
    TINY_WEIGHTS,
    register_tiny,
    tiny_tokenizer,
)
from qa_core.backbones.tiny_vocabulary import learn_merges, write_merges
from qa_core.data.synthetic.captions import ADJECTIVES
from qa_core.data.synthetic.grammar import BACKGROUNDS, COLOURS, SHAPES
from qa_core.data.synthetic.render import SIZE
from qa_core.data.synthetic.scenes import alignment_pairs

CONTEXT = 40


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def loaded() -> Any:
    register_tiny()
    return open_clip.create_model_and_transforms(TINY_NAME, pretrained=str(TINY_WEIGHTS))


def test_files_are_small():
    folder = TINY_WEIGHTS.parent
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) <= 8_000_000


def test_words_of_captions_are_single_tokens(tokenizer: Any):
    for word in (*SHAPES, *COLOURS, *BACKGROUNDS, *ADJECTIVES.values(), "quality", "excellent"):
        assert len(tokenizer.encode(word)) == 1, word


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red star",
        "红色的星星在蓝色的圆圈上方",
        "звезда",
        "🦊✨ نجمة",
        "x" * 10_000,
        "星" * 10_000,
    ],
)
def test_any_script_tokenises(tokenizer: Any, text: str):
    ids = tokenizer([text])
    assert ids.shape == (1, CONTEXT)
    assert int(ids.max()) == tokenizer.eot_token_id == tokenizer.vocab_size - 1
    assert int(ids[0, 0]) == tokenizer.sot_token_id


def test_scripts_stay_apart(tokenizer: Any):
    assert tokenizer.decode(tokenizer.encode("红色的星")).strip() == "红色的星"
    assert tokenizer.encode("红") != tokenizer.encode("蓝")


def test_merges_make_one_token_of_each_word(tmp_path: Any):
    words = ["star", "stars", "start", "a", "above", "below"]
    path = tmp_path / "merges.txt.gz"
    write_merges(learn_merges(words), path)
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(path), context_length=8)
    assert all(len(tokenizer.encode(word)) == 1 for word in words)


def test_merges_file_has_no_empty_merge():
    lines = gzip.decompress(TINY_MERGES.read_bytes()).decode().split("\n")
    assert all(len(line.split()) == 2 for line in lines[1:])


def test_open_clip_loads_it(loaded: Any):
    model, _, preprocess = loaded
    assert len(model.visual.transformer.resblocks) == 12
    assert len(model.transformer.resblocks) == 4
    assert model.visual.image_size == (SIZE, SIZE)
    assert model.visual.patch_dropout.__class__ is torch.nn.Identity
    assert "Normalize" in repr(preprocess)
    assert model.token_embedding.num_embeddings == tiny_tokenizer().vocab_size


def test_registering_twice_is_registering_once():
    register_tiny()
    before = open_clip.list_models().count(TINY_NAME)
    register_tiny()
    assert open_clip.list_models().count(TINY_NAME) == before == 1


def test_it_retrieves_captions_of_unseen_scenes(loaded: Any, tokenizer: Any):
    """Far above the chance of .01: the weights are real, and so is the preprocessing."""
    model, _, _ = loaded
    images, captions = alignment_pairs(100, seed=9)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    pixels = torch.from_numpy(((images / 255 - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
    model.eval()
    with torch.no_grad():
        image = model.encode_image(pixels, normalize=True)
        text = model.encode_text(tokenizer(captions), normalize=True)
    hits = (image @ text.T).argmax(dim=1) == torch.arange(len(captions))
    assert hits.float().mean() > 0.7

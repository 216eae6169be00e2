"""The vocabulary that tests use is CLIP's: ids and files are compared with what others wrote."""

import gzip
import hashlib

import pytest

from tests.clip_vocabulary import MERGES, make_clip_tokenizer, published_files

# What open_clip 3.3.0's own SimpleTokenizer gives, between start and end of text.
IDS = {
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "a micro-expression brow lowerer photo of": [
        *(320, 11374, 268, 11357, 15895, 549, 598, 3407, 1125, 539),
    ],
    "a micro-expression inner brow raiser, outer brow raiser photo of": [
        *(320, 11374, 268, 11357, 6955, 15895, 33555, 267, 14188, 15895, 33555, 1125, 539),
    ],
    "a micro-expression happiness photo of": [320, 11374, 268, 11357, 5096, 1125, 539],
    "AU4+AU14": [2566, 275, 266, 2566, 272, 275],
    "happiness": [5096],
    "negative": [8869],
    "lip corner depressor, chin raiser": [8546, 5253, 38869, 541, 267, 8979, 33555],
    "Don't  SHOUT: 25% naïve café ☃ 表情": [
        *(847, 713, 5214, 281, 273, 276, 260, 1097, 35689, 563, 15304, 1741),
        *(481, 164, 94, 101, 162, 225, 483),
    ],
    "jekyll & hyde's 1234": [49405, 261, 16343, 568, 272, 273, 274, 275],
}


@pytest.fixture(scope="module")
def clip_tokenizer():
    return make_clip_tokenizer()


@pytest.mark.parametrize("text", IDS)
def test_texts_become_the_ids_that_open_clip_gives(clip_tokenizer, text):
    assert clip_tokenizer(text)["input_ids"] == [49406, *IDS[text], 49407]


def test_size_and_special_tokens_are_clips(clip_tokenizer):
    assert len(clip_tokenizer) == 49408
    assert (clip_tokenizer.bos_token_id, clip_tokenizer.eos_token_id) == (49406, 49407)
    assert clip_tokenizer.pad_token_id == 49407
    assert clip_tokenizer.model_max_length == 77


def test_its_files_are_those_of_the_published_repository_byte_by_byte():
    """sha256 as several public projects pin them for openai/clip-vit-base-patch32."""
    published = {
        "merges.txt": "f526393189112391ce6f9795d4695f704121ce452c3aad1f5335cc41337eba85",
        "vocab.json": "5047b556ce86ccaf6aa22b3ffccfc52d391ea4accdab9c2f2407da5b742d4363",
    }
    for name, content in published_files().items():
        assert hashlib.sha256(content.encode("utf-8")).hexdigest() == published[name], name


def test_the_stored_file_depends_on_nothing_but_the_merges():
    stored = MERGES.read_bytes()
    assert stored[4:8] == bytes(4)  # gzip's time stamp
    assert len(gzip.decompress(stored).splitlines()) == 48894

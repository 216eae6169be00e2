"""The tokenizer belongs to the weights, and a CLIP of CLIP's vocabulary can name colours."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPTokenizer

from hcp_mer.doctor import zero_shot
from tests.clip_at_true_size import PREPROCESSING, WEIGHTS_BYTES, write_random_clip
from tests.clip_vocabulary import make_clip_tokenizer, make_vocabulary, read_merges
from tests.conftest import make_tiny_clip


@pytest.fixture(scope="module")
def clip_tokenizer():
    return make_clip_tokenizer()


def tiny_with_clips_vocabulary(folder, tokenizer, teach=False, **text_options):
    text = {"vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 49407}
    clip = make_tiny_clip(**{**text, "bos_token_id": 49406, "pad_token_id": 49407, **text_options})
    if teach:
        teach_colours(clip, tokenizer)
    clip.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def teach_colours(clip, tokenizer):
    """Some steps of CLIP's own training on squares of slightly other colours than the doctor's."""
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    names = list(zero_shot.COLOURS)
    texts = tokenizer([f"the color {n}" for n in names], padding=True, return_tensors="pt")
    colours = torch.tensor(list(zero_shot.COLOURS.values())) / 255 * 0.9 + 0.04
    pixels = (colours - torch.tensor(OPENAI_CLIP_MEAN)) / torch.tensor(OPENAI_CLIP_STD)
    pixels = pixels[:, :, None, None].expand(-1, -1, 32, 32)
    clip.text_model.embeddings.token_embedding.requires_grad_(False)  # most of the work
    optimiser = torch.optim.Adam([p for p in clip.parameters() if p.requires_grad], lr=5e-3)
    for _ in range(40):
        loss = clip(**texts, pixel_values=pixels, return_loss=True).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


def test_clips_vocabulary_is_known_by_its_ids_and_random_weights_by_their_answers(
    backbone_of, tmp_path, clip_tokenizer
):
    backbone = backbone_of(tiny_with_clips_vocabulary(tmp_path / "tiny", clip_tokenizer))
    verdict = backbone.check_tokenizer()
    assert verdict.state == "ok"
    assert "ids as CLIP's" in verdict.found
    verdict = zero_shot.check_knowledge(backbone)
    assert verdict.state == "wrong"
    assert "plain colours" in verdict.found


def test_a_clip_that_was_taught_colours_is_believed(backbone_of, tmp_path, clip_tokenizer):
    folder = tiny_with_clips_vocabulary(tmp_path / "tiny", clip_tokenizer, teach=True)
    verdict = zero_shot.check_knowledge(backbone_of(folder))
    assert verdict.state == "ok", verdict.found


def test_two_words_exchanged_in_the_vocabulary_are_noticed(backbone_of, tmp_path, clip_tokenizer):
    vocabulary = make_vocabulary()
    vocabulary["cat</w>"], vocabulary["dog</w>"] = vocabulary["dog</w>"], vocabulary["cat</w>"]
    folder = tiny_with_clips_vocabulary(tmp_path / "tiny", clip_tokenizer)
    CLIPTokenizer(vocab=vocabulary, merges=read_merges()).save_pretrained(folder)
    verdict = backbone_of(folder).check_tokenizer()
    assert verdict.state == "wrong"
    assert "49406, 320, 1125, 539, 320, 2368, 49407" in verdict.found


def test_a_tokenizer_of_another_model_is_noticed(
    backbone_of, tmp_path, clip_tokenizer, tiny_backbone
):
    folder = Path(shutil.copytree(tiny_backbone, tmp_path / "tiny"))
    clip_tokenizer.save_pretrained(folder)
    assert "has 49408 tokens, the text tower 827" in backbone_of(folder).check_tokenizer().found


def test_texts_that_the_tokenizer_cannot_spell_are_noticed(backbone_of, tmp_path):
    tokens = ["<|startoftext|>", "<|endoftext|>", "a", "a</w>", "o", "o</w>"]
    tokenizer = CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=[])
    make_tiny_clip(vocab_size=6).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "pieces that the tokenizer lacks" in backbone_of(tmp_path).check_tokenizer().found


def test_prompts_longer_than_the_text_tower_reads_are_noticed(
    backbone_of, tmp_path, clip_tokenizer
):
    folder = tiny_with_clips_vocabulary(
        tmp_path / "tiny", clip_tokenizer, max_position_embeddings=12
    )
    verdict = backbone_of(folder).check_tokenizer()
    assert verdict.state == "wrong"
    assert "the text tower takes 12" in verdict.found


@pytest.fixture(scope="module")
def random_clip(tmp_path_factory):
    return write_random_clip(tmp_path_factory.mktemp("true-size") / "clip-vit-base-patch32")


@pytest.mark.slow
def test_a_random_clip_of_true_size_is_right_in_everything_but_what_it_knows(
    backbone_of, random_clip
):
    assert (random_clip / "model.safetensors").stat().st_size == WEIGHTS_BYTES
    backbone = backbone_of(random_clip)
    for check in (backbone.check_place, backbone.check_sizes, backbone.check_tokenizer):
        assert check().state == "ok"
    weights = backbone.check_weights()
    assert weights.state == "look"  # its hash cannot be the published one
    assert "151,277,313 parameters, scale 100.00" in weights.found
    assert zero_shot.check_knowledge(backbone).state == "wrong"


@pytest.mark.slow
def test_pickled_weights_as_the_published_main_has_them_are_the_same_model(
    backbone_of, random_clip, tmp_path
):
    pickled = write_random_clip(tmp_path / "clip-vit-base-patch32", pickled=True)
    assert not (pickled / "model.safetensors").exists()
    backbone = backbone_of(pickled)
    assert "pytorch_model.bin" in backbone.check_place().found
    assert backbone.check_weights().state == "look"
    expected = load_file(random_clip / "model.safetensors")
    for name, value in backbone.model.clip.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.slow
def test_at_true_size_prompts_are_encoded_as_clip_encodes_their_text(backbone_of, random_clip):
    """The published configuration says eos_token_id 2: transformers then pools in its old way."""
    backbone = backbone_of(random_clip)
    model, clip = backbone.model, CLIPModel.from_pretrained(random_clip).eval()
    assert clip.config.text_config.eos_token_id == 2
    names = ["negative", "positive", "surprise"]
    texts = [f"a micro-expression {name} photo of" for name in names]
    texts += ["a micro-expression brow lowerer, nose wrinkler photo of"]  # negative's first set
    inputs = backbone.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = clip.get_text_features(**inputs).pooler_output
        found = model.encode_prompts()[:4]
    assert expected.std(dim=0).mean() > 0.01  # the four differ
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_preprocessing_at_true_size_is_the_published_file():
    """sha256 as public projects pin it for openai/clip-vit-base-patch32."""
    content = json.dumps(PREPROCESSING, indent=2) + "\n"
    digest = "910e70b3956ac9879ebc90b22fb3bc8a75b6a0677814500101a4c072bd7857bd"
    assert hashlib.sha256(content.encode()).hexdigest() == digest

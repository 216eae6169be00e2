"""Small things that every room's tests share: a tiny CLIP, its tokenizer, prompt groups."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # a test that reaches for the network must fail at once
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, by whoever opens a film first

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from hcp_mer.pretraining.captions import make_tokenizer

torch.set_num_threads(1)

GROUPS = [
    {"label": "negative", "emotion": "negative", "action_units": [[4], [9, 10], [15, 17]]},
    {"label": "positive", "emotion": "positive", "action_units": [[6, 12]]},
    {"label": "surprise", "emotion": "surprise", "action_units": [[1, 2], [5, 26]]},
]


def make_tiny_clip(seed: int = 0, hidden_size: int = 32, **text_options) -> CLIPModel:
    """A random CLIP of width 32 that reads 32 px images; eval mode."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    common = {
        "hidden_size": hidden_size,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": 24,
    }
    text = {
        **common,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 48,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
        **text_options,
    }
    vision = {**common, "image_size": 32, "patch_size": 16}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    model = CLIPModel(config).eval()
    # CLIP initialises its token embeddings at 0.02: too alike for a test to tell texts apart.
    torch.nn.init.normal_(model.text_model.embeddings.token_embedding.weight, std=0.5)
    return model


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def tiny_clip():
    return make_tiny_clip()


@pytest.fixture
def groups():
    return [dict(group) for group in GROUPS]


@pytest.fixture
def make_model(tiny_clip, tokenizer, groups):
    """make_model(**options) → an untrained HcpMerModel on the tiny CLIP."""
    from hcp_mer.model.modeling_hcp_mer import HcpMerModel

    def make(prompt_groups=None, clip=None, **options):
        return HcpMerModel.from_backbone(
            clip or tiny_clip, prompt_groups or groups, tokenizer=tokenizer, **options
        )

    return make


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory, tokenizer):
    """A folder with the tiny CLIP as a Hub repository would hold it."""
    folder = tmp_path_factory.mktemp("tiny-clip")
    make_tiny_clip().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

"""CLIP's own byte-pair vocabulary, so that tests need no download to write what CLIP reads."""

import gzip
import json
from pathlib import Path

MERGES = Path(__file__).with_name("merges.txt.gz")


def read_merges() -> list[tuple[str, str]]:
    """The 48,894 byte-pair merges in the order of their rank."""
    lines = gzip.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()
    return [tuple(line.split(" ")) for line in lines]


def make_vocabulary() -> dict[str, int]:
    """Token → id, all 49,408: bytes, bytes that end a word, merges, start and end of text."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    # CLIP numbers printable bytes first, as the table lists them: sorting would renumber them.
    alphabet = list(bytes_to_unicode().values())
    tokens = alphabet + [letter + "</w>" for letter in alphabet]
    tokens += ["".join(pair) for pair in read_merges()]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}


def make_clip_tokenizer():
    """The tokenizer of OpenAI's CLIP models, without a network."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=make_vocabulary(), merges=read_merges(), model_max_length=77)


def published_files() -> dict[str, str]:
    """`merges.txt` and `vocab.json` as the repository openai/clip-vit-base-patch32 holds them."""
    merges = "\n".join(" ".join(pair) for pair in read_merges())
    vocabulary = json.dumps(make_vocabulary(), ensure_ascii=False, separators=(",", ":"))
    return {
        "merges.txt": f"#version: 0.2 - Trained by `huggingface/tokenizers`\n{merges}\n",
        "vocab.json": vocabulary,
    }

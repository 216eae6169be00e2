"""Face-motion CLIP: a small CLIP pretrained on procedural faces, for machines without a network.

Two views of a clip meet two captions in one space, by the very preprocessing that pairs go
through: the magnified apex and its emotion, the flow image and its action units. The people it
sees are rendered from seeds that no corpus uses. It is a stand-in that lets everything run, not a
model of real faces.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hcp_mer.data.synthetic.actions import ACTION_UNITS
from hcp_mer.model.flow_image_hcp_mer import flip_flow_image
from hcp_mer.pretraining.captions import (
    covered_emotions,
    face_caption,
    make_tokenizer,
    motion_caption,
)
from hcp_mer.pretraining.samples import (
    EMOTIONS,
    FREE,
    STORED_SIZE,
    FaceMotionSamples,
    PretrainingSettings,
)

IMAGE_SIZE = 60
IMAGE_MEAN, IMAGE_STD = 0.5, 0.25


def make_backbone(tokenizer):
    """An untrained CLIPModel of 1.0 M parameters: 60 px, patches of 12, width 128."""
    from transformers import CLIPConfig, CLIPModel

    width = 128
    common = {
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_attention_heads": 4,
        "projection_dim": width,
    }
    text = {
        **common,
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 48,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }
    vision = {**common, "num_hidden_layers": 3, "image_size": IMAGE_SIZE, "patch_size": 12}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width))


def pretrain(
    samples: FaceMotionSamples,
    settings: PretrainingSettings,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
):
    """Train the backbone on rendered samples.

    Args: on_epoch: called with epoch and mean loss.
    Returns: (CLIPModel rounded to fp16 values and held in fp32, its tokenizer).
    """
    torch.manual_seed(settings.seed)
    tokenizer = make_tokenizer()
    model = make_backbone(tokenizer)
    au_bias = torch.nn.Parameter(torch.tensor(-2.0))  # of the action-unit evidence; not kept
    model.logit_scale.data.fill_(np.log(10.0))
    num_batches = len(samples) // settings.batch_size
    optimiser = torch.optim.AdamW(
        [*model.parameters(), au_bias], weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        settings.learning_rate,
        total_steps=max(settings.epochs * num_batches, 40) + 1,
        pct_start=0.1,
    )
    rng = np.random.default_rng(settings.seed)
    for epoch in range(settings.epochs):
        losses = []
        for batch in np.array_split(rng.permutation(len(samples)), num_batches):
            loss = _pretraining_loss(model, tokenizer, au_bias, samples, batch, rng)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        on_epoch(epoch, float(np.mean(losses)))
    # Learnt scales sharpen on easy rendered data; 10 is what the heads were measured with.
    model.logit_scale.data.fill_(np.log(10.0))
    return model.half().float().eval(), tokenizer


def _pretraining_loss(model, tokenizer, au_bias, samples, batch, rng) -> Tensor:
    """Face ↔ emotion captions, flow ↔ action-unit captions, and flow → every single unit."""
    mirrored = bool(rng.random() < 0.5)
    faces = _augment(samples.faces[batch], mirrored, rng, is_flow=False)
    flows = _augment(samples.flows[batch], mirrored, rng, is_flow=True)
    emotions = samples.emotions[batch]
    units = samples.action_units[batch]
    scale = model.logit_scale.exp().clamp(max=50)

    known = np.flatnonzero(emotions != FREE)
    words = [_coarser(EMOTIONS[emotions[i]], rng) for i in known]
    true = [[EMOTIONS[emotions[i]] in covered_emotions(w) for w in words] for i in known]
    face_texts = encode_texts(model, tokenizer, [face_caption(w, rng) for w in words])
    loss = _soft_contrast(scale * encode(model, faces[known]) @ face_texts.T, torch.tensor(true))

    motion = encode(model, flows)
    captions = [
        motion_caption([ACTION_UNITS[k] for k in np.flatnonzero(row)], rng) for row in units
    ]
    rows = torch.from_numpy(units).float()
    shared = rows @ rows.T
    overlap = shared / (rows.sum(1)[:, None] + rows.sum(1)[None] - shared)
    alike = overlap**2 * (overlap > 0.45)  # captions that name nearly the same units
    texts = encode_texts(model, tokenizer, captions)
    loss = loss + _soft_contrast(scale * motion @ texts.T, alike)

    singles = encode_texts(model, tokenizer, [motion_caption([u], rng) for u in ACTION_UNITS])
    evidence = scale * motion @ singles.T + au_bias
    return loss + 2 * F.binary_cross_entropy_with_logits(evidence, rows)


def _coarser(emotion: str, rng: np.random.Generator) -> str:
    """The emotion, or now and then the class it falls in under the 3-class task."""
    coarse = [w for w in ("negative", "positive") if emotion in covered_emotions(w)]
    return coarse[0] if coarse and rng.random() < 0.35 else emotion


def _soft_contrast(logits: Tensor, alike: Tensor) -> Tensor:
    """Symmetric cross-entropy against soft targets: several captions can be true of one image."""
    target = alike.float()
    images = target / target.sum(1, keepdim=True)
    texts = (target / target.sum(0, keepdim=True)).T
    return -(
        (images * logits.log_softmax(1)).sum(1).mean()
        + (texts * logits.T.log_softmax(1)).sum(1).mean()
    )


def _augment(images: np.ndarray, mirrored: bool, rng: np.random.Generator, is_flow: bool) -> Tensor:
    """Mirror, crop, and for faces other brightness and contrast: (n, 3, 60, 60) normalised."""
    if mirrored:
        images = np.stack([flip_flow_image(i) for i in images]) if is_flow else images[:, :, ::-1]
    top, left = rng.integers(0, STORED_SIZE - IMAGE_SIZE + 1, 2)
    cropped = images[:, top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
    pixels = _normalise(cropped)
    if not is_flow:
        pixels = pixels * (1 + 0.15 * torch.randn(len(pixels), 1, 1, 1))
        pixels = pixels + 0.15 * torch.randn(len(pixels), 3, 1, 1)
    return pixels + 0.05 * torch.randn_like(pixels)


def _normalise(images: np.ndarray) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return (pixels - IMAGE_MEAN) / IMAGE_STD


def encode(model, pixels: Tensor) -> Tensor:
    """Unit-norm image features (n, projection_dim)."""
    return F.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)


def encode_texts(model, tokenizer, captions: list[str]) -> Tensor:
    """Unit-norm text features (n, projection_dim)."""
    tokens = tokenizer(captions, padding=True, truncation=True, max_length=48, return_tensors="pt")
    features = model.get_text_features(
        input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
    )
    return F.normalize(features.pooler_output, dim=-1)


@torch.inference_mode()
def validate(model, tokenizer, samples: FaceMotionSamples) -> dict[str, float]:
    """Zero-shot scores on people that pretraining did not see.

    Returns: emotion_accuracy over the seven emotions from the face alone, action_unit_auc, the
        mean area under the ROC curve of single action units from the flow image alone.
    """
    from sklearn.metrics import roc_auc_score

    margin = (STORED_SIZE - IMAGE_SIZE) // 2
    inner = slice(margin, margin + IMAGE_SIZE)
    faces, flows = (
        torch.cat(
            [encode(model, _normalise(part[:, inner, inner])) for part in np.array_split(views, 8)]
        )
        for views in (samples.faces, samples.flows)
    )
    prompt = "a micro-expression {} photo of".format
    words = encode_texts(model, tokenizer, [prompt(emotion) for emotion in EMOTIONS])
    known = samples.emotions != FREE
    answers = (faces[torch.from_numpy(known)] @ words.T).argmax(1).numpy()
    rng = np.random.default_rng(0)
    units = encode_texts(model, tokenizer, [motion_caption([u], rng) for u in ACTION_UNITS])
    evidence = (flows @ units.T).numpy()
    areas = [
        roc_auc_score(samples.action_units[:, k], evidence[:, k])
        for k in range(len(ACTION_UNITS))
        if 0 < samples.action_units[:, k].sum() < len(samples)
    ]
    return {
        "emotion_accuracy": float((answers == samples.emotions[known]).mean()),
        "action_unit_auc": float(np.mean(areas)),
    }

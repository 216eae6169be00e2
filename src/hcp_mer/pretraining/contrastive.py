"""Face-motion CLIP: a small CLIP pretrained on what is rendered, for machines without a network.

Two views meet captions in one space: optical flow, rendered straight from action units as many
pipelines would show it, and magnified apex frames of procedural faces under other cameras. The
people it sees are rendered from seeds that no corpus uses. It is a stand-in that lets everything
run and reads action units off flow, not a model of real faces.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from hcp_mer.data.synthetic.actions import ACTION_UNITS
from hcp_mer.files import save_tensors
from hcp_mer.pretraining.batch_dice import BatchDice
from hcp_mer.pretraining.captions import (
    EMOTION_WORDS,
    covered_emotions,
    face_caption,
    make_tokenizer,
    motion_caption,
)
from hcp_mer.pretraining.face_randomisation import cropped, randomised_faces
from hcp_mer.pretraining.flow_renderer import (
    draw_action_units,
    mirror,
    render_flow,
    standardise,
)
from hcp_mer.pretraining.samples import EMOTIONS, FREE, FaceMotionSamples, PretrainingSettings

IMAGE_MEAN, IMAGE_STD = 0.5, 0.25
_WIDTH = 128
_MOST_TOKENS = 48
_POSITION_SPREAD = 0.4  # of the first position embeddings; patch embeddings begin at 0.3
_CAPTIONED = 64  # flows of a batch that meet captions of whole combinations
_KEPT_EVERY = 200  # steps between two snapshots
_WARM_UP = 0.1
_THREE_CLASSES = ("negative", "positive", "surprise")


def make_backbone(tokenizer, image_size: int, patch_size: int):
    """An untrained CLIPModel of 1.0 M parameters: 7 × 7 patches, width 128, 3 and 2 layers."""
    from transformers import CLIPConfig, CLIPModel

    common = {
        "hidden_size": _WIDTH,
        "intermediate_size": 3 * _WIDTH,
        "num_attention_heads": 4,
        "projection_dim": _WIDTH,
    }
    text = {
        **common,
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": _MOST_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }
    vision = {**common, "num_hidden_layers": 3}
    vision |= {"image_size": image_size, "patch_size": patch_size}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=_WIDTH))
    model.logit_scale.data.fill_(np.log(10.0))
    # CLIP's own first position embeddings are too faint beside its patch embeddings to learn
    # quickly where something moves.
    positions = _POSITION_SPREAD * _waves(image_size // patch_size, _WIDTH)
    model.vision_model.embeddings.position_embedding.weight.data[1:] = positions
    return model


def _waves(side: int, width: int) -> Tensor:
    """Sines and cosines of rows and columns at several frequencies, (side², width)."""
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    frequencies = 4 * np.pi / side * 20.0 ** (-np.arange(width // 4) / (width // 4))
    parts = [
        wave(place.reshape(-1, 1) * frequencies)
        for place in (columns, rows)
        for wave in (np.sin, np.cos)
    ]
    return torch.from_numpy(np.concatenate(parts, axis=1)).float()


class Pretraining(nn.Module):
    """The backbone, and what is trained with it and not kept: the evidence's scale and offsets."""

    def __init__(self, settings: PretrainingSettings):
        super().__init__()
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.tokenizer = make_tokenizer()
        self.clip = make_backbone(self.tokenizer, settings.image_size, settings.patch_size)
        self.unit_scale = nn.Parameter(torch.tensor(15.0).log())
        self.unit_offsets = nn.Parameter(torch.full((len(ACTION_UNITS),), -2.0))

    def loss(self, samples: FaceMotionSamples, step: int) -> Tensor:
        """One batch, drawn from the seed and the step alone: flows and faces ↔ captions."""
        settings = self.settings
        rng = np.random.default_rng((settings.seed, step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        flows, units, emotions = self._flows(samples, step, rng, generator)
        rows = rng.choice(len(samples), settings.faces_per_batch, replace=False)
        levels = torch.from_numpy(samples.faces[rows]).permute(0, 3, 1, 2).float() / 255
        faces = randomised_faces(levels, generator, settings.image_size)
        images = torch.cat([flows, (faces - IMAGE_MEAN) / IMAGE_STD])
        of_flows, of_faces = encode(self.clip, images).split([len(flows), len(faces)])

        combinations, singles, words = self._texts(units[:_CAPTIONED], rng)
        shown = torch.from_numpy(samples.action_units[rows]).float()
        return (
            self._combinations(of_flows[:_CAPTIONED], combinations, units[:_CAPTIONED])
            + 3.0 * self._single_units(of_flows, singles, units)
            + 0.5 * self._emotions(of_flows, words, emotions)
            + 1.5 * self._single_units(of_faces, singles, shown)
            + 1.0 * self._emotions(of_faces, words, samples.emotions[rows])
        )

    def _flows(
        self, samples: FaceMotionSamples, step: int, rng, generator
    ) -> tuple[Tensor, Tensor, np.ndarray]:
        """Standardised flow images, mostly rendered from action units, some of our own pipeline."""
        settings = self.settings
        num_own = round(settings.flows_per_batch * settings.own_share)
        drawn, emotions = draw_action_units(settings.flows_per_batch - num_own, rng)
        # Clean motion first: where a unit acts is learnt before what can hide it.
        progress = step / settings.num_steps
        disturbed = rng.random() < np.clip((progress - 0.12) / 0.35, 0, 0.9)
        rendered = render_flow(torch.from_numpy(drawn), generator, settings.image_size, disturbed)
        rows = rng.choice(len(samples), num_own, replace=False)
        own = torch.from_numpy(samples.flows[rows]).permute(0, 3, 1, 2).float()
        own = cropped(own, BatchDice(generator, num_own), settings.image_size)
        flows = standardise(torch.cat([rendered, own]))
        flows = mirror(flows) if rng.random() < 0.5 else flows
        dice = BatchDice(generator, len(flows))
        flows = flows * dice.log_uniform(0.7, 1.4, 3, 1, 1) + 0.05 * dice.normal(*flows.shape[1:])
        units = np.concatenate([drawn, samples.action_units[rows].astype(np.float32)])
        return flows, torch.from_numpy(units), np.concatenate([emotions, samples.emotions[rows]])

    def _texts(self, units: Tensor, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Captions of the flows' combinations, of each unit, and of each emotion word."""
        combinations = [
            motion_caption([ACTION_UNITS[k] for k in row.nonzero()[:, 0]], rng) for row in units
        ]
        singles = [motion_caption([unit], rng) for unit in ACTION_UNITS]
        words = [face_caption(word, rng) for word in EMOTION_WORDS]
        together = encode_texts(self.clip, self.tokenizer, [*combinations, *singles, *words])
        return together.split([len(combinations), len(singles), len(words)])

    def _combinations(self, images: Tensor, texts: Tensor, units: Tensor) -> Tensor:
        """Contrast between images and captions, both ways; captions of nearly the same units are
        true of one image as well.
        """
        shared = units @ units.T
        overlap = shared / (units.sum(1)[:, None] + units.sum(1)[None] - shared)
        alike = overlap**2 * (overlap > 0.45)
        of_images = alike / alike.sum(1, keepdim=True)
        of_texts = (alike / alike.sum(0, keepdim=True)).T
        logits = self._scale() * images @ texts.T
        return -(
            (of_images * logits.log_softmax(1)).sum(1).mean()
            + (of_texts * logits.T.log_softmax(1)).sum(1).mean()
        )

    def _single_units(self, images: Tensor, texts: Tensor, units: Tensor) -> Tensor:
        evidence = self.unit_scale.exp() * images @ texts.T + self.unit_offsets
        return F.binary_cross_entropy_with_logits(evidence, units)

    def _emotions(self, images: Tensor, texts: Tensor, emotions: np.ndarray) -> Tensor:
        """Among the seven emotions, and among the three classes that they merge into."""
        known = torch.from_numpy(np.flatnonzero(emotions != FREE))
        logits = self._scale() * images[known] @ texts.T
        words = list(EMOTION_WORDS)
        seven = logits[:, [words.index(word) for word in EMOTIONS]]
        target = torch.from_numpy(emotions)[known]
        true = torch.tensor(
            [[name in covered_emotions(word) for word in _THREE_CLASSES] for name in EMOTIONS]
        )[target].float()
        merged = true.any(1)
        three = logits[merged][:, [words.index(word) for word in _THREE_CLASSES]].log_softmax(1)
        return F.cross_entropy(seven, target) - (true[merged] * three).sum(1).mean()

    def _scale(self) -> Tensor:
        return self.clip.logit_scale.exp().clamp(max=50)


def pretrain(
    samples: FaceMotionSamples,
    settings: PretrainingSettings,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    snapshot: Path | None = None,
):
    """Train the backbone.

    Args:
        on_step: called with step and loss. snapshot: a file to go on from after a stop; every draw
            follows from seed and step, so that the result is that of an uninterrupted run.
    Returns: (CLIPModel rounded to fp16 values and held in fp32, its tokenizer, the loss of each
        step (num_steps,)).
    """
    trained = Pretraining(settings)
    optimiser = torch.optim.AdamW(trained.parameters(), weight_decay=settings.weight_decay)
    losses = _restored(trained, optimiser, snapshot)
    for step in range(len(losses), settings.num_steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings)
        loss = trained.loss(samples, step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.clip.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        on_step(step, losses[-1])
        if snapshot and (step + 1) % _KEPT_EVERY == 0:
            save_tensors(snapshot, _state(trained, optimiser, losses))
    # Learnt scales sharpen on easy rendered data; 10 is what the heads were measured with.
    trained.clip.logit_scale.data.fill_(np.log(10.0))
    return trained.clip.half().float().eval(), trained.tokenizer, losses


def learning_rate(step: int, settings: PretrainingSettings) -> float:
    """Rises in a line over the first tenth, then falls as a cosine to 0."""
    progress = (step + 1) / settings.num_steps
    if progress < _WARM_UP:
        return settings.learning_rate * progress / _WARM_UP
    return (
        settings.learning_rate * 0.5 * (1 + np.cos(np.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))
    )


def _state(
    trained: nn.Module, optimiser: torch.optim.Optimizer, losses: list[float]
) -> dict[str, Tensor]:
    state = {"losses": torch.tensor(losses, dtype=torch.float64)}
    for name, parameter in trained.named_parameters():
        state[f"weight/{name}"] = parameter.detach().clone()
        moments = optimiser.state[parameter]
        state |= {f"{key}/{name}": value.clone() for key, value in moments.items()}
    return state


@torch.no_grad()
def _restored(
    trained: nn.Module, optimiser: torch.optim.Optimizer, snapshot: Path | None
) -> list[float]:
    """The losses of the steps that were taken already; weights and moments are put in place."""
    if snapshot is None or not snapshot.is_file():
        return []
    state = load_file(snapshot)
    for name, parameter in trained.named_parameters():
        parameter.copy_(state[f"weight/{name}"])
        optimiser.state[parameter] = {
            key: state[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
        }
    return state["losses"].tolist()


def encode(model, pixels: Tensor) -> Tensor:
    """Unit-norm image features (n, projection_dim)."""
    return F.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)


def encode_texts(model, tokenizer, captions: list[str]) -> Tensor:
    """Unit-norm text features (n, projection_dim)."""
    tokens = tokenizer(
        captions, padding=True, truncation=True, max_length=_MOST_TOKENS, return_tensors="pt"
    )
    features = model.get_text_features(
        input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
    )
    return F.normalize(features.pooler_output, dim=-1)

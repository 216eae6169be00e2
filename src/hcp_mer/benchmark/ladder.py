"""How much faster leave-one-subject-out training became, step by step, with equal losses.

Everything is random but its size: a CLIP, its images, their labels. The prompts' tokens are CLIP's
own, kept in prompts.json, so that nothing but torch and transformers is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPConfig

from hcp_mer.benchmark.timing import alternate, machine
from hcp_mer.model.configuration_hcp_mer import HcpMerConfig
from hcp_mer.model.losses_hcp_mer import balanced_alpha, total_loss
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.fast_linear import MARGIN, measured_gains, swapped
from hcp_mer.training.stacked import Optimisation, Stack, TrainingSet

PROMPTS = Path(__file__).with_name("prompts.json")
EXACT = 1e-5  # a larger difference of losses than that, and a step is not counted as exact
STEPS = (
    "straightforward",
    "visual features once",
    "prompts at real length",
    "one prefix tree",
    "folds side by side",  # what the package does
    "fast linear",
)
STOCK, FAST = STEPS[4:]
_BATCHES_PER_EPOCH = 3

Texts = Callable[[Tensor], Tensor]
Features = Callable[[Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class LadderSettings:
    """What is trained, and how long.

    Attributes:
        classes: 3, 4 or 7, the facs-*class.yaml prompts with action units as codes; all_sets: with
            every action-unit set of theirs, or with the first of each class, which makes one
            holistic and one componential prompt as in the paper's equations; folds: how many side
            by side; steps: how many are timed at most; seconds: how long at most, a round of all
            sides more or less.
    """

    classes: int = 3
    all_sets: bool = False
    folds: int = 24
    batch_size: int = 16
    steps: int = 20
    seconds: float = 210.0
    device: str = "cpu"


def clip_prompts(classes: int) -> dict[str, Any]:
    """{"prompt_groups", "prompt_token_ids"} of the task with so many classes."""
    return json.loads(PROMPTS.read_text(encoding="utf-8"))[f"{classes}-class"]


def first_sets(prompts: dict[str, Any]) -> dict[str, Any]:
    """The same with one action-unit set, so one componential prompt, per class."""
    groups = [{**g, "action_units": g["action_units"][:1]} for g in prompts["prompt_groups"]]
    tokens = prompts["prompt_token_ids"]
    tokens = {**tokens, "componential": [sets[:1] for sets in tokens["componential"]]}
    return {"prompt_groups": groups, "prompt_token_ids": tokens}


def random_model(
    clip_config: CLIPConfig, prompts: dict[str, Any], device: str = "cpu"
) -> HcpMerModel:
    """An HcpMerModel of these sizes with random weights, CLIP's logit scale of 100."""
    torch.manual_seed(0)
    config = HcpMerConfig(
        clip_config=clip_config,
        au_text="codes",
        similarity_scale=100.0,
        **prompts,
    )
    model = HcpMerModel(config)
    model.prompts.reset_context(model.clip.text_model)
    return model.to(device).eval()


def padded_texts(model: HcpMerModel, length: int | None = None) -> Texts:
    """contexts (num_slots, hidden) → (num_prompts, projection_dim), every prompt by itself.

    `length`: tokens that each prompt is filled up to, as CLIP's tokenizer does; None for the
    longest prompt's.
    """
    sequences = [prompt.tokens for prompt in model.prompts.prompts]
    ends = torch.tensor([len(sequence) - 1 for sequence in sequences], device=model.device)
    length = length or max(map(len, sequences))
    rows = [[*each, *[each[-1]] * (length - len(each))] for each in sequences]
    tokens = torch.tensor(rows, device=model.device)  # (num_prompts, length), −1−slot for contexts
    is_slot, slots = (tokens < 0)[..., None], (-1 - tokens).clamp_min(0)
    prompt = torch.arange(len(sequences), device=model.device)
    clip = model.clip

    def encode(context: Tensor) -> Tensor:
        words = clip.text_model.embeddings.token_embedding(tokens.clamp_min(0))
        states = torch.where(is_slot, context[slots], words)
        states = states + clip.text_model.embeddings.position_embedding.weight[:length]
        states = clip.text_model.encoder(
            inputs_embeds=states, attention_mask=None, is_causal=True
        ).last_hidden_state
        states = clip.text_model.final_layer_norm(states)
        return clip.text_projection(states[prompt, ends])

    return encode


class OneFold:
    """Training one fold by itself, as one would write it down; sides differ in what they encode."""

    def __init__(
        self,
        model: HcpMerModel,
        fold: TrainingSet,
        optimisation: Optimisation,
        encode_texts: Texts,
        encode_images: Features | None = None,
    ):
        """`encode_images`: rows → branch → features; None takes the fold's own, computed before."""
        self.model, self.labels = model, fold.labels.to(model.device)
        self.inputs = {branch: rows.to(model.device) for branch, rows in fold.inputs.items()}
        self.encode_texts, self.encode_images = encode_texts, encode_images
        self.head = model.new_head(fold.seed)
        self.context = nn.Parameter(model.prompts.context.detach().clone())
        counts = fold.labels.bincount(minlength=model.config.num_classes)
        self.alpha = balanced_alpha(counts).to(model.device)
        self.optimiser = torch.optim.AdamW(
            [*self.head.parameters(), self.context],
            lr=optimisation.learning_rate,
            weight_decay=optimisation.weight_decay,
        )
        batches, _ = optimisation.schedule(len(fold.labels), fold.seed)
        self.batches = iter(torch.from_numpy(batches).to(model.device))

    def step(self) -> float:
        """One optimiser step; returns the loss."""
        rows = next(self.batches)
        if self.encode_images is None:
            features = {branch: values[rows] for branch, values in self.inputs.items()}
        else:
            features = self.encode_images(rows)
        output = self.head(features, self.encode_texts(self.context))
        loss = total_loss(output, self.labels[rows], self.alpha, self.model.config)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()


def run_ladder(
    settings: LadderSettings, clip_config: CLIPConfig | None = None, prompts: dict | None = None
) -> dict[str, Any]:
    """Time every way to train and compare its losses with the straightforward one's.

    Args:
        clip_config: sizes, ViT-B/32's by default; prompts: as `clip_prompts` returns them.
    Returns: what `scripts/benchmark.py loso --json` writes: "machine", "settings", "steps" (per
        fold and optimiser step), "fast_linear", "ratio_stock", "ratio_best", "best",
        "max_loss_difference" and over how many steps, "compared_steps".
    """
    _use_exact_arithmetic(settings.device)
    prompts = prompts or clip_prompts(settings.classes)
    prompts = prompts if settings.all_sets else first_sets(prompts)
    model = random_model(clip_config or CLIPConfig(), prompts, settings.device)
    num_rows = settings.folds * model.prompts.num_tokens
    gains = measured_gains(model.clip.text_model, num_rows)
    fast_layers = [layer for layer, gain in gains.items() if gain >= MARGIN]
    sides = _sides(model, settings, fast_layers)
    synchronise = torch.cuda.synchronize if settings.device.startswith("cuda") else lambda: None
    samples = alternate(sides, settings.steps, settings.seconds, synchronise)
    steps = _steps(samples, settings)
    by_name = {step["name"]: step for step in steps}
    exact = [step for step in steps if step["max_loss_difference"] <= EXACT]
    best = max(exact, key=lambda step: step["ratio"])
    return {
        "machine": machine(settings.device),
        "settings": asdict(settings) | _sizes(model),
        "steps": steps,
        "fast_linear": {
            "used": bool(fast_layers),
            "needed_gain": MARGIN,
            # 0 where it cannot be used
            "measured_gain": {
                f"{layer.in_features}x{layer.out_features}": gain for layer, gain in gains.items()
            },
        },
        "ratio_stock": by_name[STOCK]["ratio"],
        "ratio_best": best["ratio"],
        "best": best["name"],
        "max_loss_difference": max(step["max_loss_difference"] for step in steps),
        "compared_steps": len(samples[STEPS[0]].values),
    }


def _sides(
    model: HcpMerModel, settings: LadderSettings, fast_layers: list[nn.Linear]
) -> dict[str, Callable[[], float]]:
    """Name → one optimiser step of fold 0 alone or of all folds; returns the loss of fold 0."""
    images, sets = _random_folds(model, settings)
    epochs = -(-(settings.steps + 1) // _BATCHES_PER_EPOCH)
    optimisation = Optimisation(epochs, settings.batch_size, 1e-4, 0.01)

    @torch.no_grad()
    def look_again(rows: Tensor) -> dict[str, Tensor]:
        views = [images[branch][rows] for branch in model.config.branches]
        pooled = model.encode_images(torch.cat(views)).pooled
        return dict(zip(model.config.branches, pooled.split(settings.batch_size)))

    full = model.config.clip_config.text_config.max_position_embeddings
    ways: list[tuple[Texts, Features | None]] = [
        (padded_texts(model, full), look_again),
        (padded_texts(model, full), None),
        (padded_texts(model), None),
        (model.encode_prompts, None),
    ]
    sides = {
        name: OneFold(model, sets[0], optimisation, *way).step for name, way in zip(STEPS, ways)
    }
    sides[STOCK] = _stacked_step(model, sets, optimisation, [])
    if fast_layers:
        sides[FAST] = _stacked_step(model, sets, optimisation, fast_layers)
    return sides


def _stacked_step(
    model: HcpMerModel,
    sets: list[TrainingSet],
    optimisation: Optimisation,
    fast_layers: list[nn.Linear],
) -> Callable[[], float]:
    stack = Stack(model, sets, optimisation)

    def step() -> float:
        with swapped(fast_layers):
            return stack.step()[0].item()

    return step


def _random_folds(
    model: HcpMerModel, settings: LadderSettings
) -> tuple[dict[str, Tensor], list[TrainingSet]]:
    """Images of fold 0's clips by branch, and the folds; each leaves out two clips of the pool."""
    size = model.config.clip_config.vision_config.image_size
    num_clips = _BATCHES_PER_EPOCH * settings.batch_size + 2
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(num_clips) % model.config.num_classes
    images, features = {}, {}
    for branch in model.config.branches:
        pixels = torch.randn(num_clips, 3, size, size, generator=generator)
        pixels = pixels.to(model.device, model.dtype)
        with torch.no_grad():
            batches = pixels.split(settings.batch_size)
            features[branch] = torch.cat([model.encode_images(b).pooled for b in batches]).cpu()
        images[branch] = pixels
    sets = []
    for fold in range(settings.folds):
        held_out = {2 * fold % num_clips, 2 * fold % num_clips + 1}
        kept = np.array([clip for clip in range(num_clips) if clip not in held_out])
        inputs = {branch: values[kept] for branch, values in features.items()}
        subjects = np.array([f"s{clip // 2}" for clip in kept])
        sets.append(TrainingSet(f"fold {fold}", fold, inputs, labels[kept], subjects))
    return {branch: pixels[2:] for branch, pixels in images.items()}, sets


def _steps(samples: dict, settings: LadderSettings) -> list[dict[str, Any]]:
    """Per side its times per fold-step, its ratios and its largest difference of losses."""
    measure = "wall_s" if settings.device.startswith("cuda") else "cpu_s"
    reference = samples[STEPS[0]].values
    steps: list[dict[str, Any]] = []
    for name, own in samples.items():
        times = own.seconds(settings.folds if name in (STOCK, FAST) else 1)
        middle = times[measure]["median"]
        first, before = (steps[0], steps[-1]) if steps else ({measure: times[measure]},) * 2
        steps.append(
            {
                "name": name,
                **times,
                "timed_steps": len(own.cpu_s),
                "ratio_to_previous": before[measure]["median"] / middle,
                "ratio": first[measure]["median"] / middle,
                "max_loss_difference": max(abs(a - b) for a, b in zip(reference, own.values)),
            }
        )
    return steps


def _sizes(model: HcpMerModel) -> dict[str, int]:
    """What the prompts come to: it decides how much there is to gain."""
    lengths = [len(prompt.tokens) for prompt in model.prompts.prompts]
    return {
        "context_tokens": len(model.prompts.context_ids),
        "prompts": len(lengths),
        "prompt_tokens": sum(lengths),
        "tree_tokens": model.prompts.num_tokens,
    }


def _use_exact_arithmetic(device: str) -> None:
    """No TF32: it rounds to 10 bits, and convolutions use it unless they are told not to."""
    if device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

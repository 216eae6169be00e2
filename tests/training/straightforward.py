"""The straightforward trainer: every image and every padded prompt at every step of every fold.

The oracle of the stacked trainer. It holds its weights in an HcpMerModel, and takes nothing else
from hcp_mer: prompts, adapters, similarities, gate and losses are written out here once more from
the paper's equations in all their readings, with PyTorch's own BatchNorm, losses, DataLoader and
AdamW, and the library's causal text tower at its full length.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, TensorDataset
from transformers.masking_utils import create_causal_mask


class Answer(NamedTuple):
    logits: Tensor  # (batch, num_classes): Res_f
    cosines: list[Tensor]  # per branch (batch, num_classes): its images and its texts
    cross: list[Tensor]  # per branch (batch, num_classes): its images, the other branch's texts


class _Fixed(Sampler):
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


def train_one_fold(model, images, flows, labels, batches, learning_rate, weight_decay, kept=None):
    """Train `model` (fresh, in place) on the given batches of row indices; returns its losses.

    images, flows: (clips, 3, size, size); labels: (clips,); batches: lists of rows, none to spare;
    kept: per batch (clips, patches) bool, the patches that dropout leaves, or None without it.
    """
    use_torchs_batchnorm(model)
    counts = torch.bincount(labels, minlength=model.config.num_classes)
    model.focal_alpha.copy_(class_weights(counts))
    clips = TensorDataset(images, flows, labels)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
    losses = []
    model.train()
    steps = zip(DataLoader(clips, batch_sampler=_Fixed(batches)), kept or [None] * len(batches))
    for (image, flow, label), patches in steps:
        optimiser.zero_grad()
        loss = objective(model, answer(model, image, flow, patches), label)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    model.eval()
    return losses


def use_torchs_batchnorm(model) -> None:
    """Put nn.BatchNorm1d in place of ours, with the same weights under the same names."""
    for branch in model.config.branches if model.config.use_adapter else ():
        for layer in model.head.adapters[branch].layers:
            if layer.norm is not None:
                state = layer.norm.state_dict()
                like = layer.norm.weight
                layer.norm = nn.BatchNorm1d(len(like), device=like.device, dtype=like.dtype)
                layer.norm.load_state_dict(state)
                layer.norm.num_batches_tracked = None  # a count that momentum=None alone needs


def class_weights(counts: Tensor) -> Tensor:
    """α of the focal loss: 1/count scaled to mean 1, an absent class as if seen once.

    In single precision whatever the model's, as checkpoints hold it.
    """
    inverse = 1 / counts.clamp(min=1).to(torch.float32)
    return inverse / inverse.mean()


def answer(model, images: Tensor, flows: Tensor, kept: Tensor | None = None) -> Answer:
    """Res_f and the cosines before it, from pixels."""
    config = model.config
    first = flows if config.holistic_input == "flow" else images
    views = [
        v for v, used in ((first, config.use_holistic), (flows, config.use_componential)) if used
    ]
    embeds = [
        adapt(model, b, encode(model, view), tokens_of(model, b, view, kept))
        for b, view in zip(config.branches, views)
    ]
    texts = encode_texts(model)
    cosines = [similarity(config, e, t) for e, t in zip(embeds, texts)]
    cross = [similarity(config, e, t) for e, t in zip(embeds, reversed(texts))]
    return Answer(combine(model, cosines), cosines, cross)


def encode(model, pixels: Tensor) -> Tensor:
    """What the vision tower says of images, in the shared space: (batch, projection_dim)."""
    seen = model.clip.vision_model(pixel_values=pixels)
    return model.clip.visual_projection(seen.pooler_output)


def tokens_of(model, branch: str, pixels: Tensor, kept: Tensor | None) -> Tensor | None:
    """The patch tokens that a branch's adapter reads, flattened, less those that were dropped."""
    config = model.config
    read, layer = (
        value[branch] if isinstance(value, dict) else value
        for value in (config.adapter_input, config.adapter_layer)
    )
    if read == "pooled":
        return None
    tower = model.clip.vision_model
    states = tower.pre_layrnorm(tower.embeddings(pixels))
    layers = len(tower.encoder.layers)
    for encoder_layer in tower.encoder.layers[: layer if layer >= 0 else layers + 1 + layer]:
        states = encoder_layer(states, None)
    tokens = states[:, 1:]
    tokens = (tokens - tokens.mean(-1, keepdim=True)) / torch.sqrt(
        tokens.var(-1, unbiased=False, keepdim=True) + 1e-5
    )
    if kept is not None:
        tokens = torch.where(kept[:, :, None], tokens / (1 - config.adapter_dropout), 0)
    return tokens.reshape(len(tokens), -1)


def adapt(model, branch: str, rows: Tensor, tokens: Tensor | None) -> Tensor:
    """Fig. 8: residual bottlenecks; the first of them may read patch tokens."""
    if not model.config.use_adapter:
        return rows
    for index, layer in enumerate(model.head.adapters[branch].layers):
        read = rows if index or tokens is None else tokens
        hidden = F.linear(read, layer.down.weight, layer.down.bias)
        if layer.norm is not None:
            hidden = layer.norm(hidden)
        rows = rows + F.linear(F.relu(hidden), layer.up.weight, layer.up.bias)
    return rows


def encode_texts(model) -> list[list[Tensor]]:
    """Eq. 7–10: per branch and class the embeddings of its prompts, (prompts, projection_dim)."""
    clip, ids = model.clip, model.config.prompt_token_ids
    prompts, ends, sizes = [], [], []
    for branch_index, branch in enumerate(model.config.branches):
        holistic = [[words] for words in ids["holistic"]]
        bodies = holistic if branch == "holistic" else ids["componential"]
        for label, texts in enumerate(bodies):
            context = context_of(model, branch_index, label)
            for words in texts:
                prompt, end = assemble(clip.text_model, ids, context, words)
                prompts.append(prompt)
                ends.append(end)
            sizes.append(len(texts))
    states = clip.text_model.embeddings(inputs_embeds=torch.stack(prompts))  # adds the positions
    mask = create_causal_mask(
        config=clip.text_model.config,
        inputs_embeds=states,
        attention_mask=None,
        past_key_values=None,
    )
    encoded = clip.text_model.encoder(inputs_embeds=states, attention_mask=mask, is_causal=True)
    states = clip.text_model.final_layer_norm(encoded.last_hidden_state)
    pooled = clip.text_projection(states[torch.arange(len(ends)), ends])
    per_class = pooled.split(sizes)
    classes = model.config.num_classes
    return [list(per_class[i : i + classes]) for i in range(0, len(per_class), classes)]


def context_of(model, branch_index: int, label: int) -> Tensor:
    """The k learnable vectors of a branch, or of a class in it: (k, hidden_size)."""
    length = len(model.config.prompt_token_ids["context"])
    owner = branch_index
    if model.config.context_scope == "per_class":
        owner = branch_index * model.config.num_classes + label
    return model.prompts.context[owner * length : (owner + 1) * length]


def assemble(text_model, ids: dict, context: Tensor, words: list[int]) -> tuple[Tensor, int]:
    """[start, l1 … l⌊k/2⌋, CLASSM, words, l⌊k/2⌋+1 … lk, end, end …] of the tower's full length.

    Returns: (max_position_embeddings, hidden_size) and the place of the first end token.
    """
    length = text_model.config.max_position_embeddings
    half = len(context) // 2
    end = 1 + len(context) + len(ids["category"]) + len(words)

    def fixed(tokens: list[int]) -> Tensor:
        return text_model.embeddings.token_embedding(torch.tensor(tokens, device=context.device))

    parts = [
        fixed([ids["start"]]),
        context[:half],
        fixed(ids["category"]),
        fixed(words),
        context[half:],
        fixed([ids["end"]] * (length - end)),
    ]
    return torch.cat(parts), end


def similarity(config, embeds: Tensor, texts: list[Tensor]) -> Tensor:
    """Cosine to each class (batch, num_classes); a class of several prompts combines them."""
    columns = []
    for prompts in texts:
        cosines = F.cosine_similarity(embeds[:, None], prompts[None], dim=-1)  # (batch, prompts)
        if config.au_set_reduction == "max":
            columns.append(cosines.max(dim=1).values)
        else:
            scale = config.similarity_scale
            columns.append(torch.logsumexp(scale * cosines, dim=1) / scale)
    return torch.stack(columns, dim=1)


def combine(model, cosines: list[Tensor]) -> Tensor:
    """Eq. 4–5: Res_f from the cosines of the branches."""
    config = model.config
    responses = [config.similarity_scale * cosine for cosine in cosines]
    if len(responses) == 1:
        return responses[0]
    read = cosines
    if config.response_reading == "probabilities":
        read = responses = [response.softmax(dim=1) for response in responses]
    alpha, beta = gates(model, torch.cat(read, dim=1))
    fused = alpha * responses[0] + beta * responses[1]
    if config.response_reading == "probabilities":
        return (fused / fused.sum(dim=1, keepdim=True)).log()
    return fused


def gates(model, read: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 4: α_h and β_c, each (batch, 1)."""
    reading, gate = model.config.gate_reading, model.head.gate
    if reading == "fixed":
        half = torch.full_like(read[:, :1], 0.5)
        return half, half
    if reading == "literal":
        alpha, beta = (torch.sigmoid(F.linear(read, gate.weight)) + gate.bias).split(1, dim=1)
        return alpha, beta
    weights = torch.sigmoid(F.linear(read, gate.weight, gate.bias))
    if reading == "convex":
        return weights, 1 - weights
    alpha, beta = weights.split(1, dim=1)
    return alpha, beta


def objective(model, said: Answer, labels: Tensor) -> Tensor:
    """Eq. 6: L_con + λ1 L_JS + λ2 L_focal."""
    config = model.config
    loss = sum(
        contrast(config, config.similarity_scale * own, config.similarity_scale * other, labels)
        for own, other in zip(said.cosines, said.cross)
    )
    if config.use_consistency and len(said.cosines) == 2:
        loss = loss + config.consistency_weight * consistency(config, said.cosines)
    if config.use_focal:
        probability = said.logits.softmax(dim=1)[torch.arange(len(labels)), labels]
        weights = model.focal_alpha[labels] * (1 - probability) ** config.focal_gamma
        focal = -weights * F.log_softmax(said.logits, dim=1)[torch.arange(len(labels)), labels]
        loss = loss + config.focal_weight * focal.mean()
    elif config.without_focal == "cross_entropy":
        loss = loss + config.focal_weight * F.cross_entropy(said.logits, labels)
    return loss


def contrast(config, own: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    """Eq. 2 for one branch: its images against its own texts, and the other branch's."""
    reading = config.contrastive_reading
    loss = own.new_zeros(())
    if reading in ("class", "class+branch"):
        loss = loss + F.cross_entropy(own, labels)
    if reading in ("literal", "class+branch"):
        rows = torch.arange(len(labels))
        pair = torch.stack([own[rows, labels], other[rows, labels]], dim=1)
        loss = loss + F.cross_entropy(pair, torch.zeros_like(labels))
    if reading == "in_batch":
        pairs = torch.stack([own[:, label] for label in labels], dim=1)  # (images, texts)
        same = torch.stack([labels == label for label in labels]).to(own.dtype)
        target = same / same.sum(dim=1, keepdim=True)
        loss = loss + 0.5 * (F.cross_entropy(pairs, target) + F.cross_entropy(pairs.T, target))
    return loss


def consistency(config, cosines: list[Tensor]) -> Tensor:
    """Eq. 3 of softmaxes with a temperature of their own."""
    h, c = (F.log_softmax(config.consistency_scale * cosine, dim=1) for cosine in cosines)

    def divergence(target: Tensor, log_probs: Tensor) -> Tensor:  # KL(target ‖ probs)
        return F.kl_div(log_probs, target, log_target=True, reduction="batchmean")

    if config.consistency_reading == "jensen_shannon":
        mean = ((h.exp() + c.exp()) / 2).log()
        return 0.5 * (divergence(h, mean) + divergence(c, mean))
    if config.consistency_reading == "mutual":
        return 0.5 * (divergence(h.detach(), c) + divergence(c.detach(), h))
    return 0.5 * (divergence(h, c) + divergence(c, h))

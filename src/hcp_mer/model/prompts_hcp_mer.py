"""Holistic-componential prompt groups: Algorithm 1 and Eq. 7–10 of the paper (Appendix B.1).

Each emotion has one holistic prompt, "a [CLASSM] [CLASSE] photo of", and one or more componential
prompts, "a [CLASSM] [CLASSAU] photo of"; "a photo of" are k learnable context tokens per branch.
All prompts of a model share their beginnings, so they are encoded as one prefix tree.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .action_units_hcp_mer import MAIN_ACTION_UNITS, action_unit_name


@dataclass(frozen=True)
class Prompt:
    """One prompt. `tokens`: vocabulary ids, and −1−slot where context vector `slot` stands."""

    branch: str
    class_index: int
    tokens: tuple[int, ...]


def componential_text(action_units: list[int], au_text: str) -> str:
    """CLASSAU in words: "brow lowerer, dimpler" (names) or "AU4+AU14" (codes)."""
    if au_text == "codes":
        return "+".join(f"AU{number}" for number in action_units)
    return ", ".join(action_unit_name(number) for number in action_units)


def tokenize_prompt_groups(
    tokenizer, prompt_groups: list[dict], category_text: str, context_text: str, au_text: str
) -> dict:
    """Token ids of CLASSM, CLASSE and CLASSAU for every class, Eq. 7.

    Args:
        tokenizer: the backbone's CLIP tokenizer.
        prompt_groups: [{"label", "emotion", "action_units": [[int, …], …]}, …].
    Returns: {"start", "end": int, "context", "category": [int], "holistic": [[int]] per class,
        "componential": [[[int]]] per class and action-unit set, "action_units": {number: [int]}
        of each main action unit alone, to name what a flow is nearest to}, all JSON.
    Raises:
        ValueError: a text without any token, or an action unit unknown to FACS.
    """

    def ids(text: str) -> list[int]:
        found = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if not found:
            raise ValueError(
                f"the text {text!r} has no token; give words, for example 'happiness'."
            )
        return found

    return {
        "start": tokenizer.bos_token_id,
        "end": tokenizer.eos_token_id,
        "context": ids(context_text),
        "category": ids(category_text),
        "holistic": [ids(group["emotion"]) for group in prompt_groups],
        "componential": [
            [ids(componential_text(units, au_text)) for units in group["action_units"]]
            for group in prompt_groups
        ],
        "action_units": {
            str(number): ids(componential_text([number], au_text)) for number in MAIN_ACTION_UNITS
        },
    }


def holistic_prompt(context: list[int], category: list[int], emotion: list[int]) -> list[int]:
    """[l1 … l⌊k/2⌋, CLASSM, CLASSE, l⌊k/2⌋+1 … lk], Eq. 8."""
    half = len(context) // 2
    return context[:half] + category + emotion + context[half:]


def componential_prompt(
    context: list[int], category: list[int], action_units: list[int]
) -> list[int]:
    """[l1 … l⌊k/2⌋, CLASSM, CLASSAU, l⌊k/2⌋+1 … lk], Eq. 9."""
    half = len(context) // 2
    return context[:half] + category + action_units + context[half:]


def build_prompt_groups(
    token_ids: dict, branches: tuple[str, ...], context_scope: str
) -> list[Prompt]:
    """All prompts of a model, holistic first, classes in order, Algorithm 1.

    Context slots are numbered branch by branch (and class by class with scope "per_class").
    """
    length = len(token_ids["context"])
    num_classes = len(token_ids["holistic"])
    prompts: list[Prompt] = []
    for branch_index, branch in enumerate(branches):
        for label in range(num_classes):
            owner = branch_index
            if context_scope == "per_class":
                owner = branch_index * num_classes + label
            context = [-1 - slot for slot in range(owner * length, (owner + 1) * length)]
            if branch == "holistic":
                bodies = [
                    holistic_prompt(context, token_ids["category"], token_ids["holistic"][label])
                ]
            else:
                bodies = [
                    componential_prompt(context, token_ids["category"], action_units)
                    for action_units in token_ids["componential"][label]
                ]
            prompts += [
                Prompt(branch, label, (token_ids["start"], *body, token_ids["end"]))
                for body in bodies
            ]
    return prompts


@dataclass(frozen=True)
class PrefixTree:
    """Token sequences with their common beginnings stored once.

    A token of a causal text tower sees only what stands before it, so a node of the tree has the
    same hidden state in every prompt that runs through it: encoding the tree with an
    ancestor-or-self attention mask is exact, and 2–3 times shorter than the prompts.
    """

    tokens: tuple[int, ...]  # per node
    positions: tuple[int, ...]  # depth of the node = position in its prompt
    ancestors: tuple[tuple[bool, ...], ...]  # [node][other]: other is the node or above it
    leaves: tuple[int, ...]  # per sequence: its last node

    @classmethod
    def from_sequences(cls, sequences: list[tuple[int, ...]]) -> PrefixTree:
        nodes: dict[tuple[int, ...], int] = {}
        for sequence in sequences:
            for end in range(1, len(sequence) + 1):
                nodes.setdefault(sequence[:end], len(nodes))
        prefixes = list(nodes)
        return cls(
            tokens=tuple(prefix[-1] for prefix in prefixes),
            positions=tuple(len(prefix) - 1 for prefix in prefixes),
            ancestors=tuple(
                tuple(prefix[: len(other)] == other for other in prefixes) for prefix in prefixes
            ),
            leaves=tuple(nodes[tuple(sequence)] for sequence in sequences),
        )


class TreeEncoder:
    """CLIP's text tower over token sequences that may hold learnable context slots.

    Not a module: it holds indices only, made once per device (never on meta, where loading
    builds), and is given the tower and the contexts.

    Raises:
        ValueError: a sequence is longer than `max_positions`.
    """

    def __init__(self, sequences: list[tuple[int, ...]], max_positions: int):
        self.tree = PrefixTree.from_sequences(sequences)
        longest = max(self.tree.positions) + 1
        if longest > max_positions:
            raise ValueError(
                f"the longest prompt has {longest} tokens, the text tower takes {max_positions}. "
                "Use fewer action units per set, or au_text='codes'."
            )
        self._constants: dict[torch.device, tuple[Tensor, ...]] = {}

    def encode(self, clip: nn.Module, contexts: Tensor) -> Tensor:
        """Text embeddings of all sequences.

        Args:
            clip: the backbone, a CLIPModel.
            contexts: (folds, num_slots, hidden_size), what stands in the slots.
        Returns: (folds, num_sequences, projection_dim), not normalised.
        """
        vocabulary, rows, positions, hidden, leaves = self._constants_on(contexts.device)
        fixed = clip.text_model.embeddings.token_embedding.weight[vocabulary]
        fixed = fixed.to(contexts.dtype).expand(len(contexts), -1, -1)
        table = torch.cat([fixed, contexts], dim=1)
        # CLIPTextEmbeddings refuses more tokens than positions; a tree has more of the first.
        states = table[:, rows] + clip.text_model.embeddings.position_embedding(positions)
        mask = torch.zeros(hidden.shape, dtype=states.dtype, device=states.device)
        mask = mask.masked_fill(hidden, torch.finfo(states.dtype).min)[None, None]
        states = clip.text_model.encoder(
            inputs_embeds=states, attention_mask=mask, is_causal=False
        ).last_hidden_state
        ends = clip.text_model.final_layer_norm(states[:, leaves])
        return clip.text_projection(ends)

    def _constants_on(self, device: torch.device) -> tuple[Tensor, ...]:
        if device in self._constants:
            return self._constants[device]
        with torch.inference_mode(False):  # kept, and perhaps trained with later
            vocabulary = sorted({token for token in self.tree.tokens if token >= 0})
            row = {token: index for index, token in enumerate(vocabulary)}
            rows = [row[t] if t >= 0 else len(vocabulary) - 1 - t for t in self.tree.tokens]
            self._constants[device] = (
                *(
                    torch.tensor(values, device=device)
                    for values in (vocabulary, rows, self.tree.positions)
                ),
                ~torch.tensor(self.tree.ancestors, device=device),
                torch.tensor(self.tree.leaves, device=device),
            )
        return self._constants[device]


class HcpPromptGroups(nn.Module):
    """The learnable contexts and the fixed words of every class.

    `context`: (num_slots, hidden_size), k rows per branch (per branch and class with scope
    "per_class"), initialised from the words of `context_text`.
    """

    def __init__(self, config):
        super().__init__()
        ids = config.prompt_token_ids
        text = config.clip_config.text_config
        self.branches = config.branches
        self.context_ids = ids["context"]
        self.prompts = build_prompt_groups(ids, config.branches, config.context_scope)
        sequences = [prompt.tokens for prompt in self.prompts]
        self.encoder = TreeEncoder(sequences, text.max_position_embeddings)
        slots = [-1 - slot for slot in range(len(self.context_ids))]
        # By number: config.json sorts its keys as text.
        words = [ids["action_units"][str(number)] for number in MAIN_ACTION_UNITS]
        alone = [
            (ids["start"], *componential_prompt(slots, ids["category"], unit), ids["end"])
            for unit in words
        ]
        self.action_unit_encoder = TreeEncoder(alone, text.max_position_embeddings)
        owners = len(config.branches) * (
            config.num_classes if config.context_scope == "per_class" else 1
        )
        self.context = nn.Parameter(torch.empty(owners * len(slots), text.hidden_size))

    @property
    def num_tokens(self) -> int:
        """Tokens that one encoding of all prompts takes: nodes of their tree."""
        return len(self.encoder.tree.tokens)

    def words_of_context(self, text_model: nn.Module) -> Tensor:
        """Word embeddings of `context_text` in every context: (num_slots, hidden_size)."""
        words = text_model.embeddings.token_embedding.weight[
            torch.tensor(self.context_ids, device=self.context.device)
        ]
        return words.repeat(len(self.context) // len(words), 1)

    @torch.no_grad()
    def reset_context(self, text_model: nn.Module) -> None:
        """Set every context to the word embeddings of `context_text` ("a photo of")."""
        self.context.copy_(self.words_of_context(text_model))

    def forward(self, clip: nn.Module, context: Tensor | None = None) -> Tensor:
        """Encode all prompts with CLIP's text tower, Eq. 10.

        Args:
            clip: the backbone, a CLIPModel.
            context: (num_slots, hidden_size), or (folds, num_slots, hidden_size) to encode the
                prompts of many folds at once; None takes the module's own.
        Returns: (num_prompts, projection_dim), with a leading fold axis if `context` has one;
            rows in the order of `self.prompts`, not normalised.
        """
        own = self.context if context is None else context
        texts = self.encoder.encode(clip, own if own.dim() == 3 else own[None])
        return texts if own.dim() == 3 else texts[0]

    def encode_action_units(self, clip: nn.Module, context: Tensor | None = None) -> Tensor:
        """Each main action unit alone, in the componential prompt's place and context.

        Args: context: (num_slots, hidden_size); None takes the module's own.
        Returns: (len(MAIN_ACTION_UNITS), projection_dim), not normalised. Classes with contexts
            of their own ("per_class") are averaged: an action unit alone belongs to no class.
        Raises:
            ValueError: the model has no componential branch.
        """
        if "componential" not in self.branches:
            raise ValueError("this model has no componential branch (use_componential is False).")
        own = self.context if context is None else context
        per_owner = own.unflatten(0, (-1, len(self.context_ids)))  # (owners, k, hidden)
        componential = per_owner.chunk(len(self.branches))[-1].mean(0, keepdim=True)
        return self.action_unit_encoder.encode(clip, componential)[0]

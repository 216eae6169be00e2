"""Everything that decides what an HCP_MER model is: backbone, prompt groups, sizes, readings."""

# ruff: noqa: E402 - the check comes before what it is about
from __future__ import annotations

from .versions_hcp_mer import check_transformers

check_transformers()

import difflib
import math

from transformers import CLIPConfig, PreTrainedConfig
from transformers.utils import logging

logger = logging.get_logger(__name__)

PIPELINE_TASK = "micro-expression-recognition"
CHECKPOINT_FORMAT = 1  # raised when a checkpoint means something that older code would misread

# The paper leaves these open; the first option of each is our reading, the others are measured
# beside it (README, "Deviations from the paper").
READINGS = {
    "au_text": ("names", "codes"),
    "au_set_reduction": ("logsumexp", "max"),
    "context_scope": ("shared", "per_class"),
    "contrastive_reading": ("class", "literal", "class+branch", "in_batch"),
    "consistency_reading": ("symmetric_kl", "jensen_shannon", "mutual"),
    "gate_reading": ("independent", "literal", "convex", "fixed"),
    "response_reading": ("logits", "probabilities"),
    "without_focal": ("cross_entropy", "nothing"),
}
# The fields of PEFT's LoraConfig that `vision_lora` may set: those that change no weight of CLIP.
VISION_LORA_FIELDS = (
    *("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora"),
)
# What transformers adds to a config.json beside the fields of its config classes.
_OF_TRANSFORMERS = {
    *("model_type", "auto_map", "custom_pipelines", "transformers_version", "torch_dtype"),
    *("name_or_path", "num_labels", "attn_implementation", "experts_implementation"),
    *("output_attentions", "output_hidden_states", "return_dict", "use_cache"),
}


class HcpMerConfig(PreTrainedConfig):
    """Configuration of an HcpMerModel; it travels with every checkpoint as config.json.

    Args:
        clip_config: sizes of the frozen CLIP backbone.
        backbone, backbone_revision: where the backbone came from: a Hub id and its revision, or
            the name of a local folder.
        save_backbone: whether a checkpoint includes the backbone (True for local folders), or the
            trained part alone (Hub ids: the backbone is fetched again by name and revision).
        prompt_groups: one per class, in the order of the logits: {"label": str, "emotion": str,
            "action_units": [[int, …], …]}; several action-unit sets are several ways to show one
            emotion (Appendix A: anger as AU4 or as AU14).
        prompt_token_ids: the groups' token ids (Eq. 7), filled by `tokenize_prompt_groups`, so
            that a checkpoint needs no tokenizer.
        category_text: CLASSM, the category shared by all classes.
        context_text: words that initialise the k learnable context tokens of each branch.
        au_text: CLASSAU as FACS names ("brow lowerer") or as codes ("AU4").
        au_set_reduction: how the similarities of a class's action-unit sets become one.
        context_scope: contexts shared by all classes (CoOp's unified context) or one per class.
        learn_context: whether the contexts are trained; else they stay the words of `context_text`.
        action_unit_calibration: {"scale", "offset": {FACS number: …}}, what turns a flow's
            similarity to a unit's text into log-odds, and "temperature" (1 if it is not there), by
            which evidence for classes is divided; the backbone's own, None where it has none.
        similarity_scale: 1/τ, multiplies cosines; None takes the backbone's logit scale.
        adapter_reduction, adapter_depth, adapter_batchnorm, adapter_zero_init: Fig. 8.
        adapter_input: what an adapter reads: "pooled", the tower's answer (the paper's), or
            "patches", the flattened patch tokens as well, which know where something moves; or
            {"holistic": …, "componential": …}. None takes what the backbone's config.json names
            under "hcp_mer", "pooled" where it names nothing.
        adapter_layer: whose tokens "patches" are: of the vision tower's layer 1, 2, …, of its
            input (0), or counted from its end (−1); or one per branch, as above.
        adapter_patch_hidden: hidden size behind patches, whose number would make
            projection_dim / adapter_reduction a large layer.
        adapter_dropout: share of a clip's patches that its adapter does not see at a training step.
        holistic_input: what the holistic branch sees: "magnified", the apex (the paper's), or
            "flow": a face crop without its onset shows who it is, and can be a poor witness.
        contrastive_reading, consistency_reading, gate_reading, response_reading, without_focal:
            readings of Eq. 2, 3, 4–5, 3–5 and 6; see READINGS and the README's table.
        consistency_scale: multiplies the cosines in Eq. 3 alone, since CLIP's own 100 would make
            the term 50 times larger than at 10.
        consistency_weight, focal_weight: λ1 and λ2 of Eq. 6.
        focal_gamma: γ of the focal loss; its α is the buffer `focal_alpha` of the model.
        use_holistic, use_componential, use_adapter, use_consistency, use_focal: ablations
            (Fig. 3). With one branch off, Eq. 3–5 drop out and the other branch is the answer.
        vision_lora: LoRA on the vision tower (not in the paper): {"r": rank, and what else of
            VISION_LORA_FIELDS}; None: the tower is frozen, as the paper has it. Set by
            `HcpMerModel.add_vision_lora`.
        score_temperature: what the pipeline divides the logits by before they become scores (Guo et
            al. 2017), fitted on the answers of held-out subjects; 1.0: not calibrated. The model's
            logits, training and every answer stay as they are.
        unsure_below: an answer whose score is lower is to be called unsure; 0.0: none is.
        checkpoint_format: of what is stored; a newer one than this code's is refused.

    Raises:
        ValueError: an unknown reading, a value out of range, no branch, or malformed groups.
    """

    model_type = "hcp_mer"
    sub_configs = {"clip_config": CLIPConfig}  # noqa: RUF012 - transformers reads a class dict

    clip_config: CLIPConfig | dict | None = None
    backbone: str | None = None
    backbone_revision: str | None = None
    save_backbone: bool = True

    prompt_groups: list | None = None
    prompt_token_ids: dict | None = None
    category_text: str = "micro-expression"
    context_text: str = "a photo of"
    au_text: str = "names"
    au_set_reduction: str = "logsumexp"
    context_scope: str = "shared"
    learn_context: bool = True

    action_unit_calibration: dict | None = None
    similarity_scale: float | None = None
    adapter_reduction: int = 4
    adapter_depth: int = 1
    adapter_batchnorm: bool = True
    adapter_zero_init: bool = True
    adapter_input: str | dict | None = None
    adapter_layer: int | dict = -1
    adapter_patch_hidden: int = 32
    adapter_dropout: float = 0.0
    holistic_input: str = "magnified"

    contrastive_reading: str = "class"
    consistency_reading: str = "symmetric_kl"
    consistency_scale: float = 10.0
    gate_reading: str = "independent"
    response_reading: str = "logits"
    without_focal: str = "cross_entropy"
    consistency_weight: float = 0.5
    focal_weight: float = 0.5
    focal_gamma: float = 2.0

    use_holistic: bool = True
    use_componential: bool = True
    use_adapter: bool = True
    use_consistency: bool = True
    use_focal: bool = True

    vision_lora: dict | None = None
    score_temperature: float = 1.0
    unsure_below: float = 0.0
    checkpoint_format: int = CHECKPOINT_FORMAT

    def __post_init__(self, **kwargs):
        self._check_origin(kwargs)
        if self.clip_config is None:
            self.clip_config = CLIPConfig()
        elif isinstance(self.clip_config, dict):
            self.clip_config = CLIPConfig(**self.clip_config)
        if self.prompt_groups is None:
            self.prompt_groups = []
        if self.adapter_input is None:
            self.adapter_input = "pooled"
        if self.prompt_groups and self.id2label is None:
            self.id2label = {i: group["label"] for i, group in enumerate(self.prompt_groups)}
            self.label2id = {label: i for i, label in self.id2label.items()}
        super().__post_init__(**kwargs)
        self._check()

    @property
    def branches(self) -> tuple[str, ...]:
        """The active branches, holistic before componential."""
        active = {"holistic": self.use_holistic, "componential": self.use_componential}
        return tuple(branch for branch, used in active.items() if used)

    @property
    def num_classes(self) -> int:
        return len(self.prompt_groups)

    def view_of(self, branch: str) -> str:
        """Which of a pair's images a branch sees: "magnified" or "flow"."""
        return self.holistic_input if branch == "holistic" else "flow"

    def reads_patches(self, branch: str) -> bool:
        """Whether a branch's adapter reads patch tokens beside the pooled feature."""
        return self.use_adapter and self._of_branch("adapter_input", branch) == "patches"

    def patch_layer(self, branch: str) -> int:
        """Index into the vision tower's hidden states, 0 is its input."""
        layer = self._of_branch("adapter_layer", branch)
        return layer if layer >= 0 else self.clip_config.vision_config.num_hidden_layers + 1 + layer

    @property
    def num_patches(self) -> int:
        vision = self.clip_config.vision_config
        return (vision.image_size // vision.patch_size) ** 2

    def feature_size(self, branch: str) -> int:
        """Numbers that a branch's frozen tower says of an image: pooled, then patch by patch."""
        patches = self.num_patches * self.clip_config.vision_config.hidden_size
        return self.clip_config.projection_dim + self.reads_patches(branch) * patches

    def _of_branch(self, name: str, branch: str):
        value = getattr(self, name)
        return value[branch] if isinstance(value, dict) else value

    def _check_origin(self, further: dict) -> None:
        """Refuse what newer code wrote; name fields that this code does not know."""
        if self.checkpoint_format > CHECKPOINT_FORMAT:
            raise ValueError(
                f"this checkpoint is of format {self.checkpoint_format}, this code reads up to "
                f"{CHECKPOINT_FORMAT}: install a newer hcp_mer, or load it with "
                "trust_remote_code=True where hcp_mer is not installed."
            )
        unknown = sorted(set(further) - _OF_TRANSFORMERS - set(vars(PreTrainedConfig())))
        if unknown:
            logger.warning(
                f"the config has fields that this code does not know and does not use: "
                f"{', '.join(unknown)}. They may come from a newer version, or be misspelt."
            )

    def _check(self) -> None:
        for name, options in READINGS.items():
            if getattr(self, name) not in options:
                raise ValueError(
                    f"{name} must be one of {', '.join(options)}; got {getattr(self, name)!r}."
                )
        if not self.branches:
            raise ValueError(
                "use_holistic and use_componential are both False: nothing is left to answer. "
                "Leave one of them on."
            )
        if len(self.branches) == 1 and self.contrastive_reading in ("literal", "class+branch"):
            raise ValueError(
                f"contrastive_reading {self.contrastive_reading!r} contrasts both branches' texts: "
                "with one branch off use 'class' or 'in_batch'."
            )
        for name in ("similarity_scale", "consistency_scale"):
            scale = getattr(self, name)
            if scale is not None and not scale > 0:
                raise ValueError(f"{name} must be positive; got {scale}.")
        self._check_scores()
        self._check_adapter_reads()
        for name in ("adapter_reduction", "adapter_depth", "adapter_patch_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        for name in ("consistency_weight", "focal_weight", "focal_gamma"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}.")
        for group in self.prompt_groups:
            check_prompt_group(group)
        if self.vision_lora:
            check_vision_lora(self.vision_lora)

    def _check_scores(self) -> None:
        """Raise ValueError unless the temperature divides and the threshold can be reached."""
        for name, fits, rule in (
            ("score_temperature", lambda value: 0 < value < math.inf, "positive and finite"),
            ("unsure_below", lambda value: 0 <= value < 1, "at least 0 and below 1"),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not fits(value):
                raise ValueError(f"{name} must be a number, {rule}; got {value!r}.")

    def _check_adapter_reads(self) -> None:
        """Raise ValueError unless what adapters and branches read is there to be read."""
        layers = self.clip_config.vision_config.num_hidden_layers
        for name, allowed, words in (
            ("adapter_input", ("pooled", "patches"), "pooled or patches"),
            ("adapter_layer", range(-layers - 1, layers + 1), f"a layer from 0 to {layers}, or −1"),
        ):
            value = getattr(self, name)
            per_branch = value if isinstance(value, dict) else {"both": value}
            whole = not isinstance(value, dict) or set(value) == {"holistic", "componential"}
            if not whole or any(v not in allowed or v is True for v in per_branch.values()):
                raise ValueError(
                    f"{name} must be {words}, or one for each of holistic and componential; "
                    f"got {value!r}."
                )
        if self.holistic_input not in ("magnified", "flow"):
            raise ValueError(
                f"holistic_input must be magnified or flow; got {self.holistic_input!r}."
            )
        if not 0 <= self.adapter_dropout < 1:
            raise ValueError(f"adapter_dropout must lie in [0, 1); got {self.adapter_dropout}.")


def check_options(options: dict) -> None:
    """Raise ValueError, with the closest name, for an option that is no field of HcpMerConfig."""
    for name in options:
        if not hasattr(HcpMerConfig, name) and name not in _OF_TRANSFORMERS:
            close = difflib.get_close_matches(name, HcpMerConfig.__annotations__, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"unknown option {name!r} of HcpMerConfig.{hint}")


def check_vision_lora(settings: dict) -> None:
    """Raise ValueError unless `settings` has a rank and other known fields only."""
    if not isinstance(settings, dict) or type(settings.get("r")) is not int or settings["r"] < 0:
        raise ValueError(
            f"vision_lora needs a rank, a whole number: for example {{r: 8}}; got {settings!r}."
        )
    unknown = sorted(set(settings) - set(VISION_LORA_FIELDS))
    if unknown:
        raise ValueError(
            f"vision_lora does not take {', '.join(unknown)}; it takes "
            f"{', '.join(VISION_LORA_FIELDS)} (fields of PEFT's LoraConfig)."
        )
    layers = settings.get("target_modules", ["q_proj"])
    if not isinstance(layers, (list, tuple)) or not all(isinstance(name, str) for name in layers):
        raise ValueError(
            "vision_lora's target_modules must be a list of layer names such as [q_proj, v_proj]; "
            f"got {layers!r}."
        )


def check_prompt_group(group: dict) -> None:
    """Raise ValueError unless `group` has label, emotion and one or more action-unit sets."""
    needed = {"label", "emotion", "action_units"}
    if not isinstance(group, dict) or set(group) != needed:
        raise ValueError(
            f"a prompt group has exactly label, emotion and action_units; got {group!r}."
        )
    if not isinstance(group["emotion"], str):
        raise ValueError(f"emotion of {group['label']!r} must be text; got {group['emotion']!r}.")
    sets = group["action_units"]
    whole = isinstance(sets, (list, tuple)) and sets
    if not whole or not all(
        isinstance(units, (list, tuple)) and units and all(type(unit) is int for unit in units)
        for units in sets
    ):
        raise ValueError(
            f"action_units of {group['label']!r} must be a list of non-empty sets of numbers such "
            f"as [[4], [14]]; got {sets!r}."
        )


__all__ = ["HcpMerConfig"]

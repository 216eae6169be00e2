"""HCP_MER (Fig. 1): two views of a clip, two prompts per emotion, one answer.

The magnified apex frame meets the holistic emotion prompts, the optical flow the componential
action-unit prompts, each in CLIP's space behind an adapter; a gate weighs the two answers. This
file only composes: prompts, adapter, fusion and losses have files of their own.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPModel, PreTrainedModel
from transformers import initialization as init

from .adapter_hcp_mer import MaskedBatchNorm1d, UpProjection
from .backbone_hcp_mer import load_backbone, pinned_revision
from .checkpoint_hcp_mer import (
    check_complete,
    hub_arguments,
    put_code,
    read_state,
    vision_lora_folder,
    weights_to_store,
)
from .configuration_hcp_mer import HcpMerConfig, check_options, check_vision_lora
from .evidence_hcp_mer import answer_zero_shot
from .fusion_hcp_mer import GatedFusion
from .head_hcp_mer import HcpMerHead
from .losses_hcp_mer import total_loss
from .outputs_hcp_mer import HcpMerOutput, ImageFeatures, ZeroShotOutput
from .prompts_hcp_mer import HcpPromptGroups, tokenize_prompt_groups
from .vision_lora_hcp_mer import add_vision_lora, is_lora, load_vision_lora, save_vision_lora


class HcpMerModel(PreTrainedModel):
    """A frozen CLIP with holistic-componential prompt groups, adapters and a gate (Fig. 1)."""

    config_class = HcpMerConfig
    base_model_prefix = "hcp_mer"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _supports_sdpa = True
    _no_split_modules = ("CLIPEncoderLayer", "CLIPTextEmbeddings", "CLIPVisionEmbeddings")

    def __init__(self, config: HcpMerConfig):
        if not config.prompt_groups or not config.prompt_token_ids:
            raise ValueError(
                "the config has no prompt groups: build a model with HcpMerModel.from_backbone("
                "backbone, prompt_groups), or load a checkpoint."
            )
        super().__init__(config)
        self.clip = CLIPModel._from_config(config.clip_config)
        if config.similarity_scale is None:
            config.similarity_scale = float(
                torch.tensor(config.clip_config.logit_scale_init_value).exp()
            )
        self.prompts = HcpPromptGroups(config)
        self.head = HcpMerHead(config)
        # Class weights of the focal loss, set from the training subjects; part of the checkpoint.
        self.register_buffer("focal_alpha", torch.ones(config.num_classes))
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        backbone: str | Path | CLIPModel,
        prompt_groups: list[dict],
        tokenizer=None,
        revision: str | None = None,
        **options,
    ) -> HcpMerModel:
        """An untrained HCP_MER on a CLIP backbone: its answers are zero-shot CLIP's.

        Args:
            backbone: a Hub id ("openai/clip-vit-base-patch32"), a local folder, or a CLIPModel
                (then `tokenizer` is needed too).
            prompt_groups: see HcpMerConfig.
            revision: of the backbone on the Hub.
            options: further fields of HcpMerConfig.
        Raises:
            OSError: the backbone is neither on disk nor reachable.
            ValueError: malformed groups or options, a single class.
        """
        if len(prompt_groups) < 2:
            raise ValueError(
                f"prompt_groups must name two or more classes to choose from; got {prompt_groups}."
            )
        if isinstance(backbone, CLIPModel):
            clip, name, local = backbone, None, True
        else:
            local = Path(backbone).is_dir()
            clip = load_backbone(str(backbone), revision)
            tokenizer = tokenizer or AutoTokenizer.from_pretrained(
                backbone, revision=revision, trust_remote_code=False
            )
            name = Path(backbone).name if local else str(backbone)
        options.setdefault("similarity_scale", float(clip.logit_scale.detach().exp()))
        for option, value in (getattr(clip.config, "hcp_mer", None) or {}).items():
            if options.get(option) is None:  # how this backbone wants to be read
                options[option] = value
        check_options(options)
        vision_lora = options.pop("vision_lora", None)
        sizes = copy.deepcopy(clip.config)
        sizes._name_or_path = name or ""  # else a folder of this machine would travel
        config = HcpMerConfig(
            clip_config=sizes,
            backbone=name,
            backbone_revision=None if local else pinned_revision(name, revision),
            save_backbone=local,
            prompt_groups=prompt_groups,
            **options,
        )
        config.prompt_token_ids = tokenize_prompt_groups(
            tokenizer, prompt_groups, config.category_text, config.context_text, config.au_text
        )
        model = cls(config)
        model.clip.load_state_dict(clip.state_dict())
        model.prompts.reset_context(model.clip.text_model)
        if vision_lora:
            model.add_vision_lora(vision_lora)
        return model.eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, config=None, **kwargs):
        """Load a checkpoint; one without its backbone fetches it by name and pinned revision.

        Raises:
            OSError: weights or backbone are missing, damaged or incomplete: never random weights
                instead, and never pickled ones.
            ValueError: the backbone is no CLIP, or not of the sizes that were trained on.
        """
        path = str(pretrained_model_name_or_path)
        if config is None:
            config = cls.config_class.from_pretrained(path, **hub_arguments(kwargs))
        if kwargs.get("state_dict") is None:
            kwargs["state_dict"] = read_state(path, config, kwargs)
        asked_for_info = kwargs.pop("output_loading_info", False)
        tolerant = kwargs.pop("ignore_mismatched_sizes", False)
        # Everything is in the state dict: transformers has no file to look for, and reports
        # wanting weights to us instead of making some up.
        rest = {k: v for k, v in kwargs.items() if k not in ("revision", "subfolder")}
        model, info = super().from_pretrained(
            None,
            *args,
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **rest,
        )
        check_complete(path, info, tolerant)
        if config.vision_lora:
            load_vision_lora(model.clip, vision_lora_folder(path, kwargs))
            model.eval()
        model.name_or_path = path
        model.freeze_backbone()  # loading sets every requires_grad back to True
        return (model, info) if asked_for_info else model

    def save_pretrained(self, save_directory, *args, state_dict=None, **kwargs):
        """Save a complete checkpoint: weights (safetensors), config, code, LoRA if there is any.

        Backbone weights that fp16 holds exactly are stored as fp16, and loaded as what they were.
        """
        for name in ("max_shard_size", "variant"):
            if kwargs.get(name) is not None:
                raise ValueError(f"{name} is not supported: a checkpoint has one file of weights.")
        if kwargs.pop("push_to_hub", False):
            repo_id = kwargs.pop("repo_id", Path(save_directory).name)
            self.save_pretrained(save_directory, *args, state_dict=state_dict)
            return self.push_to_hub(repo_id, **kwargs)
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        put_code(self.config, folder)
        state = self.state_dict() if state_dict is None else state_dict
        stored = weights_to_store(state, self.config.save_backbone)
        super().save_pretrained(folder, *args, state_dict=stored, **kwargs)
        if self.config.vision_lora:
            save_vision_lora(self.clip, folder, self.config.backbone)

    def add_vision_lora(self, settings: dict) -> None:
        """Put LoRA on the vision tower (see HcpMerConfig.vision_lora); a rank of 0 adds nothing.

        Raises:
            ImportError: PEFT is not installed. ValueError: settings that PEFT does not take, or
                the model has LoRA already.
        """
        if self.config.vision_lora:
            raise ValueError("this model has LoRA on its vision tower already.")
        check_vision_lora(settings)
        if not settings["r"]:
            return
        add_vision_lora(self.clip, settings)
        self.config.vision_lora = dict(settings)
        self.freeze_backbone()
        self.train(self.training)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Cover every parameter and buffer that is ours: loading starts on the meta device."""
        if isinstance(module, HcpPromptGroups):
            init.normal_(module.context, std=0.02)
        elif isinstance(module, MaskedBatchNorm1d):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            init.zeros_(module.running_mean)
            init.ones_(module.running_var)
        elif isinstance(module, nn.Linear):
            if isinstance(module, UpProjection) and self.config.adapter_zero_init:
                init.zeros_(module.weight)
            else:
                init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, GatedFusion):
            for parameter in module.parameters():
                init.zeros_(parameter)
        elif module is self:
            init.ones_(self.focal_alpha)

    def new_head(self, seed: int) -> HcpMerHead:
        """An untrained head in training mode, drawn from `seed` alone: one for every fold."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = HcpMerHead(self.config)
            for module in head.modules():
                self._init_weights(module)
        return head.to(self.device).train()

    def freeze_backbone(self) -> None:
        """No gradient for CLIP's own weights, nor for contexts that stay; LoRA is trained."""
        for name, parameter in self.clip.named_parameters():
            parameter.requires_grad_(is_lora(name))
        self.prompts.context.requires_grad_(self.config.learn_context)

    def train(self, mode: bool = True) -> HcpMerModel:
        """Train the trained part; the frozen backbone stays in eval mode, LoRA's dropout not."""
        super().train(mode)
        for name, module in self.clip.named_modules():
            module.training = mode and is_lora(name)
        return self

    def encode_images(self, pixel_values: Tensor, **outputs) -> ImageFeatures:
        """Both views go through the same tower. pixel_values: (batch, 3, size, size).

        `output_attentions=True`, `output_hidden_states=True`: as in CLIPVisionModel.
        """
        vision = self.clip.vision_model(pixel_values=pixel_values, **outputs)
        return ImageFeatures(
            pooled=self.clip.visual_projection(vision.pooler_output),
            patches=vision.last_hidden_state[:, 1:],
            hidden_states=vision.hidden_states,
            attentions=vision.attentions,
        )

    def encode_view(self, branch: str, pixel_values: Tensor) -> Tensor:
        """What a branch's head reads of its view, (batch, feature_size): see `branch_features`."""
        asked = {"output_hidden_states": True} if self.config.reads_patches(branch) else {}
        return self.branch_features(branch, self.encode_images(pixel_values, **asked))

    def branch_features(self, branch: str, images: ImageFeatures) -> Tensor:
        """(batch, feature_size): the pooled feature, then, if the branch's adapter reads them, its
        layer's patch tokens row by row, each token normalised.
        """
        if not self.config.reads_patches(branch):
            return images.pooled
        tokens = images.hidden_states[self.config.patch_layer(branch)][:, 1:]
        tokens = F.layer_norm(tokens, tokens.shape[-1:])
        return torch.cat([images.pooled, tokens.flatten(1)], dim=-1)

    def encode_prompts(self, context: Tensor | None = None) -> Tensor:
        """T^h and T^c, Eq. 10: (num_prompts, projection_dim), not normalised; see HcpPromptGroups.

        `context` (folds, num_slots, hidden_size) encodes the prompts of many folds at once.
        """
        return self.prompts(self.clip, context)

    def encode_action_units(self) -> Tensor:
        """Main action units one by one, (len(MAIN_ACTION_UNITS), projection_dim), not normalised.

        Raises:
            ValueError: the model has no componential branch.
        """
        return self.prompts.encode_action_units(self.clip)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        flow_pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        text_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> HcpMerOutput | tuple:
        """Recognise.

        Args:
            pixel_values: (batch, 3, size, size), magnified apex frames.
            flow_pixel_values: (batch, 3, size, size), flow images onset → apex.
            labels: (batch,) class indices; with them the output has a loss.
            text_embeds: (num_prompts, projection_dim) from `encode_prompts`, to encode texts once
                for many calls.
            output_attentions, output_hidden_states: of the vision tower, per view.
        Raises:
            ValueError: an image that an active branch needs is missing.
        """
        views = self._encode_views(
            {"magnified": pixel_values, "flow": flow_pixel_values},
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        if text_embeds is None:
            text_embeds = self.encode_prompts()
        features = {branch: self.branch_features(branch, view) for branch, view in views.items()}
        output = self.head(features, text_embeds)
        branch_logits = dict(zip(self.config.branches, output.branch_logits))
        branch_embeds = dict(zip(self.config.branches, output.branch_embeds))
        holistic, componential = views.get("holistic"), views.get("componential")
        loss = None
        if labels is not None:
            loss = total_loss(output, labels, self.focal_alpha, self.config)
        result = HcpMerOutput(
            loss=loss,
            logits=output.logits,
            holistic_logits=branch_logits.get("holistic"),
            componential_logits=branch_logits.get("componential"),
            gate_weights=output.gate_weights,
            image_embeds=branch_embeds.get("holistic"),
            flow_embeds=branch_embeds.get("componential"),
            text_embeds=F.normalize(text_embeds, dim=-1),
            image_hidden_states=output_hidden_states and holistic and holistic.hidden_states,
            flow_hidden_states=output_hidden_states and componential and componential.hidden_states,
            image_attentions=holistic and holistic.attentions,
            flow_attentions=componential and componential.attentions,
        )
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return result if as_dict else result.to_tuple()

    @torch.no_grad()
    def zero_shot(
        self,
        pixel_values: Tensor | None = None,
        flow_pixel_values: Tensor | None = None,
        candidate_groups: Mapping[str, Mapping] | None = None,
    ) -> ZeroShotOutput:
        """Recognise with nothing that was trained: no adapter, no gate, no learnt context.

        A backbone that is calibrated answers from the flow, by its action units' evidence; another
        one as zero-shot CLIP, by the prompt groups' similarity, Eq. 1.

        Args:
            pixel_values, flow_pixel_values: as `forward` takes them.
            candidate_groups: classes in place of the model's own, see `candidate_sets`; the columns
                of the logits are in their order.
        Raises:
            ValueError: an image is missing, groups that cannot be read, or new groups for a
                backbone without calibration, whose tokenizer a checkpoint does not carry.
        """
        views = self._encode_views({"magnified": pixel_values, "flow": flow_pixel_values})
        pooled = {branch: view.pooled for branch, view in views.items()}
        return answer_zero_shot(self, pooled, candidate_groups)

    def _encode_views(self, images: dict[str, Tensor | None], **outputs) -> dict:
        """branch → ImageFeatures of its view, for the active branches. images: by view."""
        names = {"magnified": "pixel_values", "flow": "flow_pixel_values"}
        views = {branch: self.config.view_of(branch) for branch in self.config.branches}
        for branch, view in views.items():
            if images[view] is None:
                raise ValueError(
                    f"the {branch} branch needs {names[view]}; "
                    "processor(magnified=…, flow=…) or processor(onset=…, apex=…) makes both."
                )
        asked = {name: value for name, value in outputs.items() if value is not None}
        if any(map(self.config.reads_patches, views)):
            asked["output_hidden_states"] = True
        different = list(dict.fromkeys(views.values()))
        # One pass for both: for few clips it is faster than two.
        together = self.encode_images(torch.cat([images[view] for view in different]), **asked)
        parts = together.split([len(images[view]) for view in different])
        of_view = dict(zip(different, parts))
        return {branch: of_view[view] for branch, view in views.items()}


__all__ = ["HcpMerModel", "HcpMerOutput"]

"""The recipe's backbone: is it there, is it the published one, does its tokenizer belong to it?"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hcp_mer.doctor.findings import Verdict, look, ok, wrong
from hcp_mer.doctor.published import CLIP_IDS, CLIP_VOCABULARY, published_backbone
from hcp_mer.errors import UserError
from hcp_mer.hub.access import readable_hub_errors

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

    from hcp_mer.model.modeling_hcp_mer import HcpMerModel
    from hcp_mer.training.recipe import Recipe

WEIGHT_FILES = (  # transformers takes the first that is there
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
SCALE_TOLERANCE = 1e-3  # relative


class Backbone:
    """The backbone that a recipe names; what is loaded of it is loaded once."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.where = recipe.backbone_location()
        self.revision = recipe.backbone_revision
        self.is_folder = Path(self.where).is_dir()
        self.published = published_backbone(self.where)

    @cached_property
    def config(self) -> CLIPConfig:
        """Raises ValueError: it is not of a CLIP."""
        from transformers import CLIPConfig

        settings, _ = CLIPConfig.get_config_dict(self.where, revision=self.revision)
        kind = settings.get("model_type", "model of unknown type")
        if kind != "clip":
            raise ValueError(
                f"config.json is of a {kind}; a backbone is a CLIPModel, such as "
                "openai/clip-vit-base-patch32"
            )
        return CLIPConfig.from_dict(settings)

    @cached_property
    def weights_file(self) -> Path | None:
        """None if there is none. Raises UserError: the repository cannot be reached."""
        from huggingface_hub import try_to_load_from_cache

        if not self.is_folder:  # offline, nobody can tell that a repository has no safetensors
            for name in WEIGHT_FILES:
                cached = try_to_load_from_cache(self.where, name, revision=self.revision)
                if isinstance(cached, str):
                    return Path(cached)
        return next(filter(None, map(self._file, WEIGHT_FILES)), None)

    @cached_property
    def tokenizer(self):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(
            self.where, revision=self.revision, trust_remote_code=False
        )

    @cached_property
    def model(self) -> HcpMerModel:
        """The recipe's untrained model, which answers as this CLIP does, zero-shot."""
        from hcp_mer.training.assembly import build_model

        return build_model(self.recipe, self._groups())

    def check_place(self) -> Verdict:
        """Where it is; a Hub id that is not in the cache yet is fetched, as training would."""
        try:
            config_file, weights_file = self._file("config.json"), self.weights_file
        except UserError as error:
            return self._not_there(str(error))
        if config_file is None or weights_file is None:
            lacks = "config.json" if config_file is None else "model.safetensors"
            return self._not_there(f"it has no {lacks}")
        size = f"{weights_file.name}, {weights_file.stat().st_size / 1e6:.1f} MB"
        if self.is_folder:
            return ok(f"folder {self.where}: {size}")
        if self.revision is None:
            return look(
                f"{self.where} in the cache: {size}; its revision is not pinned",
                "pin it, so that runs can be compared: backbone_revision in the recipe",
            )
        return ok(f"{self.where} at {self.revision[:8]}, in the cache: {size}")

    def check_sizes(self) -> Verdict:
        """config.json and preprocessor_config.json against what was published."""
        vision, text = self.config.vision_config, self.config.text_config
        told = (
            f"{vision.num_hidden_layers} and {text.num_hidden_layers} layers, "
            f"{vision.image_size} px in patches of {vision.patch_size}, "
            f"vocabulary {text.vocab_size}, projection {self.config.projection_dim}"
        )
        if self.published is None:
            return look(f"{told}; what was published of it is not known", "see its card")
        found = {name: self._size(name) for name in self.published.sizes} | self._pixels()
        expected = self.published.sizes | {
            "image_mean": self.published.image_mean,
            "image_std": self.published.image_std,
        }
        differing = [
            f"{name} {expected[name]} expected, {value} found"
            for name, value in found.items()
            if value != expected[name]
        ]
        if differing:
            more = f"; {len(differing) - 3} more differ" if len(differing) > 3 else ""
            told = "; ".join(differing[:3]) + more
            return wrong(told, f"another model under this name: {self._mend()}")
        return ok(f"{told}, as published")

    def check_weights(self) -> Verdict:
        """Names, shapes and number of the weights, the logit scale, and the file's hash."""
        from hcp_mer.model.backbone_hcp_mer import load_backbone

        try:
            clip = load_backbone(self.where, self.revision)
        except RuntimeError:  # transformers prints which; its message only points there
            told = f"the weights in {self.weights_file.name} have other sizes than config.json says"
            return wrong(told, self._mend())
        except (OSError, ValueError) as error:
            return wrong(" ".join(str(error).split()), self._mend())
        number, scale = clip.num_parameters(), float(clip.logit_scale.detach().exp())
        found = f"{number:,} parameters, scale {scale:.2f}"
        dead = _dead_weights(clip)
        if dead:
            return wrong(f"{found}; {len(dead)} weights carry nothing, as {dead[0]}", self._mend())
        if self.published is None:
            return look(f"{found}; no published hash is known", "nothing, if it is your own")
        if number != self.published.num_parameters:
            expected = f"{self.published.num_parameters:,} parameters expected"
            return wrong(f"{expected}; {found}", f"another model under this name: {self._mend()}")
        if abs(scale / self.published.scale - 1) > SCALE_TOLERANCE:
            return wrong(f"scale {self.published.scale:.2f} expected; {found}", self._mend())
        return self._compare_hash(found)

    def check_tokenizer(self) -> Verdict:
        """Known ids where the vocabulary is CLIP's; every prompt within what the tower reads."""
        vocabulary, size = len(self.tokenizer), self.config.text_config.vocab_size
        if vocabulary != size:
            return wrong(
                f"the tokenizer has {vocabulary} tokens, the text tower {size}", self._mend_tokens()
            )
        if vocabulary == CLIP_VOCABULARY:
            for text, expected in CLIP_IDS.items():
                ids = self.tokenizer(text)["input_ids"]
                if tuple(ids) != expected:
                    told = f"{text!r} must be {list(expected)}, is {ids}"
                    return wrong(told, self._mend_tokens())
        lengths, unknown = self._prompt_lengths()
        positions = self.config.text_config.max_position_embeddings
        if unknown:
            return wrong(f"{unknown!r} has pieces that the tokenizer lacks", self._mend_tokens())
        if max(lengths) > positions:
            return wrong(
                f"the longest prompt has {max(lengths)} tokens, the text tower takes {positions}",
                "fewer action units per set in the prompts, or --set model.au_text=codes",
            )
        known = "ids as CLIP's" if vocabulary == CLIP_VOCABULARY else "no unknown pieces"
        return ok(f"{vocabulary} tokens, {known}; longest prompt {max(lengths)} of {positions}")

    def _file(self, name: str) -> Path | None:
        """A file of it, fetched if need be; None if there is no such file.

        Raises:
            UserError: the repository cannot be reached, or does not exist.
        """
        if self.is_folder:
            file = Path(self.where) / name
            return file if file.is_file() else None

        from huggingface_hub import errors, hf_hub_download

        with readable_hub_errors("it"):
            try:
                return Path(hf_hub_download(self.where, name, revision=self.revision))
            except errors.LocalEntryNotFoundError:  # the Hub was not asked
                raise
            except errors.EntryNotFoundError:
                return None

    def _not_there(self, reason: str) -> Verdict:
        if self.is_folder:
            return wrong(f"folder {self.where} holds no whole model: {reason}", self._mend())
        if self.where.startswith(("/", ".", "~")) or self.where.count("/") > 1:
            return wrong(f"there is no folder {self.where}", "correct the path")
        size = f" ({self.published.fetch_bytes / 1e6:.0f} MB)" if self.published else ""
        return wrong(
            f"{self.where} is no folder, and {reason}",
            f"with a network, run this again: it fetches what training needs{size}\n"
            "without one: --backbone hub_configs/face-motion-clip",
        )

    def _size(self, name: str) -> object:
        part, _, field = name.rpartition(".")
        return getattr(getattr(self.config, f"{part}_config") if part else self.config, field)

    def _pixels(self) -> dict[str, tuple]:
        """Mean and standard deviation as they will be used: CLIP's where the file is absent."""
        from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

        try:
            file = self._file("preprocessor_config.json")
        except UserError:  # cut off from the Hub, training takes the defaults too
            file = None
        own = json.loads(file.read_text(encoding="utf-8")) if file else {}
        defaults = {"image_mean": OPENAI_CLIP_MEAN, "image_std": OPENAI_CLIP_STD}
        return {name: tuple(own.get(name, default)) for name, default in defaults.items()}

    def _compare_hash(self, found: str) -> Verdict:
        with self.weights_file.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest in self.published.sha256.values():
            return ok(f"{found}; sha256 {digest[:12]}… as published")
        told = f"{found}; sha256 {digest[:12]}… of {self.weights_file.name} is not the published"
        if self.is_folder:  # saved again by somebody: the same weights in another file
            return look(told, "fine if you trained or converted it; if not, " + self._mend())
        return wrong(told, self._mend())

    def _groups(self) -> list[dict]:
        """The recipe's prompt groups, with stand-ins for sets that are counted while training."""
        from hcp_mer.training.fold_prompts import without_counts

        return without_counts(self.recipe.prompt_groups())

    def _prompt_lengths(self) -> tuple[list[int], str | None]:
        """Tokens of each prompt, start and end included; a text with unknown pieces, or None."""
        from hcp_mer.model.configuration_hcp_mer import HcpMerConfig
        from hcp_mer.model.prompts_hcp_mer import componential_text

        def option(name: str) -> str:
            return self.recipe.model.get(name, getattr(HcpMerConfig, name))

        texts = []
        for group in self._groups():
            texts.append(group["emotion"])
            texts += [componential_text(u, option("au_text")) for u in group["action_units"]]
        around = [option("category_text"), option("context_text")]
        ids = {t: self.tokenizer(t, add_special_tokens=False)["input_ids"] for t in around + texts}
        odd = [text for text, own in ids.items() if self.tokenizer.unk_token_id in own]
        shared = 2 + sum(len(ids[text]) for text in around)
        return [shared + len(ids[text]) for text in texts], odd[0] if odd else None

    def _mend(self) -> str:
        if self.is_folder:
            return f"copy {self.where} again from where it came from"
        name = self.weights_file.name if self.weights_file else ""
        revision = f" --revision {self.revision}" if self.revision else ""
        return f"fetch it again:\nhf download {self.where} {name} --force-download{revision}"

    def _mend_tokens(self) -> str:
        if self.is_folder:
            return f"copy the tokenizer's files into {self.where} from where it came from"
        revision = f" --revision {self.revision}" if self.revision else ""
        files = "tokenizer.json tokenizer_config.json vocab.json merges.txt"
        return f"fetch it again:\nhf download {self.where} {files} --force-download{revision}"


def _dead_weights(clip: CLIPModel) -> list[str]:
    """Names of weights that are not finite, and of matrices in which all values are equal."""
    return [
        name
        for name, value in clip.named_parameters()
        if not value.isfinite().all() or (value.ndim > 1 and bool(value.min() == value.max()))
    ]

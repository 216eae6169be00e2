"""Clips in, emotions out: the one-call way to use a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset
from transformers import Pipeline
from transformers.dynamic_module_utils import custom_object_save

from .action_units_hcp_mer import MAIN_ACTION_UNITS, action_unit_name
from .configuration_hcp_mer import PIPELINE_TASK, HcpMerConfig

FRAMES, PAIR = ("onset", "apex"), ("magnified", "flow")
BRANCHES = ("holistic", "componential")
PIXELS_OF = {"magnified": "pixel_values", "flow": "flow_pixel_values"}
FILMS = ("video", "frames")
NEAREST_ACTION_UNITS = 5
WANTED = "a clip is a dict (or keywords) with onset and apex, or with magnified and flow"
NO_FILMS = (
    "a checkpoint alone reads no video= or frames=: it carries nothing that finds a face or spots "
    "an apex. Give onset= and apex=, or magnified= and flow=; or install the hcp_mer package, "
    "whose hcp_mer.load_pipeline(<repository or folder>)(video=…) does the rest."
)


class MicroExpressionPipeline(Pipeline):
    """Names the emotion of micro-expression clips.

    Example:
        pipe = pipeline(model="<repository or folder>", trust_remote_code=True)
        pipe({"onset": "img46.jpg", "apex": "img59.jpg"})
        # [{"label": "surprise", "score": 0.71}, {"label": "negative", "score": 0.20}, …]

    A clip is a dict (or keywords) with `onset` and `apex`, two face crops (height, width, 3) cut
    and aligned alike, or with `magnified` and `flow`, a ready-made pair. Each is a path, a URL, a
    PIL image or an RGB uint8 array. A model with one branch needs that branch's view only. Other
    keys are passed over, and so are numbers (a data set's `onset` may be a frame's number).

    Not for judging what somebody feels, means or hides, nor for any decision about a person: it
    sorts clips of which it is known that they show a micro-expression.

    Args:
        model: an HcpMerModel.
        image_processor: the HcpMerImageProcessor that belongs to it.
        top_k, explain: defaults for every call, see `__call__`; all else as in every Pipeline.
    """

    _load_processor = False
    _load_image_processor = True
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, model, image_processor=None, **kwargs):
        kwargs.setdefault("task", PIPELINE_TASK)
        super().__init__(model=model, image_processor=image_processor, **kwargs)
        if self.image_processor is None:
            raise ValueError(
                "image_processor is missing: give the HcpMerImageProcessor that belongs to the "
                "model, AutoImageProcessor.from_pretrained(…, trust_remote_code=True) loads it."
            )
        self._texts: dict[str, Tensor] = {}
        self._texts_of: tuple[nn.Module | None, list[Tensor]] = (None, [])

    def __call__(
        self,
        inputs: Mapping | Iterable[Mapping] | None = None,
        *,
        onset=None,
        apex=None,
        magnified=None,
        flow=None,
        video=None,
        frames=None,
        **options,
    ) -> Any:
        """Recognise one clip or many.

        Args:
            inputs: a clip, a list of clips, a dict of lists (of equal lengths), or a generator or
                dataset of clips. Instead of it one clip or lists by keyword: `onset=, apex=` or
                `magnified=, flow=`.
            video, frames: refused; a checkpoint cannot prepare them.
            options: top_k, how many classes to name (default: all); explain; zero_shot, to answer
                with nothing that was trained, see `HcpMerModel.zero_shot`; candidate_groups, your
                own classes for it, {"contempt": {"emotion": "contempt", "action_units": [12, 14]},
                …}; batch_size and num_workers as in every Pipeline.
        Returns:
            Per clip its classes, the likeliest first, [{"label": str, "score": float}, …]; below
            `config.unsure_below` the first is to be called unsure. Scores are calibrated by
            `config.score_temperature`; those of one of two branches and of zero_shot are not. With
            explain {"scores": these, "gate": {"holistic": α, "componential": β} of Eq. 4,
            "holistic" and "componential": each branch's own classes, "action_units": the 5 nearest
            to the flow, [{"action_unit": "AU4", "name": "brow lowerer", "similarity": cosine}, …]},
            each but the scores None where the model has no such branch; of zero_shot {"scores",
            "action_units": the 5 likeliest, with "log_odds" in nats}. A list of these for several
            clips, an iterator of them for a generator or a dataset.
        Raises:
            ValueError: no clip, views of both kinds or none, an image that cannot be read.
        """
        named = {"onset": onset, "apex": apex, "magnified": magnified, "flow": flow}
        named |= {"video": video, "frames": frames}
        given = {name: value for name, value in named.items() if value is not None}
        if (inputs is None) == (not given):
            raise ValueError(f"{WANTED}; got {'both a clip and keywords' if given else 'nothing'}.")
        clips = _as_clips(given if inputs is None else inputs)
        if isinstance(clips, list) and not clips:  # transformers looks at the first
            return []
        return super().__call__(clips, **options)

    def save_pretrained(self, save_directory, **kwargs):
        """As every Pipeline, with this code: a model loaded as remote code does not carry it."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        custom_object_save(self, save_directory)
        super().save_pretrained(save_directory, **kwargs)

    def _sanitize_parameters(
        self, top_k=None, explain=None, zero_shot=None, candidate_groups=None, **others
    ):
        others.pop("local_files_only", None)  # pipeline() passes its own argument on
        if others:
            raise ValueError(
                f"unknown argument {', '.join(others)}: the pipeline has top_k, explain, "
                "zero_shot, candidate_groups, batch_size and num_workers."
            )
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"top_k must be at least 1 (leave it out for all); got {top_k!r}.")
        asked = {"explain": explain, "groups": candidate_groups}
        asked["zero_shot"] = True if candidate_groups is not None else zero_shot
        asked = {name: value for name, value in asked.items() if value is not None}
        return {}, asked, asked if top_k is None else {**asked, "top_k": top_k}

    def preprocess(self, clip: Mapping) -> dict[str, Tensor]:
        """A clip → what the active branches read, each (1, 3, size, size) in the model's dtype."""
        config = self.model.config
        pixels = self.image_processor(**_views(clip, config), return_tensors="pt")
        names = {PIXELS_OF[config.view_of(branch)] for branch in config.branches}
        return {name: pixels[name].to(self.dtype) for name in names}

    def _forward(
        self,
        pixels: dict[str, Tensor],
        explain: bool = False,
        zero_shot: bool = False,
        groups: Mapping[str, Mapping] | None = None,
    ) -> dict[str, Tensor]:
        """Every value has the batch first; what the model does not have is left out."""
        with _evaluating(self.model):
            if zero_shot:
                answer = self.model.zero_shot(**pixels, candidate_groups=groups)
                named = {"logits": answer.logits, "log_odds": answer.action_unit_log_odds}
                return {name: value for name, value in named.items() if value is not None}
            prompts = self._text_embeds("encode_prompts")
            output = self.model(**pixels, text_embeds=prompts, return_dict=True)
            answers = {"logits": output.logits}
            if explain:
                for name in ("holistic_logits", "componential_logits", "gate_weights"):
                    if output.get(name) is not None:
                        answers[name] = output[name]
                if output.get("flow_embeds") is not None:
                    units = F.normalize(self._text_embeds("encode_action_units").float(), dim=-1)
                    answers["action_unit_cosines"] = output.flow_embeds.float() @ units.T
        return answers

    def postprocess(
        self,
        answers: dict[str, Tensor],
        top_k: int | None = None,
        explain: bool = False,
        zero_shot: bool = False,
        groups: Mapping[str, Mapping] | None = None,
    ) -> list[dict] | dict:
        """The answers to one clip, each (1, …), in words and plain numbers."""
        config = self.model.config
        classes = config.id2label if groups is None else dict(enumerate(groups))
        names = ("logits", "holistic_logits", "componential_logits")
        temperatures = dict.fromkeys(names, 1.0)
        if not zero_shot:  # fitted on the answers of the trained model: fused ones, if it fuses
            fitted_on = names[:1] if len(config.branches) > 1 else names
            temperatures |= dict.fromkeys(fitted_on, config.score_temperature)
        ranked = {
            name: _ranked(answers[name], classes, top_k, temperature) if name in answers else None
            for name, temperature in temperatures.items()
        }
        if not explain:
            return ranked["logits"]
        if zero_shot:
            odds = answers.get("log_odds")
            units = None if odds is None else _nearest_action_units(_known(odds[0]), "log_odds")
            return {"scores": ranked["logits"], "action_units": units}
        gate = answers.get("gate_weights")
        cosines = answers.get("action_unit_cosines")
        return {
            "scores": ranked["logits"],
            "gate": None if gate is None else dict(zip(BRANCHES, gate[0].tolist())),
            "holistic": ranked["holistic_logits"],
            "componential": ranked["componential_logits"],
            "action_units": None if cosines is None else _nearest_action_units(cosines[0]),
        }

    def _text_embeds(self, encode: str) -> Tensor:
        """What the model's method `encode` returns, asked again only after its weights changed.

        Two weights stand for all: the contexts, which alone are trained, and the text tower's last
        layer. They are compared by value, since writing to `.data` leaves no other trace.
        """
        weights = [self.model.prompts.context, self.model.clip.text_projection.weight]
        model, before = self._texts_of
        if model is not self.model or not all(map(_same, before, weights)):
            self._texts.clear()
            self._texts_of = self.model, [weight.detach().clone() for weight in weights]
        if encode not in self._texts:
            self._texts[encode] = getattr(self.model, encode)()
        return self._texts[encode]


class _Rows(Dataset):
    """Anything with a length and numbered rows (a `datasets.Dataset`) as torch's Dataset."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Mapping:
        return self.rows[index]


class _Stream(IterableDataset):
    """Anything that yields clips: older transformers would read a bare generator to its end."""

    def __init__(self, clips: Iterable[Mapping]):
        self.clips = clips

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self.clips)


def _as_clips(inputs) -> Mapping | list | Dataset:
    """One clip, or several in a form that Pipeline knows."""
    if isinstance(inputs, Mapping):
        return _one_or_many(inputs)
    if isinstance(inputs, (list, tuple)):
        return list(inputs)
    if isinstance(inputs, Dataset):
        return inputs
    if not isinstance(inputs, (str, bytes, Path, np.ndarray, Tensor, Image.Image)):
        if hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__"):
            return _Rows(inputs)
        if hasattr(inputs, "__iter__"):
            return _Stream(inputs)
    raise ValueError(f"{WANTED}; got {type(inputs).__name__}.")


def _one_or_many(clip: Mapping) -> Mapping | list[Mapping]:
    """A dict of lists as a list of dicts; a clip as it is."""
    views = _given_views(clip)
    lists = {view: clip[view] for view in views if isinstance(clip[view], (list, tuple))}
    if not lists:
        return clip
    if len(lists) < len(views) or len({len(images) for images in lists.values()}) > 1:
        counts = (
            f"{len(lists[view])} {view}" if view in lists else f"a single {view}" for view in views
        )
        raise ValueError(f"one clip needs one image of each view; got {', '.join(counts)}.")
    return [dict(zip(lists, images)) for images in zip(*lists.values())]


def _given_views(clip: Mapping) -> list[str]:
    """The views that a row really holds: in a data set, `onset` may be the number of a frame."""

    def is_image(value) -> bool:
        if isinstance(value, (list, tuple)):
            return not value or any(map(is_image, value))
        return value is not None and not isinstance(value, Number)

    return [view for view in (*FRAMES, *PAIR) if is_image(clip.get(view))]


def _views(clip: Mapping, config: HcpMerConfig) -> dict:
    """The images of a clip that the branches of a model need."""
    if not isinstance(clip, Mapping):
        raise ValueError(f"{WANTED}; got {type(clip).__name__}.")
    views = _given_views(clip)
    if not views and any(clip.get(film) is not None for film in FILMS):
        raise ValueError(NO_FILMS)
    if not views:
        found = ", ".join(f"{name} ({type(value).__name__})" for name, value in clip.items())
        raise ValueError(f"{WANTED}; got {found or 'an empty one'}.")
    if set(views) & set(FRAMES) and set(views) & set(PAIR):
        raise ValueError(f"{WANTED}, not with both kinds; got {', '.join(views)}.")
    seen = [config.view_of(branch) for branch in config.branches]
    needed = FRAMES if views[0] in FRAMES else list(dict.fromkeys(seen))
    missing = [view for view in needed if view not in views]
    if missing:
        raise ValueError(
            f"this model reads {' and '.join(needed)} of such a clip; {missing[0]} is missing, "
            f"got {', '.join(views)}."
        )
    return {view: clip[view] for view in needed}


def _ranked(
    logits: Tensor, classes: Mapping[int, str], top_k: int | None, temperature: float
) -> list[dict]:
    """Classes by their scores; logits (1, classes)."""
    logits = logits[0].float()
    scores = (logits / temperature).softmax(-1)
    # Not by their scores: a low temperature makes those of all but one exactly 0.
    order = logits.argsort(descending=True, stable=True)[:top_k].tolist()
    return [{"label": classes[index], "score": scores[index].item()} for index in order]


def _known(log_odds: Tensor) -> Tensor:
    """Units without calibration, whose log-odds are exactly 0, behind all others."""
    return log_odds.masked_fill(log_odds == 0, -torch.inf)


def _nearest_action_units(values: Tensor, what: str = "similarity") -> list[dict]:
    """The units with the highest values; values: (len(MAIN_ACTION_UNITS),)."""
    nearest = values.topk(NEAREST_ACTION_UNITS)
    numbers = [MAIN_ACTION_UNITS[index] for index in nearest.indices.tolist()]
    return [
        {"action_unit": f"AU{number}", "name": action_unit_name(number), what: value}
        for number, value in zip(numbers, nearest.values.tolist())
        if value > -torch.inf
    ]


def _same(before: Tensor, now: Tensor) -> bool:
    alike = (before.dtype, before.device) == (now.dtype, now.device)
    return alike and torch.equal(before, now)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """A model that is being trained must not learn batch statistics from a question."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


__all__ = ["MicroExpressionPipeline"]

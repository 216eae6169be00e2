"""From frames to tensors, the same at training and at inference."""

# ruff: noqa: E402 - the check comes before what it is about
from __future__ import annotations

from .versions_hcp_mer import check_transformers

check_transformers()

import difflib
from dataclasses import fields
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, load_image
from transformers.processing_utils import ImagesKwargs
from transformers.utils import TensorType

from .flow_image_hcp_mer import standardise_flow
from .frames_hcp_mer import SMALLEST_SIDE_PX, resize_frame
from .motion_hcp_mer import MotionSettings, motion_pair

SMALLEST_FACE_PX = 16  # a side; below it no face can be made out
_VIEWS = {"pixel_values": "magnified", "flow_pixel_values": "flow"}
LEAST_CONTRAST = 1.0  # grey levels, standard deviation: below it a frame shows nothing
LEAST_OF_16_BIT = 4096  # a brightest level below it leaves fewer than 16 of 256 levels
URL_TIMEOUT_S = 30.0


class HcpMerImagesKwargs(ImagesKwargs, total=False):
    """The settings that `from_pretrained` may be given in place of the stored ones."""

    image_size: int
    flow_normalisation: str
    motion_size: int
    motion: dict
    estimator: str
    magnifier: str
    estimator_weights: dict | None
    magnifier_weights: dict | None


class HcpMerImageProcessor(BaseImageProcessor):
    """Turns (onset, apex) or (magnified, flow) into `pixel_values` and `flow_pixel_values`.

    Args:
        image_size: side of the square that the backbone reads, px.
        image_mean, image_std: per channel, of images scaled to [0, 1]; the backbone's own.
        resample: PIL filter for the resize to `image_size` (3 is bicubic).
        flow_normalisation: "image": flow images as any other, by mean and deviation;
            "standardised": by `standardise_flow`, the same for images of any size and scale.
        motion_size: side of the square on which motion is measured, px.
        motion: the fields of MotionSettings (registration, magnification, encoding of flow).
        estimator, magnifier: what made the pairs that trained the model. Only the defaults travel
            with a checkpoint; after others, `onset=, apex=` is refused and pairs must be given.
        estimator_weights, magnifier_weights: of networks, their variant, file and sha256.
    Raises:
        ValueError: a setting that does not exist, or a value out of range.
    """

    model_input_names = ["pixel_values", "flow_pixel_values"]  # noqa: RUF012
    valid_kwargs = HcpMerImagesKwargs
    _auto_class = "AutoImageProcessor"  # save_pretrained then adds the code and says where it is

    def __init__(
        self,
        image_size: int = 224,
        image_mean: list[float] | None = None,
        image_std: list[float] | None = None,
        resample: int = 3,
        flow_normalisation: str = "image",
        motion_size: int = 224,
        motion: dict | None = None,
        estimator: str = "lucas_kanade",
        magnifier: str = "lagrangian",
        estimator_weights: dict | None = None,
        magnifier_weights: dict | None = None,
        **kwargs,
    ):
        _refuse_unknown(kwargs)
        super().__init__(**kwargs)
        self.image_size = _whole("image_size", image_size, 1)
        self.image_mean = _channels("image_mean", OPENAI_CLIP_MEAN, image_mean)
        self.image_std = _channels("image_std", OPENAI_CLIP_STD, image_std)
        if min(self.image_std) <= 0:
            raise ValueError(f"image_std must be positive; got {self.image_std}.")
        if resample not in list(Image.Resampling):
            raise ValueError(f"resample must be a PIL filter, 0 to 5 (3: bicubic); got {resample}.")
        self.resample = int(resample)
        if flow_normalisation not in ("image", "standardised"):
            raise ValueError(
                f"flow_normalisation must be image or standardised; got {flow_normalisation!r}."
            )
        self.flow_normalisation = flow_normalisation
        self.motion_size = _whole("motion_size", motion_size, SMALLEST_SIDE_PX)
        self.motion = _motion_settings(motion).to_dict()
        self.estimator, self.magnifier = estimator, magnifier
        self.estimator_weights = _weights("estimator_weights", estimator_weights)
        self.magnifier_weights = _weights("magnifier_weights", magnifier_weights)

    def __call__(
        self,
        images=None,
        *,
        magnified=None,
        flow=None,
        onset=None,
        apex=None,
        return_tensors: str | TensorType | None = None,
    ) -> BatchFeature:
        """Prepare one clip or a list of clips.

        Args: each a path, a URL, a PIL image, an RGB uint8 array (height, width, 3), or a list of
            those. Either `onset` and `apex` (raw face crops: motion is computed here) or
            `magnified` and/or `flow` (ready-made pairs; flow images as `flow_to_image` makes them).
            return_tensors: "pt" or "np".
        Returns: BatchFeature with `pixel_values` and `flow_pixel_values`, each
            (batch, 3, image_size, image_size) float32.
        Raises:
            ValueError: neither or both kinds of input, lists of unequal lengths, not an image.
        """
        if images is not None:
            raise ValueError(
                "HCP_MER reads two views of a clip: give onset= and apex=, or magnified= and flow=."
            )
        if (onset is None) != (apex is None):
            raise ValueError("onset and apex belong together: give both.")
        if (onset is not None) == (magnified is not None or flow is not None):
            raise ValueError("give either onset= and apex=, or magnified= and flow=.")
        given = {"onset": onset, "apex": apex, "magnified": magnified, "flow": flow}
        clips = _clips({name: images for name, images in given.items() if images is not None})
        pixels = [
            {name: self.to_pixels(view, _VIEWS[name]) for name, view in self._views(clip).items()}
            for clip in clips
        ]
        data = {name: np.stack([clip[name] for clip in pixels]) for name in pixels[0]}
        return BatchFeature(data, tensor_type=return_tensors)

    preprocess = __call__

    def to_pixels(self, image: np.ndarray, view: str = "magnified") -> np.ndarray:
        """RGB uint8 (height, width, 3) → normalised float32 (3, image_size, image_size).

        Args: view: "magnified", or "flow" for a flow image.
        """
        side = (self.image_size, self.image_size)
        if view == "flow" and self.flow_normalisation == "standardised":
            channels = [Image.fromarray(c.astype(np.float32)) for c in np.moveaxis(image, -1, 0)]
            resized = [np.asarray(c.resize(side, resample=self.resample)) for c in channels]
            normalised = standardise_flow(np.stack(resized, axis=-1))
        else:
            resized = Image.fromarray(image).resize(side, resample=self.resample)
            scaled = np.asarray(resized, dtype=np.float32) / 255
            normalised = (scaled - np.float32(self.image_mean)) / np.float32(self.image_std)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1), dtype=np.float32)

    def _views(self, clip: dict[str, tuple]) -> dict[str, np.ndarray]:
        """The views of one clip by the model's name for them, RGB uint8."""
        if "onset" in clip:
            magnified, flow = self._pair(clip)
            return {"pixel_values": magnified, "flow_pixel_values": flow}
        names = {"magnified": "pixel_values", "flow": "flow_pixel_values"}
        return {names[view]: as_rgb(image, name) for view, (image, name) in clip.items()}

    def _pair(self, clip: dict[str, tuple]) -> tuple[np.ndarray, np.ndarray]:
        if (self.estimator, self.magnifier) != ("lucas_kanade", "lagrangian"):
            raise ValueError(
                "this model was trained on pairs made by another method (flow "
                f"{_method(self.estimator, self.estimator_weights)}, magnification "
                f"{_method(self.magnifier, self.magnifier_weights)}), which does not travel with "
                "it: make pairs the same way and give magnified= and flow=."
            )
        (onset, onset_name), (apex, apex_name) = clip["onset"], clip["apex"]
        frames = {onset_name: as_rgb(onset, onset_name), apex_name: as_rgb(apex, apex_name)}
        if frames[onset_name].shape != frames[apex_name].shape:
            sizes = " and ".join(_size(frame) for frame in frames.values())
            raise ValueError(
                f"{onset_name} and {apex_name} must be of one size; got {sizes} px. Crop both "
                "frames of a clip alike."
            )
        frames = {name: resize_frame(frame, self.motion_size) for name, frame in frames.items()}
        for name, frame in frames.items():
            if frame.mean(axis=-1).std() < LEAST_CONTRAST:
                raise ValueError(f"{name} is one flat colour, no motion can be seen in it.")
        if np.array_equal(*frames.values()):
            raise ValueError(f"{onset_name} and {apex_name} are the same picture: nothing moves.")
        pair = motion_pair(*frames.values(), MotionSettings(**self.motion))
        return pair.magnified, pair.flow_image


def as_rgb(image, name: str = "image") -> np.ndarray:
    """A path, URL, PIL image or array as RGB uint8 (height, width, 3).

    Grey is repeated, transparency dropped, a file's EXIF rotation applied; 16-bit grey keeps its
    upper 8 bits (as Pillow reads 16-bit colour).
    Raises:
        ValueError: not an image, one without a fixed range of levels, or one too small for a face;
            the message begins with `name`.
    """
    if isinstance(image, np.ndarray):
        rgb = _array_as_rgb(image, name)
    elif isinstance(image, (str, Path, Image.Image)):
        try:
            rgb = _pil_as_rgb(image) if isinstance(image, Image.Image) else _file_as_rgb(image)
        except Exception as error:  # Pillow's readers and the HTTP library have many classes
            what = "the PIL image" if isinstance(image, Image.Image) else _shortened(str(image))
            reason = " ".join(str(error).split())
            raise ValueError(f"{name}: cannot read {what} as an image: {reason}") from error
    else:
        hint = ""
        if isinstance(image, dict) and "bytes" in image:
            hint = " An undecoded image of datasets: cast_column(…, datasets.Image()) decodes it."
        raise ValueError(
            f"{name} must be a path, a URL, a PIL image or a uint8 array; got "
            f"{'None' if image is None else type(image).__name__}.{hint}"
        )
    if min(rgb.shape[:2]) < SMALLEST_FACE_PX:
        raise ValueError(
            f"{name} is {_size(rgb)} px and shows no face: give at least {SMALLEST_FACE_PX} px a "
            "side, better the backbone's own size."
        )
    return rgb


def _array_as_rgb(array: np.ndarray, name: str) -> np.ndarray:
    given = f"{name} is a {array.dtype} array of shape {array.shape}"
    channels = (1, 3, 4)
    if array.dtype != np.uint8:
        raise ValueError(
            f"{given}, an image must be uint8: bring its values to 0–255, the same way for all "
            "frames, and convert it with .astype(numpy.uint8)."
        )
    if array.ndim == 4:
        raise ValueError(f"{given}: several clips are a list of images; give list(array).")
    if array.ndim == 3 and array.shape[0] in channels and array.shape[2] not in channels:
        raise ValueError(f"{given}: put the channels last, array.transpose(1, 2, 0).")
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in channels):
        raise ValueError(f"{given}, an image has (height, width) or (height, width, 3).")
    colour = array[..., :3] if array.ndim == 3 else array[..., None]
    return np.broadcast_to(colour, (*array.shape[:2], 3))


def _file_as_rgb(source: str | Path) -> np.ndarray:
    """Raises whatever Pillow or the HTTP library raise."""
    if str(source).startswith(("http://", "https://")):
        return _pil_as_rgb(load_image(str(source), timeout=URL_TIMEOUT_S))
    if Path(source).is_dir():
        raise ValueError("it is a folder.")
    if not Path(source).is_file():
        raise ValueError("there is no such file.")
    with Image.open(source) as image:
        limit = Image.MAX_IMAGE_PIXELS  # above it Pillow only warns, above its double it refuses
        if limit is not None and image.width * image.height > limit:
            raise ValueError(
                f"{image.width}×{image.height} px is more than Pillow's limit of {limit} pixels. "
                "Crop the face first."
            )
        return _pil_as_rgb(image)


def _pil_as_rgb(image: Image.Image) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are floats (mode F). Bring them to 0–255 and .convert('L').")
    if image.mode.startswith("I"):
        return _grey_16_bit_as_rgb(np.asarray(image))
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # to RGB, Pillow warns of palettes with transparency
    return np.asarray(image.convert("RGB"))


def _grey_16_bit_as_rgb(levels: np.ndarray) -> np.ndarray:
    """Integer levels 0 to 65535; Pillow's own conversion would cut them off at 255."""
    low, high = int(levels.min()), int(levels.max())
    if low < 0 or not LEAST_OF_16_BIT <= high < 2**16:
        raise ValueError(
            f"16-bit levels lie in 0 to 65535 and use that range; got {low} to {high}. Bring them "
            "to 0–255 yourself, the same way for all frames, and convert to 8 bits."
        )
    grey = (levels >> 8).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _clips(views: dict) -> list[dict[str, tuple]]:
    """One dict per clip, view → (image, what to call it in a message)."""
    lists = {
        view: list(images) if isinstance(images, (list, tuple)) else [images]
        for view, images in views.items()
    }
    if len({len(images) for images in lists.values()}) > 1:
        counts = ", ".join(f"{len(images)} {view}" for view, images in lists.items())
        raise ValueError(f"one clip needs one image of each view; got {counts}.")
    for view, images in lists.items():
        if not images:
            raise ValueError(f"{view} is an empty list: give at least one clip.")
    named = {
        view: [
            (image, f"{view}[{index}]" if isinstance(views[view], (list, tuple)) else view)
            for index, image in enumerate(images)
        ]
        for view, images in lists.items()
    }
    return [dict(zip(named, images)) for images in zip(*named.values())]


def _refuse_unknown(settings: dict) -> None:
    """Raise ValueError for misspelt settings and for other processors'; the library has its own."""
    own = list(HcpMerImagesKwargs.__annotations__.keys() - ImagesKwargs.__annotations__.keys())
    own += ["image_mean", "image_std", "resample"]
    for name in settings:
        close = difflib.get_close_matches(name, own, n=1, cutoff=0.75)
        if close or name in ImagesKwargs.__annotations__:
            hint = f"Did you mean {close[0]}?" if close else f"It has {', '.join(sorted(own))}."
            raise ValueError(f"HcpMerImageProcessor has no setting {name!r}. {hint}")


# What a config meant that was written before MotionSettings had this setting.
BEFORE = {
    "register": False,
    "mask_eyes": False,
    "flow_encoding": "uv_strain",
    "flow_scale_px": None,
}


def _motion_settings(motion: dict | None) -> MotionSettings:
    """MotionSettings; one that a given `motion` lacks is what it was before it could be chosen."""
    if motion is None:
        return MotionSettings()
    known = {field.name: field.default for field in fields(MotionSettings)}
    if not isinstance(motion, dict) or not motion.keys() <= known.keys():
        raise ValueError(f"motion may have the settings {', '.join(known)}; got {motion!r}.")
    for name, value in motion.items():
        if name in BEFORE and (name != "flow_scale_px" or value is None):
            continue  # MotionSettings itself knows what these may be
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"motion's {name} must be a number; got {value!r}.")
    return MotionSettings(**{**BEFORE, **motion})


def _weights(name: str, record: dict | None) -> dict | None:
    if record is not None and not (
        isinstance(record, dict) and {"file", "sha256"} <= record.keys()
    ):
        raise ValueError(f"{name} must say variant, file and sha256, or be None; got {record!r}.")
    return record


def _method(name: str, weights: dict | None) -> str:
    """A method and its weights, in words."""
    return f"{name} ({weights['file']}, sha256 {weights['sha256'][:12]}…)" if weights else name


def _whole(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            f"{name} must be a whole number of px, at least {least}; got {value!r}. 224 is usual."
        )
    return value


def _channels(name: str, default: list[float], values: list[float] | None) -> list[float]:
    values = default if values is None else values
    numbers = isinstance(values, (list, tuple)) and all(
        isinstance(value, (int, float)) for value in values
    )
    if not numbers or len(values) != 3:
        raise ValueError(f"{name} must be three numbers, for R, G and B; got {values!r}.")
    return list(values)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}×{image.shape[0]}"


def _shortened(text: str) -> str:
    """A base64 string given for a path would fill the screen."""
    return text if len(text) <= 300 else f"{text[:40]}… ({len(text)} characters)"


__all__ = ["HcpMerImageProcessor"]

"""What the field's peers look at, read from the run's pairs: flow as levels, faces as shares."""

from __future__ import annotations

from functools import partial

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.flow_image_hcp_mer import ZERO_LEVEL
from hcp_mer.training.loso import LosoRun

_ENCODING = "uv_strain"


def why_no_flow(run: LosoRun) -> str | None:
    """Why a peer that reads u, v and strain cannot answer on these pairs, or None.

    Pairs that others made (no settings) are taken to be such images.
    """
    encoding = run.pairs.settings.get("motion", {}).get("flow_encoding", _ENCODING)
    if encoding == _ENCODING:
        return None
    return (
        f"it reads u, v and strain, but the flow images of these pairs are encoded as {encoding}. "
        f"Prepare them with --flow_encoding {_ENCODING}."
    )


def refuse(name: str, reason: str | None) -> None:
    """Raise UserError where there is a reason why a peer cannot answer."""
    if reason:
        raise UserError(f"{name} cannot answer: {reason}")


def flow_levels(run: LosoRun, side_px: int) -> np.ndarray:
    """u, v and strain of every labelled clip, float32 (clips, 3, side_px, side_px).

    In levels of the flow image: u and v from −127 to 127, 0 is no motion; strain from 0 to 255.
    Each clip is scaled by its own fastest motion, as the flow images are.
    """
    levels = _read(run, "flow", side_px)
    levels[:, :2] -= ZERO_LEVEL
    return levels


def mirrored_flow(levels: np.ndarray) -> np.ndarray:
    """The flow of the mirrored faces, (…, 3, H, W): mirrored left to right, u negated."""
    mirrored = levels[..., ::-1].copy()
    mirrored[..., 0, :, :] *= -1
    return mirrored


def face_shares(run: LosoRun, side_px: int) -> np.ndarray:
    """The magnified apex of every labelled clip, RGB from 0 to 1, (clips, 3, side_px, side_px)."""
    return _read(run, "magnified", side_px) / 255


def _read(run: LosoRun, view: str, side_px: int) -> np.ndarray:
    """Levels as float32 (clips, 3, side_px, side_px): averaged, not rounded, where they shrink."""
    images = [_resized(run.pairs.image(row, view), side_px) for row in run.labelled.rows]
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))


def _resized(image: np.ndarray, side_px: int) -> np.ndarray:
    import cv2

    resize = partial(cv2.resize, image.astype(np.float32), (side_px, side_px))
    shrinks = side_px < max(image.shape[:2])
    return resize(interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

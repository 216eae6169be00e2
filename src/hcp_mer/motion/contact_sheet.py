"""Thumbnails of clips on one picture, to see at a glance what went wrong, or that nothing did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from hcp_mer.files import write_whole
from hcp_mer.model.face_regions_hcp_mer import EYE_SHARES

MOST_THUMBNAILS = 60
_COLUMNS = 6
_THUMBNAIL_PX, _GAP_PX = (184, 138), 8  # width and height
_LINE_PX, _LINES = 16, 2
_CELL_PX = (_THUMBNAIL_PX[0] + _GAP_PX, _THUMBNAIL_PX[1] + _LINES * _LINE_PX + _GAP_PX)
_PAPER, _INK, _MAT, _CROSS = (250, 250, 250), (20, 20, 20), (215, 215, 215), (60, 255, 60)  # BGR
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def contact_sheet(
    entries: Sequence[tuple[str, np.ndarray]], path: Path | str, eyes: bool = False
) -> None:
    """Write a PNG with the entries' pictures and names, 60 at most; the others are counted.

    Args: names and uint8 RGB pictures (H, W, 3) of any size; `eyes` draws crosses at EYE_SHARES,
    where aligned faces must have their eyes' centres.
    Raises OSError where the file cannot be written.
    """
    shown, more = entries[:MOST_THUMBNAILS], len(entries) - MOST_THUMBNAILS
    columns = max(1, min(_COLUMNS, len(shown)))
    height = -(-len(shown) // columns) * _CELL_PX[1] + _GAP_PX + (_LINE_PX + _GAP_PX) * (more > 0)
    sheet = np.full((height, columns * _CELL_PX[0] + _GAP_PX, 3), _PAPER, np.uint8)
    for index, (name, picture) in enumerate(shown):
        x = _GAP_PX + index % columns * _CELL_PX[0]
        y = _GAP_PX + index // columns * _CELL_PX[1]
        width, height = _THUMBNAIL_PX
        sheet[y : y + height, x : x + width] = _thumbnail(picture, eyes)
        for line, text in enumerate(_lines(name)):
            _write(sheet, text, x, y + height + (line + 1) * _LINE_PX - 3)
    if more > 0:
        _write(sheet, f"… and {more} more", _GAP_PX, len(sheet) - _GAP_PX - 3)
    _, encoded = cv2.imencode(".png", sheet)
    write_whole(Path(path), encoded.tobytes())


def _thumbnail(picture: np.ndarray, eyes: bool) -> np.ndarray:
    """The picture, whole, in the middle of a mat of the thumbnails' size, BGR."""
    height, width = picture.shape[:2]
    scale = min(_THUMBNAIL_PX[0] / width, _THUMBNAIL_PX[1] / height)
    size = tuple(max(1, round(scale * side)) for side in (width, height))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(picture, size, interpolation=interpolation)[..., ::-1].copy()
    for share_x, share_y in EYE_SHARES if eyes else ():
        place = (round(share_x * size[0] - 0.5), round(share_y * size[1] - 0.5))
        cv2.drawMarker(small, place, _CROSS, cv2.MARKER_CROSS, markerSize=9)
    mat = np.full((_THUMBNAIL_PX[1], _THUMBNAIL_PX[0], 3), _MAT, np.uint8)
    x, y = ((whole - part) // 2 for whole, part in zip(_THUMBNAIL_PX, size))
    mat[y : y + size[1], x : x + size[0]] = small
    return mat


def _lines(name: str) -> list[str]:
    """The name on as many lines as there are; what does not fit gives way to an ellipsis."""
    lines, left = [], " ".join(name.split())
    for _ in range(_LINES):
        fitting = len(left)
        while _width_px(left[:fitting]) > _THUMBNAIL_PX[0]:
            fitting -= 1
        lines.append(left[:fitting])
        left = left[fitting:]
    if left:
        lines[-1] = f"{lines[-1][:-1]}…"
    return lines


def _width_px(text: str) -> int:
    return cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)[0][0]


def _write(sheet: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(sheet, text, (x, y), _FONT, _FONT_SCALE, _INK, 1, cv2.LINE_AA)

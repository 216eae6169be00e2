"""Films written from arrays, and ways to spoil them: cut, turned, slowed down, robbed of pictures.

MP4 files are taken apart and put together again here, so that no other program is needed.
"""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import cv2
import numpy as np

LOSSLESS = "FFV1"  # in .mkv, .avi and .mp4
_HOLD_BOXES = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl")


def noise_frames(count: int = 12, width: int = 48, height: int = 32, seed: int = 0):
    """Frames of which no two pixels follow a pattern, RGB."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def write_film(path: Path, frames, codec: str = LOSSLESS, fps_hz: float = 30.0) -> Path:
    """A video of RGB frames (H, W, 3), or of grey ones (H, W)."""
    height, width = frames[0].shape[:2]
    colour = frames[0].ndim == 3
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps_hz, (width, height), colour
    )
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]) if colour else frame)
    writer.release()
    return path


def cut(path: Path, share: float) -> Path:
    """Leave a file's beginning alone, as when a copy or a recording broke off."""
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def write_sound(path: Path, seconds: float = 0.5) -> Path:
    """A WAV file, whatever its name says."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(int(2 * 8000 * seconds)))
    return path


def with_header_first(path: Path) -> Path:
    """An MP4 as it is put on the web: its index before its pictures, so that half of it plays."""
    boxes = dict(_boxes(path.read_bytes()))
    moved = len(_packed([(b"moov", boxes[b"moov"])]))

    def shift(body: bytes) -> bytes:
        head, places = body[:8], np.frombuffer(body[8:], ">u4")
        return head + (places + moved).astype(">u4").tobytes()

    moov = _changed(boxes[b"moov"], b"stco", shift)
    order = [(b"ftyp", boxes[b"ftyp"]), (b"moov", moov)]
    rest = [(kind, body) for kind, body in boxes.items() if kind not in (b"ftyp", b"moov")]
    path.write_bytes(_packed(order + rest))
    return path


def turned_upright(path: Path, height: int) -> Path:
    """An MP4 that asks to be turned clockwise by 90°, as a phone's that was held upright."""
    clockwise = (0, 1 << 16, 0, -1 << 16, 0, 0, height << 16, 0, 1 << 30)
    change = lambda body: body[:40] + struct.pack(">9i", *clockwise) + body[76:]  # noqa: E731
    return _with_header(path, b"tkhd", change)


def at_times(path: Path, durations: list[int], ticks_per_s: int) -> Path:
    """An MP4 with each frame shown for so many ticks."""
    entries = b"".join(struct.pack(">II", 1, duration) for duration in durations)
    _with_header(path, b"stts", lambda body: struct.pack(">II", 0, len(durations)) + entries)
    whole = struct.pack(">II", ticks_per_s, sum(durations))  # of the track
    _with_header(path, b"mdhd", lambda body: body[:12] + whole + body[20:])
    shown = round(sum(durations) * 1000 / ticks_per_s)  # of the film, which counts in 1/1000 s
    return trimmed(path, 0, shown)


def trimmed(path: Path, start_ticks: int, length_ms: int) -> Path:
    """An MP4 of which a part is to be shown, the rest stays in it."""
    entry = struct.pack(">IIIiI", 0, 1, length_ms, start_ticks, 1 << 16)
    return _with_header(path, b"elst", lambda body: entry)


def with_sound_track_only(path: Path) -> Path:
    """An MP4 whose one track says that it is sound."""
    return _with_header(path, b"hdlr", lambda body: body.replace(b"vide", b"soun"))


def _with_header(path: Path, kind: bytes, change) -> Path:
    """Change one kind of box; the index must be last, so that no picture moves."""
    boxes = list(_boxes(path.read_bytes()))
    assert boxes[-1][0] == b"moov"
    boxes[-1] = (b"moov", _changed(boxes[-1][1], kind, change))
    path.write_bytes(_packed(boxes))
    return path


def _changed(body: bytes, kind: bytes, change) -> bytes:
    inner = []
    for name, part in _boxes(body):
        if name in _HOLD_BOXES:
            part = _changed(part, kind, change)
        inner.append((name, change(part) if name == kind else part))
    return _packed(inner)


def _boxes(data: bytes):
    place = 0
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        yield kind, data[place + 8 : place + length]
        place += length


def _packed(boxes) -> bytes:
    return b"".join(struct.pack(">I4s", len(body) + 8, kind) + body for kind, body in boxes)

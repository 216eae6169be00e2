"""A domain as a folder of pairs that training reads: PNG files and a metadata.csv."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hcp_mer.data.synthetic.actions import ACTION_UNITS
from hcp_mer.domains.domains import DomainClip, domain, iterate_domain
from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, read_json, write_json, write_whole

SETTINGS_FILE, METADATA = "domain.json", "metadata.csv"
VERSION = 1  # of what the same settings render
DATASET = "procedural"  # its label scheme reads the seven words in every task


def write_domain(
    name: str,
    folder: str | Path,
    num_subjects: int = 20,
    clips_per_subject: int = 10,
    seed: int = 0,
) -> Path:
    """Write `render_domain`'s clips as an imagefolder; the folder, for `load_pairs`.

    metadata.csv is written last: a folder that has it is complete, and is kept as it is if its
    settings are these. An interrupted one is written again from the start, with equal files.
    Raises UserError for a folder with other settings or other people's files.
    """
    folder = Path(folder)
    settings = _settings(name, num_subjects, clips_per_subject, seed)
    if (folder / SETTINGS_FILE).is_file():
        if read_json(folder / SETTINGS_FILE, ("domain",)) != settings:
            raise UserError(
                f"{folder} holds a domain of other settings, see {SETTINGS_FILE}. Choose another "
                "folder, or delete this one."
            )
        if (folder / METADATA).is_file():
            return folder
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} holds other files. Choose an empty or a new folder.")
    clips = iterate_domain(name, num_subjects, clips_per_subject, seed)
    for view in ("magnified", "flow"):
        make_folder(folder / view)
    write_json(folder / SETTINGS_FILE, settings)
    rows = [_write_clip(folder, clip) for clip in clips]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / METADATA, text.getvalue())
    return folder


def _settings(name: str, num_subjects: int, clips_per_subject: int, seed: int) -> dict[str, Any]:
    """What the folder's content follows from, as JSON has it."""
    chosen = asdict(domain(name))
    return {
        "version": VERSION,
        "domain": {**chosen, "view": list(chosen["view"])},
        "action_units": list(ACTION_UNITS),
        "num_subjects": num_subjects,
        "clips_per_subject": clips_per_subject,
        "seed": seed,
    }


def _write_clip(folder: Path, clip: DomainClip) -> dict[str, str]:
    """Both images of a clip, and its row."""
    row = {}
    for view, image in (("magnified", clip.magnified), ("flow", clip.flow)):
        row[f"{view}_file_name"] = f"{view}/{clip.subject}_{clip.clip_id}.png"
        write_whole(folder / row[f"{view}_file_name"], _png(image))
    return {
        **row,
        "emotion": clip.emotion,
        "subject": clip.subject,
        "clip_id": clip.clip_id,
        "dataset": DATASET,
        "action_units": "+".join(map(str, clip.action_units)),
    }


def _png(image: np.ndarray) -> bytes:
    _, encoded = cv2.imencode(".png", image[..., ::-1])
    return encoded.tobytes()

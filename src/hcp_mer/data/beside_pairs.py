"""What lies beside prepared pairs: pictures of the faces, the card, and what the work took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hcp_mer.data.pairs import MANIFEST
from hcp_mer.data.records import CorpusReading
from hcp_mer.motion.contact_sheet import contact_sheet
from hcp_mer.motion.pair import PairSettings

if TYPE_CHECKING:
    import datasets


def write_sheet(rows: datasets.Dataset, chosen: list[int], path: Path, eyes: bool = False) -> None:
    """A picture of some clips' onset frames; none of an earlier preparation stays."""
    path.unlink(missing_ok=True)
    if not chosen:
        return
    shown = rows.select(chosen).select_columns(["subject", "clip_id", "onset_frame"])
    entries = [(f"{r['subject']}/{r['clip_id']}", np.array(r["onset_frame"])) for r in shown]
    contact_sheet(entries, path, eyes)


def work_in_words(rows: datasets.Dataset) -> str:
    """How long a frame's decoding and a clip's motion took, summed over processes."""
    clips, frames, decoding = len(rows), sum(rows["decoded"]), sum(rows["decoding_seconds"])
    motion_ms = 1000 * (sum(rows["seconds"]) - decoding) / clips
    per_frame_ms = 1000 * decoding / max(frames, 1)
    return (
        f"per clip {frames / clips:.1f} frames decoded, {per_frame_ms:.1f} ms each, and "
        f"{motion_ms:.0f} ms for face, motion and encoding (in one process)"
    )


def card_of(
    reading: CorpusReading, num_pairs: int, num_spotted: int, settings: PairSettings
) -> str:
    """README.md of the folder, with the front matter by which `datasets` finds the parquet."""
    names = ", ".join(sorted({record.dataset for record in reading.records}))
    licence = (
        "Rendered faces: no person is shown."
        if names == "procedural"
        else "The corpus is licensed: do not share these pairs unless its licence lets you."
    )
    made = settings.to_dict()
    return f"""---
configs:
- config_name: default
  data_files: data/*.parquet
---
# Micro-expression pairs from {names}

{num_pairs} clips, each with its motion-magnified apex frame, its onset→apex optical flow as an
image and its annotation; the apex of {num_spotted} was spotted, the others are as annotated.
Magnified by {_method(made["magnifier"], made["magnifier_weights"])}, flow by
{_method(made["estimator"], made["estimator_weights"])}, shown as `{settings.motion.flow_encoding}`.
Made by `scripts/prepare_dataset.py`; settings in `{MANIFEST}`, clips that were left out in
`problems.json`.

{licence}
"""


def _method(name: str, weights: dict | None) -> str:
    if weights is None:
        return f"`{name}`"
    return f"`{name}` ({weights['variant']}, `{weights['file']}`, sha256 {weights['sha256'][:12]}…)"

"""The pairs that a run was trained on, if they are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.training.run_folder import sources_of

if TYPE_CHECKING:
    from hcp_mer.data.pairs import Pairs


def pairs_at_hand(settings: dict[str, Any]) -> Pairs | None:
    """A run's pairs, None where they do not lie on this machine or are no longer the same.

    Examples need them; a run that was copied without them is reported without pictures.
    """
    from hcp_mer.data.pairs import load_pairs

    sources = sources_of(settings)
    if not sources or not all(Path(place).is_dir() for place in sources):
        return None
    pairs = load_pairs(*sources)
    if pairs.fingerprint() != settings.get("dataset_fingerprint"):
        print(f"{pairs.source} has changed since this run: the report goes without pictures")
        return None
    return pairs

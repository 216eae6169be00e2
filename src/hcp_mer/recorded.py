"""What a run folder recorded of itself: its settings, and the pairs that it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hcp_mer.errors import UserError
from hcp_mer.training.run_folder import sources_of

if TYPE_CHECKING:
    from hcp_mer.data.pairs import Pairs


def read_settings(run_folder: Path) -> dict[str, Any]:
    """Content of a run's recipe.yaml.

    Raises:
        UserError: there is none, or it is no recipe of ours.
    """
    path = run_folder / "recipe.yaml"
    if not path.is_file():
        raise UserError(f"{run_folder} holds no run: there is no recipe.yaml. Train it first.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no recipe of ours: give the --output_dir of train_loso.")
    return content


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

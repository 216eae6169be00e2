"""The corpora that can be read, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hcp_mer.data.casme2 import read_casme2
from hcp_mer.data.casme3 import read_casme3
from hcp_mer.data.folder import read_folder
from hcp_mer.data.records import CorpusReading
from hcp_mer.data.samm import read_samm
from hcp_mer.data.smic import read_smic, read_smic_hse
from hcp_mer.errors import UserError

READERS: Mapping[str, Callable[..., CorpusReading]] = {
    "casme2": read_casme2,
    "samm": read_samm,
    "smic": read_smic,
    "smic-hs-e": read_smic_hse,
    "casme3": read_casme3,
    "folder": read_folder,
}


def read_corpus(corpus: str, data_dir: str | Path, name: str | None = None) -> CorpusReading:
    """Clips and problems of a corpus on disk.

    Args: corpus: one of READERS; name: the records' `dataset`, the reader's own where None.
    Raises:
        UserError: no such corpus, or nothing of it in `data_dir`.
    """
    if corpus not in READERS:
        raise UserError(f"unknown corpus {corpus!r}. Known are {', '.join(READERS)}.")
    return READERS[corpus](data_dir, **({} if name is None else {"name": name}))

"""Prepared pairs, wherever they lie: our parquet, somebody's imagefolder, or the Hub.

Columns: `magnified`, `flow` (images), `emotion` (the corpus's own word or a task's class),
`subject`, `dataset`, `clip_id`; ids are text. Classes come from `emotion` at training time, so
one prepared corpus serves every task.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hcp_mer.data.action_units import parse_action_units
from hcp_mer.data.composite import check_names, joined
from hcp_mer.data.records import emotion_word
from hcp_mer.data.tasks import PROTOCOLS, SCHEMES, Task, check_scheme, label_of_clip
from hcp_mer.errors import UserError
from hcp_mer.files import read_json

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import pandas

MANIFEST = "pairs.json"
VIEWS = ("magnified", "flow")
_TEXTS = ("emotion", "subject", "dataset", "clip_id")
_FOREIGN_COLUMNS = ("magnified_file_name", "flow_file_name", "emotion", "subject", "clip_id")


@dataclass(frozen=True)
class Pairs:
    """Prepared pairs and how their motion was measured.

    Attributes:
        source: folder, or "user/repo@<commit>" on the Hub; all of them where several were joined.
        table: datasets.Dataset with the columns above; images are left encoded, `image` decodes.
        settings: PairSettings of `prepare_dataset`, empty for pairs that we did not make.
        parts: the sources one by one where several were joined.
    """

    source: str
    table: datasets.Dataset
    settings: dict = field(default_factory=dict)
    parts: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        return self.parts or (self.source,)

    def __len__(self) -> int:
        return len(self.table)

    def column(self, name: str) -> list:
        return list(self.table[name])

    def image(self, row: int, view: str) -> np.ndarray:
        """RGB uint8 (height, width, 3) of one view ("magnified", "flow", …) of one clip.

        Raises:
            UserError: the image cannot be decoded; names the clip.
        """
        import numpy as np
        from PIL import Image, ImageOps

        stored = self.table.select_columns([view, "subject", "clip_id"])[row]
        try:
            with Image.open(io.BytesIO(encoded_image(stored[view]))) as image:
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            clip = f"{stored['subject']}/{stored['clip_id']}"
            raise UserError(
                f"the {view} image of {clip} in {self.source} cannot be "
                f"read ({error}). Make it again, or take the clip out of the metadata."
            ) from error

    def fingerprint(self) -> str:
        """Hash of ids, words and image bytes: changes whenever training could change."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode())
        for row in self.table.select_columns([*VIEWS, *_TEXTS]):
            for view in VIEWS:
                digest.update(encoded_image(row.pop(view)))
            digest.update(json.dumps(row, sort_keys=True).encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class LabelledPairs:
    """The pairs that a task uses, each with its class.

    Attributes:
        rows: indices into the pairs' table; labels: class index of each, same length.
        dropped: emotion word → clips that the protocol leaves out.
    """

    rows: list[int]
    labels: list[int]
    dropped: dict[str, int]


def read_manifest(folder: Path) -> dict:
    """What prepare_dataset wrote about a folder of pairs.

    Raises:
        UserError: the file is damaged.
    """
    return read_json(folder / MANIFEST, ("fingerprint", "num_pairs", "num_spotted", "settings"))


def load_pairs(source: str | Path, *more: str | Path) -> Pairs:
    """Pairs from a folder written by prepare_dataset, an imagefolder, or a dataset on the Hub.

    Args:
        source: a folder, or "user/repo" on the Hub, or "user/repo@revision" for one branch, tag
            or commit of it. What was loaded once is read from the cache when offline.
        more: other sources, to be joined with it, see `composite.joined`.
    Raises:
        UserError: nothing usable is there, a column is missing, an id stands twice, a dataset in
            two spellings, a clip as two people's, or motion was measured differently in two
            sources.
    """
    parts = [_load(place) for place in (source, *more)]
    pairs = joined(parts)
    check_names(pairs)
    _check_ids(pairs)
    return pairs


def _load(source: str | Path) -> Pairs:
    folder = Path(source)
    repo_id, _, revision = str(source).partition("@")
    if folder.is_dir():
        whole = folder.resolve()
        pairs = _load_folder(folder, whole.parent.name if whole.name == "train" else whole.name)
    elif folder.is_absolute() or repo_id.count("/") != 1 or repo_id.startswith("."):
        raise UserError(
            f"no pairs at {source}: there is no such folder. Run prepare_dataset.py, or give "
            "OWNER/NAME of a dataset on the Hub."
        )
    else:
        pairs = _load_hub(repo_id, revision or None)
    _check(pairs)
    return pairs


def label_pairs(pairs: Pairs, task: Task, scheme: str | None = None) -> LabelledPairs:
    """Classes of the pairs under a task.

    Words that are the task's own classes are taken as they are; all others go through `scheme`,
    or through the scheme named like each clip's dataset.

    Raises:
        UserError: a word that neither knows, no scheme to ask, a scheme that is not for the task
            or the corpora, or a class without any clip.
    """
    clips = list(zip(*(pairs.column(key) for key in ("emotion", "dataset", "subject", "clip_id"))))
    for corpus in sorted({clip[1] for clip in clips}):
        check_scheme(scheme, task, corpus, {emotion_word(c[0]) for c in clips if c[1] == corpus})
    rows, labels, dropped = [], [], Counter()
    for row, (emotion, *clip) in enumerate(clips):
        word = emotion_word(emotion)
        try:
            name = label_of_clip(word, task, scheme, *clip)
        except UserError as error:
            same = [c for c in clips if emotion_word(c[0]) == word and c[1] == clip[0]]
            known = " | ".join((*SCHEMES, *PROTOCOLS))
            raise UserError(
                f"{error} It stands at {len(same)} clip(s), first at {'/'.join(clip[1:])}; if "
                f"these are another corpus's words, say --scheme {known}."
            ) from error
        if name is None:
            dropped[word] += 1
        else:
            rows.append(row)
            labels.append(task.classes.index(name))
    missing = [name for i, name in enumerate(task.classes) if i not in set(labels)]
    if missing:
        raise UserError(
            f"no clip of class {', '.join(missing)} in {pairs.source}: {task.name} cannot be "
            "learnt from it. Choose another task, or add such clips."
        )
    return LabelledPairs(rows, labels, dict(dropped))


def encoded_image(image: dict) -> bytes:
    """The image file that a cell of an undecoded table holds, or points to."""
    return image["bytes"] or Path(image["path"]).read_bytes()


def _load_folder(folder: Path, name: str) -> Pairs:
    """Pairs of a folder; `name` is their dataset where an imagefolder does not say it."""
    if (folder / MANIFEST).is_file():
        import datasets
        import pyarrow.parquet as pq

        shards = sorted((folder / "data").glob("*.parquet"))
        if not shards:
            raise UserError(
                f"{folder} has {MANIFEST} but no parquet: run prepare_dataset.py again."
            )
        manifest = read_manifest(folder)
        table = datasets.concatenate_datasets([datasets.Dataset(pq.read_table(s)) for s in shards])
        if len(table) != manifest["num_pairs"]:
            raise UserError(
                f"{folder} has {len(table)} of {manifest['num_pairs']} pairs: run "
                "prepare_dataset.py again."
            )
        return Pairs(str(folder), _undecoded(table), manifest["settings"])
    listing = _listing(folder)
    if listing is None:
        raise UserError(
            f"{folder} holds neither {MANIFEST} (prepare_dataset.py writes it) nor metadata.csv "
            f"with the columns {', '.join(_FOREIGN_COLUMNS)}."
        )
    return _load_imagefolder(listing, name)


def _listing(folder: Path) -> Path | None:
    candidates = (folder / "metadata.csv", folder / "train" / "metadata.csv")
    return next((path for path in candidates if path.is_file()), None)


def _load_imagefolder(listing: Path, name: str) -> Pairs:
    """Ready-made pairs. Read as text throughout: `006` is an id, not the number 6."""
    import datasets
    import pandas

    folder = listing.parent
    try:
        metadata = pandas.read_csv(listing, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, pandas.errors.ParserError) as error:
        raise UserError(f"cannot read {listing} as a table: {error}") from error
    missing = [name for name in _FOREIGN_COLUMNS if name not in metadata]
    if missing:
        raise UserError(
            f"{listing} lacks the column {', '.join(missing)}; it needs "
            f"{', '.join(_FOREIGN_COLUMNS)} and may have dataset and action_units."
        )
    if metadata.empty:
        raise UserError(f"{listing} has no row.")
    columns = {
        view: [_inside(folder, name, listing) for name in metadata[f"{view}_file_name"]]
        for view in VIEWS
    }
    columns["dataset"] = [name] * len(metadata)
    for column in ("emotion", "subject", "clip_id", "dataset"):
        if column in metadata:
            columns[column] = metadata[column].str.strip().tolist()
    if "action_units" in metadata:
        columns["action_units"] = _units_of(metadata, listing)
    table = datasets.Dataset.from_dict({key: list(column) for key, column in columns.items()})
    for view in VIEWS:
        table = table.cast_column(view, datasets.Image())
    if "action_units" in columns:  # a column of empty lists would have no type
        table = table.cast_column("action_units", datasets.List(datasets.Value("string")))
    return Pairs(str(folder), _undecoded(table))


def _units_of(metadata: pandas.DataFrame, listing: Path) -> list[list[str]]:
    """The optional column `action_units` of a metadata.csv: "4+L12" → ["4", "L12"]."""
    units = []
    for row, cell in enumerate(metadata["action_units"]):
        try:
            units.append(list(parse_action_units(cell)))
        except UserError as error:
            clip = f"{metadata['subject'][row]}/{metadata['clip_id'][row]}"
            raise UserError(f"{listing}, clip {clip}: {error}") from error
    return units


def _load_hub(repo_id: str, revision: str | None) -> Pairs:
    """Pairs of a repository, all from one commit, which the source names.

    Not by its name through load_dataset: offline that takes the latest copy in its cache, whatever
    the revision, and it reads an id such as 006 in a CSV file as the number 6.
    """
    import datasets

    folder = _snapshot(repo_id, revision)
    if (folder / MANIFEST).is_file() or _listing(folder):
        pairs = _load_folder(folder, repo_id.split("/")[-1])
    else:
        try:
            pairs = Pairs(repo_id, _undecoded(datasets.load_dataset(str(folder), split="train")))
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{repo_id} on the Hub holds no pairs: {reason}") from error
    return replace(pairs, source=f"{repo_id}@{folder.name}")


def _snapshot(repo_id: str, revision: str | None) -> Path:
    """The repository's files in the cache, in a folder named after their commit."""
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", revision=revision))
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"the dataset {repo_id} has no revision {revision}: give a branch, a tag or a commit."
        ) from error
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if isinstance(error, errors.RepositoryNotFoundError):
            reason = "there is none of that name, or it is private and your token may not see it"
        elif isinstance(error, errors.LocalEntryNotFoundError):
            reason = "the Hub cannot be reached, and it is not in the cache of this machine"
        raise UserError(
            f"{repo_id} is neither a folder here (prepare_dataset.py makes one) nor a dataset "
            f"that can be loaded from the Hub: {reason}."
        ) from error


def _undecoded(table: datasets.Dataset) -> datasets.Dataset:
    import datasets

    for name, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(name, datasets.Image(decode=False))
    return table


def _inside(folder: Path, name: str, listing: Path) -> str:
    # Links are not followed: the files of a repository in the cache are links out of its folder.
    path = Path(os.path.normpath(folder.absolute() / name))
    if not path.is_relative_to(os.path.normpath(folder.absolute())):
        raise UserError(f"{listing} names {name}, which lies outside {folder}. Move it inside.")
    if not path.is_file():
        raise UserError(f"{listing} names {name}, but there is no such file in {folder}.")
    return str(path)


def _check(pairs: Pairs) -> None:
    needed = (*VIEWS, *_TEXTS)
    missing = [name for name in needed if name not in pairs.table.column_names]
    if missing:
        raise UserError(f"{pairs.source} lacks the column {', '.join(missing)}.")
    for name in _TEXTS:
        odd = [value for value in pairs.column(name) if not isinstance(value, str)]
        if odd:
            raise UserError(
                f"{name} in {pairs.source} must be text, got {odd[0]!r}: read the table with "
                "its ids as text, so that 006 does not become 6."
            )
        if "" in pairs.column(name):
            raise UserError(f"{pairs.source} has an empty {name}: fill it in for every clip.")


def _check_ids(pairs: Pairs) -> None:
    ids = Counter(zip(*(pairs.column(name) for name in ("dataset", "subject", "clip_id"))))
    (most_common, count), *_ = ids.most_common(1)
    if count > 1:
        raise UserError(
            f"clip {'/'.join(most_common)} stands {count} times in {pairs.source}; "
            "every dataset, subject and clip_id together must be unique."
        )

"""Several corpora as one: a composite database, or the two sides of a cross-corpus test.

Nobody is merged: a person is (dataset, subject), whatever folder the clips come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hcp_mer.errors import UserError

if TYPE_CHECKING:
    import datasets
    import pyarrow

    from hcp_mer.data.pairs import Pairs

_VIEWS = ("magnified", "flow", "onset_frame")
_TEXTS = ("emotion", "subject", "dataset", "clip_id", "apex_source")
_NUMBERS = {"onset": "int32", "apex": "int32", "offset": "int32", "flow_scale_px": "float32"}
# Corpora are recorded and cropped differently; once found, all faces lie alike.
_MAY_DIFFER = ("face", "file")  # the file of weights: their hash must agree, not their name


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Pairs of several sources as if they lay in one, in order of dataset, subject and clip_id.

    The order in which the sources are given changes nothing. Columns are those of the contract that
    any part has; where a part lacks an optional one, its clips have None there (no action units: an
    empty list).

    Raises:
        UserError: motion was measured differently, a column cannot be read as what it should be,
            or a clip stands there as two people's.
    """
    import datasets
    import pyarrow

    if len(parts) == 1:
        return parts[0]
    settings = _common_settings(parts)
    features = _features_of(parts)
    tables = [_table(part, features) for part in parts]
    sources = tuple(source for part in parts for source in part.sources)
    table = datasets.Dataset(pyarrow.concat_tables(tables))
    clips = _clips_of(table)
    table = table.select(sorted(range(len(clips)), key=clips.__getitem__))
    pairs = replace(
        parts[0], source=", ".join(sources), table=table, settings=settings, parts=sources
    )
    _check_nobody_stands_twice(pairs)
    return pairs


def check_names(pairs: Pairs) -> None:
    """Refuse two spellings of one corpus: its people would be trained and tested on.

    Raises:
        UserError: two datasets are named alike but for their case.
    """
    seen: dict[str, str] = {}
    for name in sorted(set(pairs.column("dataset"))):
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise UserError(
                f"{pairs.source}: the datasets {other} and {name} differ in case only, and one "
                "corpus under two names puts a subject on both sides of a test. Give it once, or "
                "name two corpora apart in the column dataset."
            )


def _check_nobody_stands_twice(pairs: Pairs) -> None:
    """Raise where the images of one clip, both of them, are given for two people."""
    from hcp_mer.data.pairs import encoded_image

    seen: dict[bytes, tuple[str, ...]] = {}
    table = pairs.table.select_columns(["magnified", "flow"])
    for clip, views in zip(_clips_of(pairs.table), table):
        digest = hashlib.sha256()
        for view in ("magnified", "flow"):
            digest.update(hashlib.sha256(encoded_image(views[view])).digest())
        other = seen.setdefault(digest.digest(), clip)
        if other[:2] != clip[:2]:
            raise UserError(
                f"clips {'/'.join(other)} and {'/'.join(clip)} in {pairs.source} have the same "
                "images: one person under two names would be trained and tested on. Give the "
                "corpus once, or correct its dataset and subject."
            )


def _clips_of(table: datasets.Dataset) -> list[tuple[str, str, str]]:
    return list(zip(*(table[name] for name in ("dataset", "subject", "clip_id"))))


def corpora_of(training: Pairs, testing: Pairs) -> tuple[str, ...]:
    """Names of the corpora to test on, none of which may be trained on.

    Raises:
        UserError: a corpus is on both sides, in whatever case its name is written.
    """
    trained = {name.casefold(): name for name in training.column("dataset")}
    tested = sorted(set(testing.column("dataset")))
    both = [name for name in tested if name.casefold() in trained]
    if both:
        raise UserError(
            f"corpus {both[0]} is on both sides, in {training.source} and in {testing.source}: a "
            "subject could be trained and tested on. Test on another corpus, leave one subject out "
            "(without --test_dataset), or, if these are two corpora, name them apart in the column "
            "dataset."
        )
    return tuple(tested)


def _common_settings(parts: Sequence[Pairs]) -> dict[str, Any]:
    """The settings that all parts share.

    The checkpoint gets one image processor, which prepares every clip the same way: it must be the
    way in which all training clips were prepared.
    """
    first, *others = parts
    for other in others:
        if bool(first.settings) != bool(other.settings):
            ours, theirs = (first, other) if first.settings else (other, first)
            raise UserError(
                f"{ours.source} was made by prepare_dataset.py and {theirs.source} elsewhere, how "
                "is not known: one checkpoint cannot prepare clips both ways. Prepare all corpora "
                "with prepare_dataset.py, with the same settings, or give either alone."
            )
        here, there = _flat(first.settings), _flat(other.settings)
        for key in sorted({**here, **there}):
            if here.get(key) != there.get(key):
                values = [str(known.get(key, "not recorded")) for known in (here, there)]
                raise UserError(
                    f"motion was measured differently: {key} is {values[0]} in {first.source} and "
                    f"{values[1]} in {other.source}, and one checkpoint cannot prepare clips both "
                    "ways. Run prepare_dataset.py again with the same settings for both."
                )
    return {k: v for k, v in first.settings.items() if all(p.settings.get(k) == v for p in others)}


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that must agree, those of `motion` as motion.alpha, …"""
    flat = {}
    for key, value in settings.items():
        if isinstance(value, dict) and key not in _MAY_DIFFER:
            own = {
                f"{key}.{inner}": own for inner, own in value.items() if inner not in _MAY_DIFFER
            }
            flat |= own
        elif key not in _MAY_DIFFER:
            flat[key] = value
    return flat


def _features_of(parts: Sequence[Pairs]) -> datasets.Features:
    """Columns of the contract that some part has, in the contract's order."""
    import datasets

    contract = {
        **{name: datasets.Image(decode=False) for name in _VIEWS},
        **{name: datasets.Value("string") for name in _TEXTS},
        "action_units": datasets.List(datasets.Value("string")),
        **{name: datasets.Value(kind) for name, kind in _NUMBERS.items()},
    }
    present = {name for part in parts for name in part.table.column_names}
    return datasets.Features({name: kind for name, kind in contract.items() if name in present})


def _table(part: Pairs, features: datasets.Features) -> pyarrow.Table:
    """A part's rows with exactly the columns `features`."""
    import pyarrow

    own = part.table.with_format("arrow")[:]
    columns = []
    for field in features.arrow_schema:
        if field.name not in own.column_names:
            nothing = [] if field.name == "action_units" else None
            columns.append(pyarrow.array([nothing] * len(own), field.type))
            continue
        try:
            columns.append(own[field.name].cast(field.type))
        except pyarrow.ArrowInvalid as error:
            raise UserError(
                f"column {field.name} of {part.source} cannot be read as {field.type}: "
                f"{str(error).splitlines()[0]}"
            ) from error
    return pyarrow.table(columns, schema=features.arrow_schema)

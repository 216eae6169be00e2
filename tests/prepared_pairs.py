"""Pairs as prepare_dataset writes them, made from ready images: no corpus and no motion needed."""

import json
import zlib

import datasets

from hcp_mer.data.pairs import VIEWS, encoded_image, load_pairs
from tests.foreign_pairs import write_foreign_pairs

SETTINGS = {
    "image_size": 32,
    "motion": {"alpha": 8.0, "max_displacement_px": 10.0},
    "estimator": "lucas_kanade",
    "magnifier": "lagrangian",
}


def write_prepared_pairs(folder, dataset, subjects, settings=SETTINGS, columns=None, **options):
    """Write a folder with pairs.json and parquet. `columns`: further ones, name → values.

    Images are the folder's own: no two corpora have the same.
    """
    options.setdefault("seed", zlib.crc32(folder.name.encode()))
    own = folder.with_name(f"{folder.name}-images")
    write_foreign_pairs(
        own, subjects, clips_per_class=1, size=32, extra_columns={"dataset": dataset}, **options
    )
    rows = []
    for row in load_pairs(own).table:
        views = {view: {"bytes": encoded_image(row[view]), "path": None} for view in VIEWS}
        rows.append({**row, **views})
    table = datasets.Dataset.from_list(rows)
    for view in VIEWS:
        table = table.cast_column(view, datasets.Image())
    for name, values in (columns or {}).items():
        table = table.add_column(name, values)
    (folder / "data").mkdir(parents=True)
    table.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    manifest = {"fingerprint": "0", "num_pairs": len(rows), "num_spotted": 0, "settings": settings}
    (folder / "pairs.json").write_text(json.dumps(manifest))
    return folder

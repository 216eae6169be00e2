"""Prepared pairs as a dataset repository: parquet, the motion settings, a card."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hcp_mer.data.pairs import MANIFEST, Pairs, encoded_image, load_pairs, read_manifest
from hcp_mer.data.tasks import SCHEMES
from hcp_mer.errors import UserError
from hcp_mer.files import write_json, write_whole
from hcp_mer.hub.access import full_name, make_repo, own_repo, readable_hub_errors
from hcp_mer.hub.load_back import ask_fresh_process
from hcp_mer.hub.pinned import (
    CARD,
    DRY_RUN_REVISION,
    Pushed,
    check_ours,
    listed,
    push_with_card,
)
from hcp_mer.reporting.card import is_licensed
from hcp_mer.reporting.dataset_card import PairsFacts, render_dataset_card

if TYPE_CHECKING:
    import datasets

SYNTHETIC = "procedural"  # dataset and label scheme of the drawn faces
_SHARD_CLIPS = 1000
_FINGERPRINT = """
import sys
from hcp_mer.data.pairs import load_pairs
print(load_pairs(sys.argv[1]).fingerprint())
"""


def origin_of(pairs: Pairs) -> str:
    """Whose faces pairs show, by the names in their column `dataset`.

    Returns: "licensed" if any corpus among them is, "synthetic" if all are drawn, else "unknown".
    """
    names = set(pairs.column("dataset"))
    if any(map(is_licensed, names)):
        return "licensed"
    # The demo's command calls whatever it is given procedural. CASME II's clips of repression, in
    # the least, then tell that nobody drew these faces.
    words = {word.strip().lower() for word in pairs.column("emotion")}
    drawn = names == {SYNTHETIC} and words <= SCHEMES[SYNTHETIC].coarse.keys()
    return "synthetic" if drawn else "unknown"


def push_pairs(
    source: str | Path,
    repo_id: str,
    private: bool | None = None,
    has_right: bool = False,
    dry_run: bool = False,
) -> Pushed:
    """Publish pairs as a dataset that load_dataset and load_pairs read, and load them back.

    Images travel as they are encoded. Of files beside the pairs nothing travels: what could not be
    used (problems.json) names files of this machine.

    Args:
        source: a folder that prepare_dataset.py wrote, or an imagefolder of pairs.
        repo_id: NAME or OWNER/NAME.
        private: drawn faces are public unless this is True. Pairs of unknown origin mostly show
            people who were not asked, and what was public once cannot be called back: their new
            repository is private unless this is False. Licensed ones are private whatever it is.
        has_right: the user's word that the licence of a licensed corpus allows this.
        dry_run: send nothing and ask nothing, say what would be sent.
    Raises:
        UserError: no pairs there, a licensed corpus without `has_right`, a repository that is
            public or holds other things, what the Hub refuses, or pairs that come back changed.
    """
    if not Path(source).is_dir():
        raise UserError(f"no pairs at {source}: give the folder that prepare_dataset.py wrote.")
    pairs = load_pairs(source)
    origin = origin_of(pairs)
    if origin == "licensed":
        _check_right(pairs, has_right)
        private = True
    full_name(repo_id, "anybody")  # its mistakes show in a dry run too
    repo_id = repo_id if dry_run else own_repo(repo_id)
    with TemporaryDirectory() as staging:
        facts = _stage(pairs, origin, Path(staging))
        if dry_run:
            card = render_dataset_card(facts, repo_id, DRY_RUN_REVISION)
            write_whole(Path(staging) / CARD, card)
            private = True if private is None and origin == "unknown" else private
            return Pushed(repo_id, None, None, listed(Path(staging)), private)
        url, private = _open(repo_id, private, origin)
        revision = push_with_card(
            Path(staging),
            repo_id,
            "dataset",
            f"{len(pairs)} pairs",
            lambda pinned: render_dataset_card(facts, repo_id, pinned),
            stale=["data/*"],
        )
        write_whole(Path(staging) / CARD, render_dataset_card(facts, repo_id, revision))
        pushed = Pushed(repo_id, url, revision, listed(Path(staging)), private)
    if ask_fresh_process(_FINGERPRINT, f"{repo_id}@{revision}") != pairs.fingerprint():
        raise UserError(f"the pairs that {repo_id} gives back differ from {source}: push again.")
    return pushed


def _check_right(pairs: Pairs, has_right: bool) -> None:
    if not has_right:
        names = ", ".join(sorted(set(pairs.column("dataset"))))
        raise UserError(
            f"{pairs.source} shows people of a licensed corpus ({names}), and these licences "
            "forbid to hand frames on. If yours lets you, say --i_have_the_right_to_share: the "
            "repository will be private."
        )


def _open(repo_id: str, private: bool | None, origin: str) -> tuple[str, bool]:
    """Create the repository or find it; its address and whether it is private."""
    from huggingface_hub import HfApi

    api, what = HfApi(), f"dataset {repo_id}"
    if private is None and origin == "unknown":
        private = True  # in a repository that is there and public too, which is refused then
    url = make_repo(repo_id, "dataset", private)
    check_ours(repo_id, "dataset", MANIFEST)
    with readable_hub_errors(what):
        return url, bool(api.repo_info(repo_id, repo_type="dataset").private)


def _stage(pairs: Pairs, origin: str, folder: Path) -> PairsFacts:
    """Write all that travels but the card, and gather what the card says."""
    from datasets import DatasetInfo, SplitInfo
    from datasets.splits import SplitDict

    (folder / "data").mkdir()
    features, num_bytes = _write_shards(pairs.table, folder / "data")
    manifest = _manifest(pairs)
    write_json(folder / MANIFEST, manifest)
    info = DatasetInfo(
        features=features,
        splits=SplitDict({"train": SplitInfo("train", num_bytes, len(pairs))}),
        download_size=sum(size for _, size in listed(folder / "data")),
        dataset_size=num_bytes,
    )
    clips = list(zip(*(pairs.column(name) for name in ("dataset", "subject", "emotion"))))
    return PairsFacts(origin, info, clips, manifest["num_spotted"], pairs.settings)


def _write_shards(table: datasets.Dataset, folder: Path) -> tuple[datasets.Features, int]:
    """Parquet with every image file inside; the features and the bytes of all rows in memory."""
    import datasets

    images = [name for name, f in table.features.items() if isinstance(f, datasets.Image)]
    features = table.features.copy()
    features.update({name: datasets.Image() for name in images})
    num_shards, num_bytes = -(-len(table) // _SHARD_CLIPS), 0
    for index in range(num_shards):
        rows = []
        for row in table.shard(num_shards, index, contiguous=True):
            for name in images:  # without the name of the file here, which is nobody's business
                bare = row[name] and {"bytes": encoded_image(row[name]), "path": None}
                row[name] = bare
            rows.append(row)
        shard = datasets.Dataset.from_list(rows, features=features)
        shard.to_parquet(folder / f"train-{index:05d}-of-{num_shards:05d}.parquet")
        num_bytes += shard.data.nbytes
    return features, num_bytes


def _manifest(pairs: Pairs) -> dict:
    """What prepare_dataset wrote of these pairs, or as much as is known of somebody's own."""
    keys = ("fingerprint", "num_pairs", "num_spotted", "settings")
    if (Path(pairs.source) / MANIFEST).is_file():
        manifest = read_manifest(Path(pairs.source))
        return {key: manifest[key] for key in keys}
    return dict(zip(keys, (pairs.fingerprint(), len(pairs), 0, pairs.settings)))

"""From clips to pairs: a `datasets` builder, parquet files, and the report of what was left out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import cv2
import datasets
from tqdm import tqdm

from hcp_mer.data.beside_pairs import card_of, work_in_words, write_sheet
from hcp_mer.data.check import CHECK
from hcp_mer.data.pair_rows import make_rows
from hcp_mer.data.pairs import MANIFEST, read_manifest
from hcp_mer.data.records import ClipRecord, CorpusReading, Problem
from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, read_json, write_json, write_whole
from hcp_mer.motion.apex_plot import check_can_plot
from hcp_mer.motion.contact_sheet import MOST_THUMBNAILS
from hcp_mer.motion.face import CROPPED_ALREADY
from hcp_mer.motion.pair import PairSettings

PROBLEMS = "problems.json"
NO_FACE_SHEET = "no_face_found.png"
ALIGNED_SHEET = "aligned_faces.png"  # crosses where every subject's eyes must be
APEX_PLOTS = "apex_plots"
_BUILDING = ".building"
_FORMAT = 3  # of the pairs; a change makes every prepared folder be prepared again
_PART_CLIPS = 32  # what a stopped preparation loses at most
_SHARD_CLIPS = 1000
# Of a row while it is made; what is written has none of them.
_NOTES = {
    "problem": datasets.Value("string"),
    "no_face": datasets.Value("bool"),
    "seconds": datasets.Value("float32"),
    "decoding_seconds": datasets.Value("float32"),
    "decoded": datasets.Value("int32"),
}


@dataclass
class PairsConfig(datasets.BuilderConfig):
    """What a build depends on: the clips and how their motion is measured."""

    records: tuple[ClipRecord, ...] = ()
    settings: PairSettings = field(default_factory=PairSettings)
    plots: Path | None = None


class MicroExpressionPairs(datasets.GeneratorBasedBuilder):
    """One row per clip; a clip that cannot be read is a row that says why (`problem`).

    Rows, not side files, carry the problems, so that none is lost between worker processes.
    """

    BUILDER_CONFIG_CLASS = PairsConfig
    DEFAULT_WRITER_BATCH_SIZE = 16  # a few dozen images in memory, whatever the corpus

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            features=datasets.Features(
                {
                    "magnified": datasets.Image(),
                    "flow": datasets.Image(),
                    "onset_frame": datasets.Image(),
                    "emotion": datasets.Value("string"),
                    "subject": datasets.Value("string"),
                    "dataset": datasets.Value("string"),
                    "clip_id": datasets.Value("string"),
                    "action_units": datasets.List(datasets.Value("string")),
                    "onset": datasets.Value("int32"),
                    "apex": datasets.Value("int32"),
                    "offset": datasets.Value("int32"),
                    "apex_source": datasets.Value("string"),
                    "alignment": datasets.Value("string"),
                    "flow_scale_px": datasets.Value("float32"),
                    **_NOTES,
                }
            )
        )

    def _split_generators(self, dl_manager) -> list[datasets.SplitGenerator]:
        records = list(self.config.records)  # a list: this is what num_proc shares out
        return [datasets.SplitGenerator("train", gen_kwargs={"records": records})]

    def _generate_examples(self, records: list[ClipRecord]) -> Iterator[tuple[str, dict]]:
        cv2.setNumThreads(1)  # processes are the parallelism; threads would only fight over cores
        settings, waiting = self.config.settings, iter(records)
        batch = max(method.batch for method in settings.methods())
        while clips := list(islice(waiting, batch)):
            for record, row in zip(clips, make_rows(clips, settings, self.config.plots)):
                yield f"{record.dataset}/{record.subject}/{record.clip_id}", row


@dataclass(frozen=True)
class Preparation:
    """What `prepare_pairs` did.

    Attributes:
        num_pairs, num_spotted: pairs in `folder`, and how many of their apexes were spotted.
        reused: the pairs were there already; replaced: other ones were there before.
        reading: the clips that the pairs are of, and the others.
        work: what it took per frame and clip, in words; empty where nothing was made.
    """

    folder: Path
    num_pairs: int
    num_spotted: int
    reading: CorpusReading
    reused: bool
    replaced: bool = False
    work: str = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.reading.problems


def prepare_pairs(
    reading: CorpusReading,
    output_dir: str | Path,
    settings: PairSettings | None = None,
    num_proc: int = 1,
    apex_plots: bool = False,
) -> Preparation:
    """Write the pairs of a corpus as parquet, with a manifest, a problems report and a card.

    A folder that already holds the same pairs is left as it is; a preparation that was stopped
    goes on where it was. The manifest is written last.

    Args:
        num_proc: processes; networks are given their clips in batches by a single one.
        apex_plots: draw the energy curve of every clip whose apex is spotted, in a folder beside.
    Raises:
        UserError: no clip is usable, faces are to be found first, weights are another network's,
            or `output_dir` holds something else.
    """
    settings = settings or PairSettings()
    _check_usable(reading, settings)
    if any(method.needs_weights for method in settings.methods()):
        num_proc = 1  # a GPU is not shared, and on a CPU the network itself uses all cores
    folder = Path(output_dir)
    plots = folder / APEX_PLOTS if apex_plots else None
    if plots:
        check_can_plot()
    manifest_path = folder / MANIFEST
    fingerprint = _fingerprint(reading.records, settings, reading.problems)
    replaced = manifest_path.is_file()
    if replaced:
        manifest = read_manifest(folder)
        problems = _read_problems(folder)
        made = _prepared(reading, folder, problems or ())
        whole = problems is not None and len(made.records) == manifest["num_pairs"]
        whole = whole and (plots is None or plots.is_dir())
        if manifest["fingerprint"] == fingerprint and whole:
            counts = manifest["num_pairs"], manifest["num_spotted"]
            return Preparation(folder, *counts, made, reused=True)
    elif not (folder / _BUILDING).is_dir() and _holds_other_things(folder):
        raise UserError(f"{folder} holds other things than prepared pairs; give an empty folder.")
    make_folder(folder / _BUILDING)  # marks the folder as ours
    rows = _build(reading.records, folder / _BUILDING, settings, num_proc, plots)
    table, problems = _split(rows, reading, folder)
    problems = (*reading.problems, *problems)
    manifest_path.unlink(missing_ok=True)  # earlier pairs stay until there are others
    _write_parquet(table, folder / "data")
    num_spotted = list(table["apex_source"]).count("spotted")
    write_json(folder / PROBLEMS, [problem.to_dict() for problem in problems])
    write_whole(folder / "README.md", card_of(reading, len(table), num_spotted, settings))
    manifest = {
        "fingerprint": fingerprint,
        "num_pairs": len(table),
        "num_spotted": num_spotted,
        "settings": settings.to_dict(),
    }
    write_json(manifest_path, manifest)
    work = work_in_words(rows)
    shutil.rmtree(folder / _BUILDING)
    prepared = _prepared(reading, folder, problems)
    return Preparation(folder, len(table), num_spotted, prepared, False, replaced, work)


def _check_usable(reading: CorpusReading, settings: PairSettings) -> None:
    if not reading.records:
        first = reading.problems[0].reason if reading.problems else "the annotation has no rows"
        raise UserError(f"no clip is usable; the first of {len(reading.problems)}: {first}")
    if settings.face.detector != "none":
        return
    if any(record.face for record in reading.records):
        raise UserError(
            "the clips say where their faces are: --face given takes that, --face none takes the "
            "frames as they are."
        )
    if reading.whole_frames:
        frame = reading.records[0].frames.path(reading.records[0].onset)
        raise UserError(
            f"{frame} shows more than a face: say --face cascade (offline) or --face yunet "
            "--face_weights FILE to find it, or give the corpus's cropped frames."
        )


def _read_problems(folder: Path) -> tuple[Problem, ...] | None:
    """The report of an earlier preparation; None where it is missing or another's."""
    try:
        return tuple(Problem(**problem) for problem in read_json(folder / PROBLEMS))
    except (OSError, ValueError, TypeError):
        return None


def _holds_other_things(folder: Path) -> bool:
    return folder.is_dir() and bool({path.name for path in folder.iterdir()} - {CHECK})


def _build(
    records: tuple[ClipRecord, ...],
    cache: Path,
    settings: PairSettings,
    num_proc: int,
    plots: Path | None,
) -> datasets.Dataset:
    """A row per clip. Parts that an earlier, stopped preparation finished are taken from disk."""
    parts = [records[i : i + _PART_CLIPS] for i in range(0, len(records), _PART_CLIPS)]
    tables = []
    datasets.disable_progress_bars()  # one bar over all parts says more than one for each
    # Threads of OpenCV that are at work here do not live on in a forked process, which then waits
    # for them forever.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with tqdm(total=len(records), desc="pairs", unit="clip", disable=None) as bar:
            for part in parts:
                place = _fingerprint(part, settings) + ("-plots" if plots else "")
                builder = MicroExpressionPairs(
                    dataset_name="pairs",
                    cache_dir=str(cache / place),
                    records=part,
                    settings=settings,
                    plots=plots,
                )
                builder.download_and_prepare(num_proc=min(num_proc, len(part)))
                tables.append(builder.as_dataset("train"))
                bar.update(len(part))
    finally:
        cv2.setNumThreads(threads)
    return datasets.concatenate_datasets(tables)


def _split(
    rows: datasets.Dataset, reading: CorpusReading, folder: Path
) -> tuple[datasets.Dataset, tuple[Problem, ...]]:
    """The pairs, and the problems of the other clips.

    Raises:
        UserError: there is no pair.
    """
    failed = [index for index, problem in enumerate(rows["problem"]) if problem is not None]
    told = ["dataset", "subject", "clip_id", "problem"]
    problems = tuple(
        reading.problem_of((row["dataset"], row["subject"], row["clip_id"]), row["problem"])
        for row in rows.select(failed).select_columns(told)
    )
    kept = sorted(set(range(len(rows))) - set(failed))
    faceless = [index for index, no_face in enumerate(rows["no_face"]) if no_face]
    alignments = rows["alignment"]
    aligned = [index for index in kept if alignments[index] != CROPPED_ALREADY]
    write_sheet(rows, faceless, folder / NO_FACE_SHEET)
    write_sheet(rows, aligned[:MOST_THUMBNAILS], folder / ALIGNED_SHEET, eyes=True)
    if not kept:
        sheet = f" (see {folder / NO_FACE_SHEET})" if faceless else ""
        raise UserError(
            f"no clip is usable; the first of {len(problems)}: {problems[0].reason}{sheet}"
        )
    return rows.select(kept).remove_columns(list(_NOTES)), problems


def _prepared(reading: CorpusReading, folder: Path, problems: tuple[Problem, ...]) -> CorpusReading:
    """The reading with the clips that became pairs."""
    import pyarrow.parquet as pq

    made, keys = set(), ["dataset", "subject", "clip_id"]
    with contextlib.suppress(OSError, ValueError):  # a damaged shard: these pairs are made again
        for shard in sorted((folder / "data").glob("*.parquet")):
            made |= {tuple(row.values()) for row in pq.read_table(shard, columns=keys).to_pylist()}
    lost = dict(reading.lost)
    records = []
    for record in reading.records:
        if (record.dataset, record.subject, record.clip_id) in made:
            records.append(record)
        else:
            lost[f"{record.subject}/{record.clip_id}"] = record.emotion
    return replace(reading, records=tuple(records), problems=problems, lost=lost)


def _write_parquet(table: datasets.Dataset, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.glob("train-*-of-*.parquet"):
        old.unlink()
    num_shards = -(-len(table) // _SHARD_CLIPS)
    for index in range(num_shards):
        shard = table.shard(num_shards, index, contiguous=True)
        shard.to_parquet(folder / f"train-{index:05d}-of-{num_shards:05d}.parquet")


def _fingerprint(
    records: tuple[ClipRecord, ...], settings: PairSettings, problems: tuple[Problem, ...] = ()
) -> str:
    """Changes with the annotation, with any frame's size or date, and with the settings.

    Where the corpus lies does not matter: it may be moved.
    """
    digest = hashlib.sha256(f"{_FORMAT} {json.dumps(settings.to_dict(), sort_keys=True)}".encode())
    if settings.face.weights:
        digest.update(hashlib.sha256(Path(settings.face.weights).read_bytes()).digest())
    for problem in problems:
        digest.update(json.dumps(problem.to_dict(), sort_keys=True).encode())
    for record in records:
        annotation = (record.dataset, record.subject, record.clip_id, record.onset, record.apex)
        annotation += (record.offset, record.action_units, record.emotion, record.face)
        digest.update(repr(annotation).encode())
        for path in record.frames.files:
            stat = path.stat()
            place = "/".join(path.parts[-2:])
            digest.update(f"{place}{stat.st_size}{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]

"""What is reproduced: which corpora are given, which runs of the paper they allow, and where.

::

    OUT/                 can be published: README.md, tables/, figures/, runs/<name>/
    OUT/private/         cannot: pairs/, runs/ (faces, weights), figures/ (Fig. 5 shows faces)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hcp_mer.data.corpora import read_corpus
from hcp_mer.data.records import CorpusReading
from hcp_mer.data.tasks import label_of_clip, label_scheme
from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, write_json, write_whole
from hcp_mer.motion.face import FaceSettings
from hcp_mer.motion.pair import PairSettings
from hcp_mer.training.recipe import Recipe, load_recipe
from hcp_mer.training.timing import Clips

CORPORA = {"casme2": "CASME II", "smic": "SMIC", "samm": "SAMM", "casme3": "CAS(ME)³"}
# Recipe of hub_configs/recipes → whose pairs it takes. The composite is not in the paper.
RUNS: Mapping[str, tuple[str, ...]] = {
    "casme2-3class": ("casme2",),
    "smic-3class": ("smic",),
    "samm-3class": ("samm",),
    "megc2019-3class": ("smic", "casme2", "samm"),
    "casme3-3class": ("casme3",),
    "casme3-4class": ("casme3",),
    "casme3-7class": ("casme3",),
}
ABLATED = tuple(name for name, corpora in RUNS.items() if corpora == ("casme3",))  # Fig. 3
FEATURES_OF = "casme3-7class"  # Fig. 4
# Fig. 5 does not say its corpus; the first of these that is there.
ATTENTION_OF = ("casme3-7class", "casme2-3class", "samm-3class", "smic-3class")
PRIVATE = "private"
_MARK = "reproduction.json"
_SYNTHETIC_MARK = "procedural.json"  # what `write_procedural_corpus.py` leaves in its folder


@dataclass(frozen=True)
class Reproduction:
    """One output folder and what goes into it.

    Attributes:
        root: OUT; recipes: the folder with the recipes of RUNS.
        corpora: name in CORPORA → the corpus, unpacked.
        settings: how pairs are made; face: who finds it in frames that show more, None if not said.
        overrides: key=value, of every recipe; num_proc: processes that prepare pairs.
        controls: whether the folds are trained once more for each control; apex_plots: whether it
            is drawn how apexes were spotted.
    """

    root: Path
    recipes: Path
    corpora: Mapping[str, Path]
    settings: PairSettings = field(default_factory=PairSettings)
    face: str | None = None
    overrides: Sequence[str] = ()
    num_proc: int = 2
    controls: bool = False
    apex_plots: bool = False
    _read: dict[str, CorpusReading] = field(default_factory=dict, repr=False, compare=False)

    @property
    def private(self) -> Path:
        return self.root / PRIVATE

    def pairs_of(self, corpus: str) -> Path:
        return self.private / "pairs" / corpus

    def run_of(self, name: str) -> Path:
        return self.private / "runs" / name

    def run_names(self) -> list[str]:
        """The runs that the given corpora allow, in the order of RUNS."""
        return [name for name, needed in RUNS.items() if set(needed) <= set(self.corpora)]

    def recipe(self, name: str) -> Recipe:
        """Raises UserError for overrides that no recipe takes, and for LoRA."""
        recipe = load_recipe(self.recipes / f"{name}.yaml", list(self.overrides))
        if recipe.trains_tower:
            raise UserError(
                "the paper's tower is frozen, and Fig. 3 shares its features: no vision_lora."
            )
        return recipe

    def reading(self, corpus: str) -> CorpusReading:
        """The corpus as found on disk, as its frames are to be taken.

        Raises:
            UserError: it is not there, is another one, or shows more than faces and nobody says
                who is to find them.
        """
        if corpus not in self._read:
            self._read[corpus] = self._as_taken(corpus, _find(corpus, self.corpora[corpus]))
        return self._read[corpus]

    def _as_taken(self, corpus: str, reading: CorpusReading) -> CorpusReading:
        if self.is_synthetic(corpus):  # it has words, such as anger, that the corpus itself has not
            known = label_scheme(None, corpus).coarse
            kept = tuple(record for record in reading.records if record.emotion in known)
            reading = replace(reading, records=kept)
        if self.face == "none":  # the user's word that these are crops
            bare = tuple(replace(record, face=None) for record in reading.records)
            return replace(reading, records=bare, whole_frames=False)
        if reading.whole_frames and self.face is None:
            raise UserError(
                f"the frames of --{corpus} {self.corpora[corpus]} show more than a face: say "
                "--face cascade (offline) or --face yunet --face_weights FILE to find it."
            )
        return reading

    def pair_settings(self, corpus: str) -> PairSettings:
        """Faces are looked for where frames show more; crops are taken as they are."""
        if self.reading(corpus).whole_frames:
            return self.settings
        return replace(self.settings, face=FaceSettings("none"))

    def is_synthetic(self, corpus: str) -> bool:
        """Whether a program drew the corpus, and says so in its folder."""
        return (self.corpora[corpus] / _SYNTHETIC_MARK).is_file()

    def clips_of(self, name: str) -> Clips:
        """The labelled clips of a run, from the annotation alone."""
        recipe = self.recipe(name)
        people, labels, units = [], [], []
        for corpus in RUNS[name]:
            for record in self.reading(corpus).records:
                who = (record.dataset, record.subject, record.clip_id)
                label = label_of_clip(record.emotion, recipe.label_task, recipe.scheme, *who)
                if label is not None:
                    people.append(who[:2])
                    labels.append(recipe.label_task.classes.index(label))
                    units.append(record.action_units)
        return Clips(people, labels, units)

    def check(self) -> None:
        """Read every corpus and every recipe, so that mistakes show before hours of work.

        Raises:
            UserError: see `reading` and `recipe`; a folder with other things.
        """
        self._check_ours()
        for corpus in self.corpora:
            self.reading(corpus)
        for name in self.run_names():
            self.recipe(name)

    def _check_ours(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"{self.root} is a file; --output_dir must be a folder.")
        if not self.root.is_dir() or (self.private / _MARK).is_file():
            return
        if any(self.root.iterdir()):
            raise UserError(
                f"{self.root} is not empty and holds no reproduction. Give a new --output_dir."
            )

    def claim(self) -> None:
        """Mark the folder as ours, and keep the private part out of git."""
        self._check_ours()
        make_folder(self.private)
        write_json(self.private / _MARK, {"made_by": "scripts/reproduce_paper.py"})
        write_whole(self.root / ".gitignore", f"/{PRIVATE}/\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep another reproduction out of this folder.

        Raises:
            UserError: one is at work here.
        """
        from filelock import FileLock, Timeout

        self.claim()
        lock = FileLock(self.private / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(
                f"another reproduction is at work in {self.root}. Wait for it or stop it."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def options(self) -> dict[str, Any]:
        """What decides the results beside the corpora, without places of this machine."""
        shown = dict(override.split("=", 1) for override in self.overrides)
        if "backbone" in shown and shown.get("backbone_revision") == "null":
            del shown["backbone_revision"]  # what --backbone sets
        told = {key: _name_of_place(value) for key, value in shown.items()}
        return {"face": self.face, "set": told, "controls": self.controls}


def _name_of_place(value: str) -> str:
    return Path(value).name if Path(value).is_absolute() or ".." in Path(value).parts else value


def _find(corpus: str, place: Path) -> CorpusReading:
    """A corpus, or a sentence that says what lies there instead."""
    try:
        reading = read_corpus(corpus, place)
    except (ValueError, OSError) as error:
        other = next((name for name in CORPORA if name != corpus and _is(name, place)), None)
        hint = f" It looks like {CORPORA[other]}: give it as --{other}." if other else ""
        raise UserError(f"--{corpus} {place} holds no {CORPORA[corpus]}: {error}{hint}") from error
    if not reading.records:
        first = f": {reading.problems[0].reason}" if reading.problems else ""
        raise UserError(f"no clip of --{corpus} {place} is usable{first}")
    return reading


def _is(corpus: str, place: Path) -> bool:
    try:
        return bool(read_corpus(corpus, place).records)
    except (ValueError, OSError):
        return False

"""All checks in a row: the machine, the recipe's backbone, the user's data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hcp_mer.doctor import machine
from hcp_mer.doctor.findings import LOOK, WRONG, Finding, Verdict, run_check

if TYPE_CHECKING:
    from hcp_mer.training.recipe import Recipe

_NOT_CHECKED = "not checked"


def examine(
    recipe: Recipe,
    dataset: str | Path | Sequence[str | Path] | None = None,
    corpus: str | None = None,
    data_dir: str | Path | None = None,
    tell: Callable[[Finding], None] | None = None,
) -> list[Finding]:
    """Run every check, whatever the earlier ones found.

    Args:
        recipe: what is to be trained: names task, prompts and backbone. A backbone on the Hub
            that is not in the cache is fetched.
        dataset: pairs, one source or several, as train_loso takes them; None leaves those checks
            out.
        corpus, data_dir: a corpus on disk, as prepare_dataset takes it; None leaves it out.
        tell: called with each finding as soon as it is there.
    """
    examination = _Examination(tell)
    examination.of_machine()
    examination.of_backbone(recipe)
    if dataset is not None:
        examination.of_pairs(dataset, recipe)
    if corpus is not None and data_dir is not None:
        examination.of_corpus(corpus, data_dir, recipe)
    return examination.findings


class _Examination:
    def __init__(self, tell: Callable[[Finding], None] | None) -> None:
        self.findings: list[Finding] = []
        self._tell = tell

    def of_machine(self) -> None:
        self._run("python", machine.check_python)
        self._run("packages", machine.check_packages)
        self._run("opencv", machine.check_opencv)
        self._run("threads", machine.check_threads)
        self._run("gpu", machine.check_gpu)
        self._run("cache", machine.check_cache)
        self._run("hub", machine.check_hub)

    def of_backbone(self, recipe: Recipe) -> None:
        from hcp_mer.doctor.backbone import Backbone
        from hcp_mer.doctor.zero_shot import check_knowledge

        self.backbone = Backbone(recipe)
        self._run("backbone", self.backbone.check_place)
        self._run("sizes", self.backbone.check_sizes, after="backbone")
        self._run("weights", self.backbone.check_weights, after="backbone")
        self._run("tokenizer", self.backbone.check_tokenizer, after="backbone")
        self._run("knowledge", partial(check_knowledge, self.backbone), after="backbone")

    def of_pairs(self, dataset: str | Path | Sequence[str | Path], recipe: Recipe) -> None:
        from hcp_mer.doctor.corpora import PreparedPairs
        from hcp_mer.doctor.zero_shot import check_pairs

        sources = [dataset] if isinstance(dataset, (str, Path)) else dataset
        prepared = PreparedPairs(sources, recipe)
        self._run("pairs", prepared.check_readable)
        self._run("classes", prepared.check_classes, after="pairs")
        self._run("flow", prepared.check_flow, after="pairs")
        if self._went_well("classes"):
            for corpus in prepared.known_corpora():
                self._run(f"{corpus} pairs", partial(prepared.check_counts, corpus))
        self._run(
            "zero-shot",
            lambda: check_pairs(self.backbone, prepared.pairs, prepared.labelled),
            after="backbone classes",
        )

    def of_corpus(self, corpus: str, data_dir: str | Path, recipe: Recipe) -> None:
        from hcp_mer.doctor.corpora import check_on_disk

        self._run(corpus, partial(check_on_disk, corpus, data_dir, recipe))

    def _run(self, name: str, check: Callable[[], Verdict], after: str = "") -> None:
        """Run a check, unless one of those that it stands on (`after`) found nothing usable."""
        broken = [needed for needed in after.split() if not self._went_well(needed)]
        if broken:
            finding = Finding(name, LOOK, f"{_NOT_CHECKED}: mend {' and '.join(broken)} first")
        else:
            finding = run_check(name, check)
        self.findings.append(finding)
        if self._tell is not None:
            self._tell(finding)

    def _went_well(self, name: str) -> bool:
        (finding,) = (finding for finding in self.findings if finding.name == name)
        return finding.state != WRONG and not finding.found.startswith(_NOT_CHECKED)

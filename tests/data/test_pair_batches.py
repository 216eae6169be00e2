"""Networks are given several clips at once, and no clip is the worse or the wiser for it."""

import hashlib
import json

import pytest

from hcp_mer.data.builders import PROBLEMS, prepare_pairs
from hcp_mer.data.casme2 import read_casme2
from hcp_mer.data.pair_rows import make_rows
from hcp_mer.data.pairs import MANIFEST, load_pairs
from hcp_mer.data.synthetic.corpus import write_corpus
from hcp_mer.motion import flownet2, methods
from hcp_mer.motion.flownet2 import FlowNet
from hcp_mer.motion.pair import PairSettings
from tests.motion.shifting import ShiftingNetwork


class Counting(ShiftingNetwork):
    """Notes which clips it was given at a time, by their onsets' contrast; refuses `refused`."""

    def __init__(self, given, refused):
        super().__init__()
        self.given, self.refused = given, refused

    def flow_px(self, images):
        contrasts = [round(float(image.std()), 5) for image in images[:, :3]]
        if set(contrasts) & set(self.refused):
            raise ValueError("this clip is not to the network's taste")
        self.given.append(contrasts)
        return super().flow_px(images)


@pytest.fixture
def given():
    return []


@pytest.fixture
def refused():
    return []


@pytest.fixture
def settings(monkeypatch, tmp_path, given, refused):
    monkeypatch.setattr(
        flownet2,
        "load_flownet2",
        lambda path: FlowNet("FlowNet2-SD", Counting(given, refused)).eval(),
    )
    methods._made.cache_clear()
    weights = tmp_path / "a place of mine" / "FlowNet2-SD_checkpoint.pth.tar"
    weights.parent.mkdir()
    weights.write_bytes(b"stands for 173 MB")
    yield PairSettings(image_size=64, estimator="flownet2", estimator_weights=str(weights))
    methods._made.cache_clear()


@pytest.fixture
def corpus(tmp_path):
    write_corpus(tmp_path / "c", seed=1, num_subjects=2, clips_per_subject=4, num_proc=1, size=64)
    return tmp_path / "c"


@pytest.fixture
def reading(corpus):
    return read_casme2(corpus, name="procedural")


WHAT_IT_TOOK = {"seconds", "decoding_seconds"}


def without_times(row):
    return {key: value for key, value in row.items() if key not in WHAT_IT_TOOK}


def test_rows_of_a_batch_are_those_of_clips_alone(reading, settings):
    together = make_rows(reading.records, settings)
    alone = [row for record in reading.records for row in make_rows([record], settings)]
    assert len({row["flow"]["bytes"] for row in together}) == 8
    assert list(map(without_times, together)) == list(map(without_times, alone))


def test_a_network_is_given_clips_by_the_batch(reading, settings, given, tmp_path):
    batch = settings.methods()[0].batch
    annotated = [record for record in reading.records if record.apex is not None]
    make_rows(annotated, settings)
    assert list(map(len, given)) == [len(annotated)]
    given.clear()
    prepare_pairs(reading, tmp_path / "pairs", settings, num_proc=2)
    assert 1 < max(map(len, given)) <= batch


def test_a_damaged_frame_takes_no_other_clip_along(corpus, settings, tmp_path):
    record = next(r for r in read_casme2(corpus).records if r.apex is not None)
    path = record.frames.path(record.apex)
    path.write_bytes(b"no picture")
    prepare_pairs(read_casme2(corpus), tmp_path / "pairs", settings)
    (problem,) = json.loads((tmp_path / "pairs" / PROBLEMS).read_text())
    assert problem["clip"] == f"{record.subject}/{record.clip_id}"
    assert len(load_pairs(tmp_path / "pairs")) == 7


def test_a_clip_that_the_network_refuses_takes_no_other_along(reading, settings, refused, given):
    records = [record for record in reading.records if record.apex is not None][:3]
    expected = make_rows(records, settings)
    (contrasts,) = given
    assert len(set(contrasts)) == 3
    refused.append(contrasts[1])
    given.clear()
    rows = make_rows(records, settings)
    assert [row["problem"] for row in rows] == [
        None,
        "this clip is not to the network's taste",
        None,
    ]
    assert given == [contrasts[:1], contrasts[2:]]
    for index in (0, 2):
        assert without_times(rows[index]) == without_times(expected[index])


def test_the_network_is_named_by_variant_and_hash_never_by_path(reading, settings, tmp_path):
    prepare_pairs(reading, tmp_path / "pairs", settings)
    expected = {
        "variant": "FlowNet2-SD",
        "file": "FlowNet2-SD_checkpoint.pth.tar",
        "sha256": hashlib.sha256(b"stands for 173 MB").hexdigest(),
    }
    manifest = json.loads((tmp_path / "pairs" / MANIFEST).read_text())
    assert manifest["settings"]["estimator"] == "flownet2"
    assert manifest["settings"]["estimator_weights"] == expected
    card = (tmp_path / "pairs" / "README.md").read_text()
    assert (
        f"`flownet2` (FlowNet2-SD, `{expected['file']}`, sha256 {expected['sha256'][:12]}…)" in card
    )
    assert not [
        path
        for path in (tmp_path / "pairs").rglob("*")
        if path.is_file() and b"a place of mine" in path.read_bytes()
    ]


def test_other_weights_are_other_pairs_and_the_same_elsewhere_are_not(reading, settings, tmp_path):
    folder = tmp_path / "pairs"
    prepare_pairs(reading, folder, settings)
    moved = tmp_path / "FlowNet2-SD_checkpoint.pth.tar"
    moved.write_bytes(b"stands for 173 MB")
    again = PairSettings(image_size=64, estimator="flownet2", estimator_weights=str(moved))
    assert prepare_pairs(reading, folder, again).reused
    moved.write_bytes(b"other weights, as many B")
    assert not prepare_pairs(reading, folder, again).reused

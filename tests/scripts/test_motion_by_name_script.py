"""Flow and magnification by name, as a user asks for them on the command line."""

import json

import pytest
import torch

from hcp_mer.data.pairs import MANIFEST, load_pairs
from hcp_mer.data.synthetic.corpus import write_corpus
from tests.parity import recipe


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("casme2")
    write_corpus(folder, seed=3, num_subjects=2, clips_per_subject=2, num_proc=1, size=64)
    return folder


@pytest.fixture(scope="module")
def magnet(tmp_path_factory):
    """A published port's file, with weights that are nobody's."""
    params = recipe.manifest("magnet_zhengpeng7_manifest")["params"]
    path = tmp_path_factory.mktemp("weights") / "magnet_epoch12.pth"
    torch.save(recipe.weights(params), path)
    return path


@pytest.fixture
def prepare(run, corpus, tmp_path):
    command = ("prepare_dataset.py", "--corpus", "casme2", "--name", "procedural")
    command += ("--data_dir", corpus, "--output_dir", tmp_path / "pairs", "--image_size", 64)
    return lambda *options: run(*command, "--num_proc", 1, *options)


def test_magnet_magnifies_where_its_weights_are_given(prepare, magnet, tmp_path):
    code, printed, error = prepare("--magnifier", "magnet", "--magnifier_weights", magnet)
    assert code == 0, error
    assert "4 pairs in" in printed
    by_magnet = load_pairs(tmp_path / "pairs")
    assert (
        "`magnet` (zhengpeng7, `magnet_epoch12.pth`" in (tmp_path / "pairs/README.md").read_text()
    )
    code, printed, error = prepare("--alpha", 3, "--flow", "dis", "--flow_encoding", "hsv")
    assert code == 0, error
    settings = json.loads((tmp_path / "pairs" / MANIFEST).read_text())["settings"]
    assert (settings["estimator"], settings["magnifier"]) == ("dis", "lagrangian")
    assert (settings["motion"]["alpha"], settings["motion"]["flow_encoding"]) == (3.0, "hsv")
    by_default = load_pairs(tmp_path / "pairs")
    for view in ("magnified", "flow"):
        assert (by_magnet.image(0, view) != by_default.image(0, view)).any()
    assert (by_magnet.image(0, "onset_frame") == by_default.image(0, "onset_frame")).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--flow", "flownet2"], "flow estimator flownet2 needs weights"),
        (["--flow", "flownet"], "Did you mean 'flownet2'?"),
        (["--magnifier", "lagrange"], "Did you mean 'lagrangian'?"),
        (["--magnifier", "magnet", "--magnifier_weights", "gone.pth"], "at gone.pth"),
        (["--flow", "dis", "--flow_weights", "MAGNET"], "flow estimator dis reads no weights"),
        (["--flow", "flownet2", "--flow_weights", "MAGNET"], "magnet_epoch12.pth"),
        (["--flow", "flownet2", "--flow_weights", "JUNK"], "junk.pth"),
        (["--magnifier", "magnet", "--magnifier_weights", "JUNK"], "junk.pth"),
        (["--flow_encoding", "rgb"], "uv_strain"),
        (["--flow_scale_px", "0"], "flow_scale_px must be"),
        (["--alpha", "0.5"], "alpha must be at least 1"),
    ],
)
def test_mistakes_end_in_one_line(prepare, magnet, tmp_path, options, message):
    (tmp_path / "junk.pth").write_bytes(b"not a checkpoint")
    files = {"MAGNET": magnet, "JUNK": tmp_path / "junk.pth"}
    code, _, error = prepare(*(files.get(option, option) for option in options))
    assert code == 2
    assert message in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "pairs").exists()

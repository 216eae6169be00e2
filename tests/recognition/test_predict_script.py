"""scripts/predict.py end to end: one clip, a pair, a list, and the mistakes that people make."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas
import pytest

from tests.films import write_film
from tests.recognition.acted_clips import acted_clip, write_acted_clip

SCRIPT = Path(__file__).parents[2] / "scripts" / "predict.py"


@pytest.fixture
def predict(monkeypatch, capsys):
    """Run the script in this process; → (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three clips, one of each class: (path, what is acted)."""
    folder = tmp_path_factory.mktemp("films")
    return [write_acted_clip(folder, number, num_frames=14) for number in range(3)]


def test_a_clip_is_answered_as_json_and_saved(predict, clips, tmp_path):
    path, clip = clips[2]
    code, out, err = predict(
        "--video", path, "--face", "none", "--json", "--save_dir", tmp_path / "out"
    )
    assert code == 0, err
    said = json.loads(out)
    assert said["answer"] == clip.label
    assert abs(said["apex"]["frame"] - clip.apex) <= 2
    names = {place.name for place in (tmp_path / "out").iterdir()}
    movies = {f"clip 002-magnified.{kind}" for kind in ("mp4", "gif")}
    assert names == {"clip 002.png", "clip 002.json"} | movies
    assert json.loads((tmp_path / "out" / "clip 002.json").read_text()) == said


def test_a_table_for_people_has_the_notice_and_the_times(predict, clips):
    code, out, err = predict("--video", clips[0][0], "--face", "none", "--timing")
    assert code == 0, err
    assert out.splitlines()[0] == f"clip 000.mkv: {clips[0][1].label}"
    assert "onset" in out
    assert "nearest action units" in out
    assert "Not for judging" in out
    assert " s  spot" in out


def test_a_pair_of_images_is_a_clip(predict, tmp_path):
    clip = acted_clip(2, num_frames=14)
    for name, frame in (("on'set.png", clip.frames[0]), ("apex 1.png", clip.frames[clip.apex])):
        cv2.imwrite(str(tmp_path / name), frame[..., ::-1])
    code, out, err = predict(
        "--onset", tmp_path / "on'set.png", "--apex", tmp_path / "apex 1.png", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["answer"] == "surprise"


def test_a_list_becomes_a_table_and_bad_clips_are_named(predict, clips, tmp_path):
    for path, _ in clips:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "text.mp4").write_text("this is no film")
    rows = [*(path.name for path, _ in clips), "text.mp4", "gone.mp4"]
    (tmp_path / "list.csv").write_text("video\n" + "\n".join(rows) + "\n")
    code, out, err = predict(
        *("--input_list", tmp_path / "list.csv", "--output", tmp_path / "p.parquet"),
        *("--face", "none"),
    )
    assert code == 0, err
    table = pandas.read_parquet(tmp_path / "p.parquet").set_index("video")
    for path, clip in clips:
        assert table.loc[path.name, "answer"] == clip.label
        assert abs(table.loc[path.name, "apex"] - clip.apex) <= 2
    assert (table.loc[["text.mp4", "gone.mp4"], "answer"] == "failed").all()
    assert "not answered: text.mp4: text.mp4 is" in out
    assert "2 failed" in out
    code, _, err = predict("--input_list", tmp_path, "--output", tmp_path / "p.parquet")
    assert code == 2
    assert "p.parquet is there already" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of --video FILE"),
        (["--video", "a.mp4", "--frames", "b"], "give one of --video FILE"),
        (["--onset", "a.png"], "give one of --video FILE"),
        (["--input_list", "a.csv"], "--input_list needs --output"),
        (["--input_list", "a.csv", "--output", "p.txt"], "must end in .parquet or .csv"),
        (["--frames", "b", "--intervals"], "--intervals looks through a --video"),
        (["--video", "a.mp4", "--fps", "0"], "--fps must be positive"),
        (["--video", "a.mp4", "--window_ms", "-1"], "--window_ms must be positive"),
        (["--video", "a.mp4", "--apex", "late"], "is the number of a frame; got 'late'"),
        (["--video", "a.mp4", "--intervals", "--save_dir", "b"], "takes no --save_dir"),
        (["--input_list", "a", "--output", "b.csv", "--json"], "takes no --json"),
        (["--video", "gone.mp4"], "gone.mp4 does not exist"),
        (["--video", "a.mp4", "--face", "cascad"], "cascade"),
        (["--video", "a.mp4", "--model", "gone.yaml"], "there is no file"),
    ],
)
def test_a_mistake_ends_in_one_line(predict, arguments, said):
    code, out, err = predict(*arguments)
    assert code == 2
    assert said in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert not out


def test_a_clip_that_is_too_short_or_a_folder_is_named(predict, tmp_path):
    frames = acted_clip(0, num_frames=14).frames[:2]
    short = write_film(tmp_path / "two.mkv", frames)
    for path, said in ((short, "two.mkv"), (tmp_path, tmp_path.name)):
        code, _, err = predict("--video", path, "--face", "none")
        assert code == 2
        assert said in err
        assert str(tmp_path.parent) not in err  # a name, no path


@pytest.mark.slow
def test_two_processes_share_a_list(clips, tmp_path):
    for path, _ in clips:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
        *(str(SCRIPT), "--input_list", str(tmp_path), "--output", str(tmp_path / "p.csv")),
        *("--face", "none"),
    ]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr
    table = pandas.read_csv(tmp_path / "p.csv").set_index("video")
    assert [table.loc[path.name, "answer"] for path, _ in clips] == [c.label for _, c in clips]


@pytest.mark.slow
def test_ninety_clips_of_people_unseen(tmp_path):
    """Peaks of 1.5 px and more, lossless: the apex to 2 frames, the class of 7 in 10."""
    from hcp_mer.motion.face import FaceSettings
    from hcp_mer.recognition.film_pipeline import load_pipeline

    recipe = SCRIPT.parents[1] / "hub_configs" / "recipes" / "embedded-3class.yaml"
    pipe = load_pipeline(recipe, face=FaceSettings("none"))
    right, off = [], []
    for number in range(90):
        path, clip = write_acted_clip(tmp_path, number)
        found = pipe.recognise(path)
        path.unlink()
        right.append(found.answer == clip.label)
        off.append(abs(found.course.apex - clip.apex))
    assert sorted(off)[45] <= 2
    assert sum(right) >= 63, f"{sum(right)} of 90"


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True])
def test_the_intervals_of_a_video_are_printed(predict, tmp_path, as_json):
    clip = acted_clip(2)
    noise = np.random.default_rng(0).normal(0, 2.5, (60, *clip.frames[0].shape))
    rest = list(np.clip(clip.frames[0] + noise, 0, 255).astype(np.uint8))
    path = write_film(tmp_path / "long.avi", [*rest, *clip.frames, *rest], fps_hz=50)
    shown = ["--json"] if as_json else []
    code, out, err = predict("--video", path, "--face", "none", "--intervals", *shown)
    assert code == 0, err
    if as_json:
        assert [said["answer"] for said in json.loads(out)] == [clip.label]
    else:
        assert out.startswith(f"long.avi: {clip.label}")


def test_beside_json_the_times_do_not_stand_in_its_way(predict, clips):
    shown = ("--face", "none", "--json", "--timing")
    code, out, err = predict("--video", clips[0][0], *shown)
    assert code == 0, err
    assert json.loads(out)["answer"]
    assert "magnify and flow" in err


def test_beside_the_clip_a_later_answer_takes_its_own_files_alone(predict, tmp_path):
    """The answers lie in the clips' folder: what was filmed stays, a movie of before goes."""
    clip = acted_clip(2, num_frames=14)
    path = write_film(tmp_path / "clip.mp4", clip.frames)
    place = ("--video", path, "--face", "none", "--save_dir", tmp_path)
    filmed = path.read_bytes()
    assert predict(*place)[0] == 0
    assert path.read_bytes() == filmed
    assert (tmp_path / "clip-magnified.mp4").exists()
    write_film(path, [clip.frames[0]] * 14)
    assert predict(*place)[0] == 0
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"clip.mp4", "clip.png", "clip.json"}


def test_what_cannot_be_saved_has_been_said(predict, clips, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hcp_mer.recognition.picture.save_picture", full)
    shown = ("--face", "none", "--save_dir", tmp_path / "out")
    code, out, err = predict("--video", clips[2][0], *shown)
    assert code == 2
    assert f": {clips[2][1].label}" in out
    assert "cannot be written to (No space left on device)" in err


def test_a_config_of_anything_else_is_no_model_of_ours(predict, clips, tmp_path):
    (tmp_path / "config.json").write_text("[1]")
    code, _, err = predict("--video", clips[0][0], "--model", tmp_path)
    assert code == 2
    assert len(err.splitlines()) == 1

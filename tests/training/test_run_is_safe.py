"""What can go wrong around a run: two at once, a full disk, a dead process, too little memory."""

import logging
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from hcp_mer.errors import UserError
from hcp_mer.files import save_tensors
from hcp_mer.training import launch, memory
from hcp_mer.training.folds import Fold, batch_schedule, groups_of, steps_per_epoch
from hcp_mer.training.progress import Progress
from hcp_mer.training.run_folder import RunFolder

HOLD = """
import sys, time
from pathlib import Path
from hcp_mer.training.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def make_fold(subject, num_train):
    return Fold("mine", subject, np.arange(num_train), np.arange(1))


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_ends(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as first:
        try:
            assert first.stdout.readline() == "held\n"
            with pytest.raises(UserError, match="another run is at work in"):
                RunFolder(tmp_path).locked().__enter__()
        finally:
            first.kill()  # however it ends, the lock goes with it
    with RunFolder(tmp_path).locked():
        pass


def test_a_full_disk_is_one_line_and_leaves_no_part_behind(tmp_path):
    """A limit on file sizes stands in for the disk: writing fails in the same way."""
    code = """
        import resource, sys, torch
        from pathlib import Path
        from hcp_mer.errors import run_script
        from hcp_mer.files import save_tensors
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        run_script(lambda: save_tensors(Path(sys.argv[1]), {"a": torch.zeros(100_000)}))
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "x.safetensors")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2, process.stderr
    assert "x.safetensors cannot be written" in process.stderr
    assert "Is the disk full?" in process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_an_error_of_the_operating_system(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        save_tensors(tmp_path / "file" / "x.safetensors", {"a": torch.zeros(1)})


def test_a_process_that_died_is_reported_by_its_folds(tmp_path):
    folds = [make_fold(subject, 9) for subject in ("01", "02", "03")]
    folder = RunFolder(tmp_path)
    folder.take_share(0, folds[:1])
    folder.take_share(1, folds[1:])
    folder.save_fold(folds[0], {}, {}, {})
    with pytest.raises(UserError, match=r"2 fold\(s\): mine/02, mine/03 \(process 1 on .*pid \d+"):
        folder.collect(folds, "predictions", "predictions.parquet")


def test_the_next_run_says_what_the_last_one_left(tmp_path):
    folds = [make_fold(subject, 9) for subject in ("01", "02")]
    folder = RunFolder(tmp_path)
    assert folder.left_behind(folds) is None  # a first run
    folder.take_share(1, folds)
    assert "mine/02 (process 1 on " in folder.left_behind(folds[1:])
    assert folder.left_behind([]) is None
    folder.forget_shares()
    assert folder.left_behind(folds) is None


def test_groups_are_about_as_long_and_as_many_for_each_process():
    folds = [make_fold(name, size) for name, size in zip("abcde", (5, 9, 7, 8, 6))]
    first, second = groups_of(folds, size=3, num_processes=2)
    assert [fold.subject for fold in first] == ["b", "c", "a"]  # 9, 7, 5
    assert [fold.subject for fold in second] == ["d", "e"]  # 8, 6
    assert len(groups_of(folds, size=5, num_processes=2)) == 2
    assert len(groups_of(folds, size=5, num_processes=9)) == 5
    assert len(groups_of(folds, size=1, num_processes=1)) == 5


def test_the_size_of_groups_is_settled_once(tmp_path):
    folder = RunFolder(tmp_path)
    folder.fix_group_size(lambda: 7, "auto")
    folder.fix_group_size(lambda: 3, "auto")  # less memory today: the snapshots are of seven
    assert folder.group_size() == 7
    folder.fix_group_size(lambda: 4, 4)  # the user says otherwise
    assert folder.group_size() == 4


@pytest.mark.parametrize("num_clips", [3, 4, 15, 16, 17, 18, 19, 32, 35])
def test_steps_are_counted_as_they_are_scheduled(num_clips):
    assert steps_per_epoch(num_clips, 16) == len(batch_schedule(num_clips, 1, 16, seed=0)[0])


def test_one_bar_counts_folds_times_steps():
    logged = []
    with Progress(100, "folds", show=False, log=lambda values, step: logged.append(step)) as bar:
        first, second = bar.stack(40), bar.stack(60)
        for step in range(4):
            first(step, 4, 1.0)
        for step in range(3):
            second(step, 3, 1.0)
    assert logged == [10, 20, 30, 40, 60, 80, 100]


def test_bytes_of_a_set_grow_with_its_prompts(make_model, groups):
    """A tree of more words keeps more activations; the head's share is the same."""
    several = memory.bytes_per_set(make_model())
    one_each = [{**group, "action_units": group["action_units"][:1]} for group in groups]
    assert memory.bytes_per_set(make_model(one_each)) < several
    context = make_model().prompts.context
    assert several > 4 * context.numel() * context.element_size()


def test_as_many_sets_as_fit(make_model, monkeypatch):
    model = make_model()
    one = memory.bytes_per_set(model)
    for free, processes, expected in (
        (20.2 * one, 1, 10),  # half of what is free
        (20.2 * one, 2, 5),
        (0.1 * one, 1, 1),
        (1e6 * one, 1, memory.MOST_SETS_ON_CPU),
    ):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        assert memory.sets_that_fit(model, processes) == expected


def test_a_container_has_what_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    whole = memory.free_bytes(torch.device("cpu"))
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    (tmp_path / "memory.stat").write_text("anon 1500000\ninactive_file 500000\n")
    assert memory.free_bytes(torch.device("cpu")) == 3_500_000 < whole
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(torch.device("cpu")) > 3_000_000


def test_peak_memory_is_in_words():
    assert memory.peak_memory().endswith("GB of RAM") or torch.cuda.is_available()


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, True),
        ({"ACCELERATE_USE_CPU": "True"}, False),  # one process was asked for
        ({"MASTER_ADDR": "127.0.0.1"}, False),
    ],
)
def test_accelerate_launch_on_cpu_is_told_what_to_type(monkeypatch, caplog, environment, says):
    for name in ("ACCELERATE_USE_CPU", "MASTER_ADDR", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["scripts/train_loso.py", "--recipe", "r.yaml"])
    with caplog.at_level(logging.WARNING):
        launch._say_if_alone(Accelerator(cpu=True))
    assert ("torchrun --nproc_per_node 2 scripts/train_loso.py" in caplog.text) == says


@pytest.mark.parametrize(
    ("report_to", "message"),
    [
        ("tensorflow", "one of tensorboard, trackio, wandb; got 'tensorflow'"),
        ("wandb", "pip install wandb"),
    ],
)
def test_a_tracker_that_is_not_there_is_refused(tmp_path, report_to, message, monkeypatch):
    monkeypatch.setattr("accelerate.utils.is_wandb_available", lambda: False)
    with pytest.raises(UserError, match=message):
        launch.open_accelerator(report_to, tmp_path)


def test_a_run_begun_before_faces_were_written_down_goes_on(tmp_path, make_tiny_recipe):
    folder, recipe = RunFolder(tmp_path / "run"), make_tiny_recipe()
    resolved, sources = {"dataset_fingerprint": "0"}, {"dataset": ("pairs",)}
    folder.claim(recipe, sources, resolved)
    before = (folder.root / "recipe.yaml").read_text()
    folder.claim(recipe, sources, {**resolved, "face": {"detector": "cascade"}})
    assert (folder.root / "recipe.yaml").read_text() == before
    with pytest.raises(UserError, match=r"other settings \(other dataset\)"):
        folder.claim(recipe, sources, {"dataset_fingerprint": "1", "face": {}})

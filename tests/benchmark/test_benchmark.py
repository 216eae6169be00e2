"""The benchmark measures what it says, on a bare machine too."""

import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from transformers import CLIPConfig

from hcp_mer.benchmark import ladder
from hcp_mer.benchmark.inference import WAYS, run_inference
from hcp_mer.benchmark.ladder import (
    FAST,
    STEPS,
    STOCK,
    LadderSettings,
    clip_prompts,
    padded_texts,
    random_model,
    run_ladder,
)
from hcp_mer.benchmark.prepare import run_prepare
from hcp_mer.benchmark.tables import inference_table, loso_table, prepare_table, show_table
from hcp_mer.benchmark.timing import Samples, alternate, machine, spread
from hcp_mer.data.tasks import TASKS
from hcp_mer.model.prompts_hcp_mer import tokenize_prompt_groups
from hcp_mer.training.fold_prompts import without_counts
from tests.clip_vocabulary import make_clip_tokenizer

ROOT = Path(__file__).parents[2]
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "projection_dim": 24}
SIZES = {
    "text_config": SMALL,
    "vision_config": {**SMALL, "image_size": 32, "patch_size": 16},
    "projection_dim": 24,
}
TINY = LadderSettings(folds=3, batch_size=4, steps=4)


@pytest.fixture
def tiny_config():
    return CLIPConfig(**SIZES)


@pytest.mark.parametrize("classes", [3, 4, 7])
def test_the_prompts_are_the_recipes_own_in_clips_own_tokens(classes):
    task = TASKS[f"{classes}-class"]
    words = yaml.safe_load((ROOT / f"hub_configs/prompts/facs-{classes}class.yaml").read_text())
    groups = without_counts([{"label": label, **words[label]} for label in task.classes])
    tokens = tokenize_prompt_groups(
        make_clip_tokenizer(), groups, "micro-expression", "a photo of", "codes"
    )
    expected = {"prompt_groups": groups, "prompt_token_ids": tokens}
    assert clip_prompts(classes) == expected, f"write it anew: {json.dumps({task.name: expected})}"


def test_first_sets_make_one_prompt_of_each_kind_per_class(tiny_config):
    model = random_model(tiny_config, ladder.first_sets(clip_prompts(3)))
    assert [(p.branch, p.class_index) for p in model.prompts.prompts] == [
        *(("holistic", i) for i in range(3)),
        *(("componential", i) for i in range(3)),
    ]


@pytest.fixture
def in_double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_every_side_has_the_same_losses_in_double_precision(tiny_config, in_double):
    model = random_model(tiny_config, clip_prompts(3)).double()
    sides = ladder._sides(model, TINY, [])
    assert list(sides) == list(STEPS[:5])
    losses = {name: [step() for _ in range(5)] for name, step in sides.items()}
    expected = losses.pop(STEPS[0])
    assert len(set(expected)) == 5  # it moves
    for name, found in losses.items():
        assert found == pytest.approx(expected, abs=1e-10), name


def test_the_fast_linear_is_a_step_where_it_gains(tiny_config, monkeypatch):
    monkeypatch.setattr(
        ladder, "measured_gains", lambda tower, rows: dict.fromkeys(linear_layers(tower), 2.0)
    )
    result = run_ladder(TINY, tiny_config)
    assert [step["name"] for step in result["steps"]] == list(STEPS)
    assert result["compared_steps"] == TINY.steps + 1
    # Batches of four amplify what single precision rounds, to 1e-5 in this tiny tower.
    assert result["max_loss_difference"] < 1e-4
    assert result["steps"][0]["max_loss_difference"] == 0.0


def linear_layers(tower):
    return [module for module in tower.modules() if type(module) is torch.nn.Linear]


def test_without_a_gain_the_fast_linear_is_no_step(tiny_config, monkeypatch):
    monkeypatch.setattr(
        ladder, "measured_gains", lambda tower, rows: dict.fromkeys(linear_layers(tower), 1.1)
    )
    result = run_ladder(TINY, tiny_config)
    assert [step["name"] for step in result["steps"]] == list(STEPS[:-1])
    assert result["fast_linear"]["used"] is False
    assert result["fast_linear"]["measured_gain"] == {"32x32": 1.1, "32x64": 1.1, "64x32": 1.1}


def test_a_step_that_is_not_exact_is_never_the_best(tiny_config, monkeypatch):
    def cheating(model, settings, fast_layers):
        losses = iter(range(100))
        slow = lambda: (time.sleep(0.002), float(next(losses)))[1]  # noqa: E731
        return {STEPS[0]: slow, STOCK: lambda: -1.0}

    monkeypatch.setattr(ladder, "_sides", cheating)
    result = run_ladder(TINY, tiny_config)
    assert result["best"] == STEPS[0]
    assert result["ratio_best"] == 1.0
    assert result["max_loss_difference"] == 5.0  # losses 0 to 4 against −1


def test_times_are_per_fold_and_ratios_of_medians():
    samples = {
        STEPS[0]: Samples([6.0, 2.0, 4.0], [7.0] * 3, [1.0] * 4),
        STEPS[1]: Samples([2.0] * 3, [2.0] * 3, [1.0] * 4),
        STOCK: Samples([3.0, 1.5, 1.5], [3.0] * 3, [1.5] * 4),
    }
    first, second, stock = ladder._steps(samples, TINY)
    assert first["cpu_s"] == {"min": 2.0, "median": 4.0, "max": 6.0}
    assert stock["cpu_s"] == {"min": 0.5, "median": 0.5, "max": 1.0}  # three folds at once
    assert (first["ratio"], second["ratio"], stock["ratio"]) == (1.0, 2.0, 8.0)
    assert (second["ratio_to_previous"], stock["ratio_to_previous"]) == (2.0, 4.0)
    assert stock["max_loss_difference"] == 0.5


def test_padded_prompts_are_what_clip_says_of_the_words(tiny_config):
    """Contexts at the embeddings of "a photo of" spell a sentence that CLIP can read itself."""
    model = random_model(tiny_config, clip_prompts(3))
    torch.nn.init.normal_(model.clip.text_model.embeddings.token_embedding.weight, std=0.5)
    model.prompts.reset_context(model.clip.text_model)
    words = model.config.prompt_token_ids["context"]
    slots = len(words)
    rows = []
    for prompt in model.prompts.prompts:
        own = [words[(-1 - token) % slots] if token < 0 else token for token in prompt.tokens]
        rows.append(own + [own[-1]] * (77 - len(own)))
    with torch.no_grad():
        expected = model.clip.get_text_features(input_ids=torch.tensor(rows)).pooler_output
        for length in (77, None):
            found = padded_texts(model, length)(model.prompts.context)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_sides_take_turns_and_the_first_round_is_not_timed():
    calls = []
    sides = {name: lambda name=name: calls.append(name) or len(calls) for name in "AB"}
    samples = alternate(sides, rounds=2)
    assert calls == list("ABABAB")
    assert samples["B"].values == [2, 4, 6]
    assert len(samples["A"].cpu_s) == len(samples["A"].wall_s) == 2


def test_no_round_begins_that_would_end_too_late():
    samples = alternate({"A": lambda: time.sleep(0.05)}, rounds=100, seconds=0.22)
    assert 1 <= len(samples["A"].wall_s) <= 3
    samples = alternate({"A": lambda: time.sleep(0.05)}, rounds=100, seconds=0.0)
    assert len(samples["A"].wall_s) == 1  # one is always timed


def test_processor_time_leaves_out_waiting():
    samples = alternate({"A": lambda: time.sleep(0.05)}, rounds=1)["A"]
    assert samples.cpu_s[0] < 0.02 < 0.05 <= samples.wall_s[0]


def test_spread_is_least_middle_and_largest():
    assert spread([8.0, 2.0, 4.0, 6.0], per=2) == {"min": 1.0, "median": 2.5, "max": 4.0}


def test_the_machine_is_named_in_general_terms():
    found = machine()
    assert found["threads"] == torch.get_num_threads()
    assert set(found) == {"cpu", "torch", "threads", "device"}


def test_inference_and_preparation_are_timed(tiny_config, capsys):
    inference = run_inference(rounds=2, clip_config=tiny_config)
    assert set(inference["ways"]) == {"two bare image forwards", *WAYS}
    assert inference["ways"]["two bare image forwards"]["ratio"] == 1.0
    assert all(way["cpu_s"]["min"] > 0 for way in inference["ways"].values())
    show_table(*inference_table(inference))
    assert WAYS[2] in capsys.readouterr().out


@pytest.mark.slow
def test_preparation_is_timed_in_one_process_and_in_two(capsys):
    found = run_prepare(num_clips=4, rounds=1, size=64)
    for way in ("one_process", "two_processes"):
        assert found[way]["clips_per_s"] == pytest.approx(1 / found[way]["wall_s"]["median"])
        assert found[way]["cpu_s"]["min"] > 0
    show_table(*prepare_table(found))
    assert "two processes" in capsys.readouterr().out


# tokenizers is not among them: transformers itself cannot load a CLIP without it.
BARE = f"""
import json, sys
for name in ("cv2", "datasets", "accelerate", "pandas", "rich", "PIL", "scipy", "sklearn", "peft",
             "pyarrow", "evaluate", "matplotlib"):
    sys.modules[name] = None
from transformers import CLIPConfig
from hcp_mer.benchmark.ladder import LadderSettings, run_ladder
from hcp_mer.benchmark.tables import loso_table, show_table
result = run_ladder(LadderSettings(folds=2, batch_size=4, steps=1), CLIPConfig(**{SIZES!r}))
show_table(*loso_table(result))
print(json.dumps(result["compared_steps"]))
"""


def test_loso_needs_torch_and_transformers_alone():
    done = subprocess.run(
        [sys.executable, "-c", BARE],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *table, compared = done.stdout.strip().splitlines()
    assert compared == "2"
    assert table[0].split()[:2] == ["per", "fold-step"]
    assert [line.startswith(name) for line, name in zip(table[1:], STEPS[:5])] == [True] * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loso", "--steps", "0"], "--steps must be at least 1; got 0"),
        (["loso", "--folds", "-1"], "--folds must be at least 1; got -1"),
        (["loso", "--json", "nowhere/out.json"], "nowhere/out.json does not exist"),
        (["loso", "--device", "abacus"], "--device abacus is not there"),
        (["flow", "--scenes", "0"], "--scenes must be at least 1; got 0"),
        (["flow", "--plot", "errors.pdf"], "name it errors.png, not errors.pdf"),
        (["magnify", "--plot", "nowhere/x.png"], "nowhere/x.png does not exist"),
        (["flow", "--weights", "x.pth"], "no weights of flow estimator flownet2 at x.pth"),
        (["prepare", "--classes", "3"], "unrecognized arguments: --classes 3"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "scripts" / "benchmark.py"), run_name="__main__")
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_table_shows_every_step(tiny_config):
    result = run_ladder(TINY, tiny_config)
    header, rows = loso_table(result)
    assert [row[0] for row in rows][:5] == list(STEPS[:5])
    assert {len(row) for row in rows} == {len(header)}
    assert FAST not in [row[0] for row in rows] or result["fast_linear"]["used"]

"""A checkpoint loads in a process that does not have hcp_mer, with the same answers."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.training.checkpoint import save_checkpoint

PREAMBLE = """
import sys
for name in {blocked}:
    sys.modules[name] = None  # importing it fails, as where it is not installed
import numpy as np, torch
torch.set_num_threads(1)
"""

EVERYTHING = """
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification
config = AutoConfig.from_pretrained({folder!r}, trust_remote_code=True)
assert config.id2label == {{0: "negative", 1: "positive", 2: "surprise"}}, config.id2label
processor = AutoImageProcessor.from_pretrained({folder!r}, trust_remote_code=True)
arrays = np.load({arrays!r})
pair = processor(magnified=arrays["magnified"], flow=arrays["flow"], return_tensors="pt")
frames = processor(onset=arrays["onset"], apex=arrays["apex"], return_tensors="pt")
logits = []
for auto in (AutoModel, AutoModelForImageClassification):
    model = auto.from_pretrained({folder!r}, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules")
    assert not any(p.requires_grad for p in model.clip.parameters())
    assert all(p.requires_grad for p in model.head.parameters())
    with torch.no_grad():
        logits.append([model(**inputs).logits.numpy() for inputs in (pair, frames)])
np.savez({answers!r}, logits=np.array(logits))
"""

MODEL_ALONE = """
from transformers import AutoModel
model = AutoModel.from_pretrained({folder!r}, trust_remote_code=True)
with torch.no_grad():
    print(model(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)).logits.shape)
"""

WEIGHTS = """
import json
from safetensors.torch import save_file
from transformers import AutoModel
for name, options in {loads!r}.items():
    model = AutoModel.from_pretrained({folder!r}, trust_remote_code=True, **options)
    save_file({{k: v.clone() for k, v in model.state_dict().items()}}, f"{answers}/{{name}}")
    flags = {{k: p.requires_grad for k, p in model.named_parameters()}}
    open(f"{answers}/{{name}}.json", "w").write(json.dumps(flags))
images = torch.ones(1, 3, 32, 32).bfloat16()
attentions = model(images, images, output_attentions=True).flow_attentions
assert [a.shape for a in attentions] == [(1, 4, 5, 5)] * 2, attentions
"""


@pytest.fixture
def checkpoint(make_model, tmp_path):
    model = make_model()
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    processor = HcpMerImageProcessor(image_size=32, motion_size=64)
    save_checkpoint(model.eval(), processor, tmp_path / "checkpoint")
    return model, processor, tmp_path / "checkpoint"


def run_elsewhere(code, tmp_path, blocked):
    """Run code in a fresh isolated interpreter, in another folder, with its own module cache."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    process = subprocess.run(
        [sys.executable, "-I", "-c", PREAMBLE.format(blocked=blocked) + code],
        cwd=elsewhere,
        env={"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_everything_loads_and_answers_the_same(checkpoint, tmp_path):
    model, processor, folder = checkpoint
    rng = np.random.default_rng(0)
    names = ("magnified", "flow", "onset", "apex")
    arrays = {name: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for name in names}
    np.savez(tmp_path / "arrays.npz", **arrays)
    code = EVERYTHING.format(
        folder=str(folder),
        arrays=str(tmp_path / "arrays.npz"),
        answers=str(tmp_path / "answers.npz"),
    )
    run_elsewhere(code, tmp_path, blocked=["hcp_mer"])
    pair = processor(magnified=arrays["magnified"], flow=arrays["flow"], return_tensors="pt")
    frames = processor(onset=arrays["onset"], apex=arrays["apex"], return_tensors="pt")
    with torch.no_grad():
        expected = np.array([model(**inputs).logits.numpy() for inputs in (pair, frames)])
    for answers in np.load(tmp_path / "answers.npz")["logits"]:
        assert np.abs(answers - expected).max() <= 1e-6


@pytest.mark.parametrize(
    "lora",
    [None, pytest.param({"r": 2}, marks=pytest.mark.slow)],
    ids=["frozen tower", "LoRA"],
)
def test_every_weight_and_flag_arrives(make_model, tmp_path, lora):
    model = make_model(vision_lora=lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    folder = tmp_path / "checkpoint"
    save_checkpoint(model, HcpMerImageProcessor(image_size=32), folder)
    loads = {
        "float32": {},
        "bfloat16": {"dtype": "bfloat16", "device_map": "auto", "attn_implementation": "eager"},
    }
    code = WEIGHTS.format(folder=str(folder), answers=str(tmp_path), loads=loads)
    run_elsewhere(code, tmp_path, blocked=["hcp_mer", "cv2"])
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    for name in loads:
        expected = model.to(getattr(torch, name)).state_dict()
        arrived = load_file(tmp_path / name)
        assert arrived.keys() == expected.keys()
        for key, value in expected.items():
            assert arrived[key].dtype == value.dtype, key
            assert torch.equal(arrived[key], value), key
        assert json.loads((tmp_path / f"{name}.json").read_text()) == flags


@pytest.mark.slow
def test_the_model_alone_needs_no_opencv(checkpoint, tmp_path):
    code = MODEL_ALONE.format(folder=str(checkpoint[2]))
    printed = run_elsewhere(code, tmp_path, blocked=["hcp_mer", "cv2", "datasets", "evaluate"])
    assert "torch.Size([1, 3])" in printed


def test_the_checkpoint_holds_safetensors_and_its_code_only(checkpoint):
    folder = checkpoint[2]
    suffixes = {path.suffix for path in folder.iterdir() if path.is_file()}
    assert suffixes == {".json", ".py", ".safetensors"}
    code = "".join(path.read_text() for path in folder.glob("*.py"))
    assert "from hcp_mer" not in code
    config = json.loads((folder / "config.json").read_text())
    assert set(config["auto_map"]) == {
        *("AutoConfig", "AutoModel", "AutoModelForImageClassification", "AutoImageProcessor"),
    }
    assert config["prompt_groups"][0]["action_units"] == [[4], [9, 10], [15, 17]]

"""A small finished run of somebody's own pairs, and code that loads it from a Hub."""

import yaml

from tests.conftest import GROUPS
from tests.foreign_pairs import write_foreign_pairs

SUBJECTS = ("006", "a b")
FOLD_OF = {"006": "fold-mine-006", "a b": "fold-mine-a-b-01eb19"}  # b2sum -l 24

LOAD = """
import json, torch
from transformers import AutoImageProcessor, AutoModel, pipeline

def load(revision):
    place = {{"revision": revision, "trust_remote_code": True}}
    model = AutoModel.from_pretrained("user/demo", **place)
    assert type(model).__module__.startswith("transformers_modules"), type(model).__module__
    return model, AutoImageProcessor.from_pretrained("user/demo", **place)

def logits(revision, magnified, flow):
    model, processor = load(revision)
    with torch.no_grad():
        return model(**processor(magnified=magnified, flow=flow, return_tensors="pt")).logits

answers = {{"main": logits({revision!r}, *{clips!r}).tolist()}}
answers["folds"] = [logits(*fold).softmax(-1).tolist() for fold in {folds!r}]
recognise = pipeline(model="user/demo", revision={revision!r}, trust_remote_code=True)
answers["pipeline"] = recognise(magnified={clips!r}[0][0], flow={clips!r}[1][0])
print(json.dumps(answers))
"""


def train_small_run(folder, backbone):
    """Write pairs ("mine", not synthetic, with an id that git does not take), a recipe and a run.

    Returns: paths of the pairs, the recipe and the run folder.
    """
    from hcp_mer.experiment import run_loso

    write_foreign_pairs(folder / "mine", SUBJECTS, clips_per_class=2, size=32)
    (folder / "prompts.yaml").write_text(yaml.safe_dump({g["label"]: g for g in GROUPS}))
    settings = {
        "task": "3-class",
        "prompts": str(folder / "prompts.yaml"),
        "backbone": str(backbone),
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 5e-3,
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    run_loso(folder / "tiny.yaml", folder / "mine", folder / "run", controls=False)
    return folder / "mine", folder / "tiny.yaml", folder / "run"


def clips_of(pairs, subject):
    """Paths of one subject's magnified frames and of its flow images."""
    views = [sorted((pairs / view).glob(f"{subject}_*.png")) for view in ("magnified", "flow")]
    return [[str(path) for path in paths] for paths in views]

"""The paper's recipe as a user starts it, on a CLIP of the true size from a Hub.

Real weights cannot be had here: the backbone has random ones, but its configuration, vocabulary,
logit scale and files are those of openai/clip-vit-base-patch32, at the revision that the recipe
pins.
"""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
from safetensors.torch import load_file

from tests.clip_at_true_size import write_random_clip
from tests.foreign_pairs import write_foreign_pairs

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "hub_configs" / "recipes" / "casme2-3class.yaml"
BACKBONE = "openai/clip-vit-base-patch32"
REVISION = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"  # as the recipe says

LOAD = """
import json, torch
from pathlib import Path
from transformers import AutoModel, AutoImageProcessor, pipeline

place = {{"trust_remote_code": True, **{place!r}}}
model = AutoModel.from_pretrained({model!r}, **place)
processor = AutoImageProcessor.from_pretrained({model!r}, **place)
clips = json.loads(Path({clips!r}).read_text())
with torch.no_grad():
    output = model(**processor(**clips, return_tensors="pt"))
answers = {{
    "probabilities": output.logits.softmax(-1).tolist(),
    "gate": output.gate_weights.tolist(),
    "frozen": not any(p.requires_grad for p in model.clip.parameters()),
    "scale": model.config.similarity_scale,
    "logit_scale": model.clip.logit_scale.exp().item(),
}}
pipe = pipeline(model={model!r}, **place)
answers["pipeline"] = pipe(magnified=clips["magnified"][0], flow=clips["flow"][0])
print(json.dumps(answers))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_papers_recipe_from_hub_to_hub(loopback, run_script, answer, tmp_path):
    backbone = write_random_clip(tmp_path / "clip-vit-base-patch32", pickled=True)  # as it is there
    loopback.add_repo("model", BACKBONE, backbone, REVISION)
    write_foreign_pairs(tmp_path / "pairs", subjects=("006", "007"), clips_per_class=2)
    run, home = tmp_path / "run", tmp_path / "home"
    run_script(
        "train_loso.py",
        "--no-controls",
        *("--recipe", RECIPE, "--dataset", tmp_path / "pairs", "--output_dir", run),
        *("--set", "epochs=2", "--push_to_hub", "--hub_model_id", "me-casme2"),
        home=home,
    )
    config = json.loads((run / "model" / "config.json").read_text())
    assert (config["backbone"], config["backbone_revision"]) == (BACKBONE, REVISION)
    # "a photo of", "micro-expression" and AU4 with CLIP's own vocabulary, read off its tokenizer.
    ids = config["prompt_token_ids"]
    assert (ids["start"], ids["end"], ids["context"]) == (49406, 49407, [320, 1125, 539])
    weights = run / "model" / "model.safetensors"
    assert weights.stat().st_size < 4e6
    assert not any(name.startswith("clip.") for name in load_file(weights))

    (clips,) = tmp_path.glob("pairs/metadata.csv")
    table = pandas.read_csv(clips, dtype=str).head(3)
    views = {
        view: [str(tmp_path / "pairs" / name) for name in table[f"{view}_file_name"]]
        for view in ("magnified", "flow")
    }
    (tmp_path / "clips.json").write_text(json.dumps(views))
    commit = loopback.repos["model", "user/me-casme2"].find("main")
    places = ((str(run / "model"), {}), ("user/me-casme2", {"revision": commit}))
    local, pushed = (
        answer(LOAD.format(model=model, place=place, clips=str(tmp_path / "clips.json")))
        for model, place in places
    )
    assert local["probabilities"] == pushed["probabilities"]
    assert local["frozen"]
    assert local["scale"] == pytest.approx(100, rel=1e-3)
    assert local["logit_scale"] == pytest.approx(100, rel=1e-3)
    assert np.isfinite(local["probabilities"]).all()
    assert np.asarray(local["gate"]).min() > 0.05  # not saturated, though logits are 100 cosines
    best = max(zip(local["probabilities"][0], range(3)))[1]
    assert pushed["pipeline"][0]["label"] == ["negative", "positive", "surprise"][best]
    fetched = [path for method, path in loopback.requests if method == "GET" and BACKBONE in path]
    assert any("pytorch_model.bin" in path for path in fetched)
    # Nobody looked for a converted copy, which would be another 605 MB.
    assert not any("discussions" in path or "refs" in path for path in fetched)
    assert all(REVISION in path for path in fetched if "/resolve/" in path)

"""What is saved is what is loaded, exactly; what cannot be loaded is said in one line."""

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from tests.conftest import make_tiny_clip


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(5, 3, 32, 32), torch.randn(5, 3, 32, 32)


@pytest.fixture
def stirred(make_model, images):
    """stirred(**options) → a model none of whose own tensors is what initialisation makes it."""

    def make(**options):
        model = make_model(**options)
        torch.manual_seed(2)
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
        model.focal_alpha.copy_(torch.tensor([0.5, 1.0, 2.0]))
        model.train()(*images)  # moves the running statistics
        return model.eval()

    return make


@pytest.fixture
def small_checkpoint(tiny_backbone, groups, tmp_path):
    """A checkpoint whose backbone lies elsewhere, as with a Hub id; and the model in it."""
    model = HcpMerModel.from_backbone(str(tiny_backbone), groups)
    model.config.save_backbone, model.config.backbone = False, str(tiny_backbone)
    model.save_pretrained(tmp_path / "small")
    return model, tmp_path / "small"


def assert_same(loaded, model):
    """Every parameter, buffer, dtype, requires_grad flag and training flag."""
    for kind in ("named_parameters", "named_buffers"):
        before, after = dict(getattr(model, kind)()), dict(getattr(loaded, kind)())
        assert before.keys() == after.keys()
        for name, value in before.items():
            assert after[name].dtype == value.dtype, name
            assert torch.equal(after[name], value), name
            assert after[name].requires_grad == value.requires_grad, name
    assert [m.training for m in loaded.modules()] == [m.training for m in model.modules()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"context_scope": "per_class", "adapter_depth": 2},
        {"use_holistic": False},
        {"use_adapter": False},
        {"adapter_batchnorm": False, "gate_reading": "convex"},
    ],
    ids=str,
)
def test_save_and_load_give_back_everything(stirred, images, tmp_path, options, dtype):
    model = stirred(**options).to(dtype)
    model.save_pretrained(tmp_path)
    loaded = HcpMerModel.from_pretrained(tmp_path)
    assert_same(loaded, model)
    assert loaded.config.id2label == {0: "negative", 1: "positive", 2: "surprise"}
    views = [view.to(dtype) for view in images]
    with torch.no_grad():
        assert torch.equal(model(*views).logits, loaded(*views).logits)


def test_a_second_save_changes_nothing(stirred, tmp_path):
    stirred().save_pretrained(tmp_path / "one")
    for one, two in (("one", "two"), ("two", "three")):
        HcpMerModel.from_pretrained(tmp_path / one).save_pretrained(tmp_path / two)
    # Loading fills in the dtype of CLIP's own config: the first config.json has it empty.
    for one, two, skipped in (("one", "two", {"config.json"}), ("two", "three", set())):
        files = {file.name for file in (tmp_path / one).iterdir()}
        assert {"config.json", "model.safetensors", "modeling_hcp_mer.py"} <= files
        for name in files - skipped:
            assert (tmp_path / one / name).read_bytes() == (tmp_path / two / name).read_bytes()


def test_a_checkpoint_can_be_saved_over_itself(stirred, tmp_path):
    model = stirred()
    model.save_pretrained(tmp_path)
    HcpMerModel.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert_same(HcpMerModel.from_pretrained(tmp_path), model)


def test_dtype_is_what_was_asked_for(stirred, tmp_path):
    model = stirred()
    model.save_pretrained(tmp_path)
    assert_same(HcpMerModel.from_pretrained(tmp_path, dtype="auto"), model)
    half = HcpMerModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert_same(half, copy.deepcopy(model).to(torch.bfloat16))


def test_device_map_and_loading_info(stirred, images, tmp_path):
    model = stirred()
    model.save_pretrained(tmp_path)
    placed, info = HcpMerModel.from_pretrained(
        tmp_path, device_map="auto", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.no_grad():
        logits = placed(*(view.to(placed.device) for view in images)).logits.cpu()
        assert torch.allclose(logits, model(*images).logits, atol=1e-5)


def test_attentions_of_both_views(stirred, images, tmp_path):
    model = stirred()
    model.save_pretrained(tmp_path)
    eager = HcpMerModel.from_pretrained(tmp_path, attn_implementation="eager")
    with torch.no_grad():
        output = eager(*images, output_attentions=True, output_hidden_states=True)
        assert torch.allclose(output.logits, model(*images).logits, atol=1e-5)
    for view in ("image", "flow"):
        attentions, states = output[f"{view}_attentions"], output[f"{view}_hidden_states"]
        assert [a.shape for a in attentions] == [(5, 4, 5, 5)] * 2  # 4 heads, 1 + 4 patches
        assert all(torch.allclose(a.sum(-1), torch.ones(5, 4, 5)) for a in attentions)
        assert [s.shape for s in states] == [(5, 5, 32)] * 3
    assert not torch.equal(output.image_attentions[0], output.flow_attentions[0])
    with torch.no_grad():
        silent = eager(*images)
    assert silent.image_attentions is None
    assert silent.flow_hidden_states is None


def test_a_hub_backbone_stays_out_of_the_checkpoint(small_checkpoint, images):
    model, folder = small_checkpoint
    stored = load_file(folder / "model.safetensors")
    assert not any(name.startswith("clip.") for name in stored)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(value.numel() for value in stored.values()) < 1.2 * trained
    loaded = HcpMerModel.from_pretrained(folder)
    assert_same(loaded, model)
    with torch.no_grad():
        assert torch.equal(loaded(*images).logits, model(*images).logits)


def test_a_folders_backbone_travels_with_the_checkpoint(tiny_backbone, groups, images, tmp_path):
    shutil.copytree(tiny_backbone, tmp_path / "clip")
    model = HcpMerModel.from_backbone(tmp_path / "clip", groups)
    model.save_pretrained(tmp_path / "checkpoint")
    shutil.rmtree(tmp_path / "clip")
    assert_same(HcpMerModel.from_pretrained(tmp_path / "checkpoint"), model)


def test_no_folder_of_this_machine_is_stored(tiny_backbone, groups, tmp_path):
    HcpMerModel.from_backbone(tiny_backbone, groups).save_pretrained(tmp_path / "checkpoint")
    for file in (tmp_path / "checkpoint").glob("*.json"):
        assert str(tiny_backbone.parent) not in file.read_text()


def test_a_backbone_that_fp16_does_not_hold_is_stored_as_it_is(make_model, tmp_path):
    model = make_model()
    with torch.no_grad():
        model.clip.visual_projection.weight.add_(1e-6)
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["clip.visual_projection.weight"].dtype == torch.float32
    assert_same(HcpMerModel.from_pretrained(tmp_path), model)


def test_a_missing_backbone_is_an_error_and_never_random_weights(small_checkpoint, tmp_path):
    _, folder = small_checkpoint
    change_config(folder, backbone=str(tmp_path / "gone"))
    with pytest.raises(OSError, match="gone"):
        HcpMerModel.from_pretrained(folder)


def test_a_backbone_of_other_sizes_is_refused(small_checkpoint, tmp_path):
    _, folder = small_checkpoint
    make_tiny_clip(hidden_size=64).save_pretrained(tmp_path / "wider")
    change_config(folder, backbone=str(tmp_path / "wider"))
    with pytest.raises(ValueError, match=r"wider has other sizes .*hidden_size 64, was 32"):
        HcpMerModel.from_pretrained(folder)


def change_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.fixture
def checkpoint(make_model, tmp_path):
    make_model().save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_weights_that_were_cut_short_are_refused(checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(OSError, match=r"model\.safetensors of .* is damaged .* fetch it again"):
        HcpMerModel.from_pretrained(checkpoint)


def test_pickled_weights_are_never_opened(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    torch.save({"focal_alpha": torch.ones(3)}, checkpoint / "model.safetensors")
    with pytest.raises(OSError, match="Pickled weights are not read"):
        HcpMerModel.from_pretrained(checkpoint)
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        HcpMerModel.from_pretrained(checkpoint)


@pytest.mark.parametrize("name", ["head.gate.weight", "prompts.context", "focal_alpha"])
def test_a_weight_that_is_not_there_is_named(make_model, tmp_path, name):
    model = make_model()
    name = name if name in model.state_dict() else next(iter(model.head.state_dict(prefix="head.")))
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state[name]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OSError, match=rf"lacks 1 weights .*\({name}"):
        HcpMerModel.from_pretrained(tmp_path)


def test_a_config_of_another_model_is_refused_unless_asked_for(checkpoint):
    change_config(checkpoint, adapter_reduction=8)
    with pytest.raises(OSError, match="in other sizes"):
        HcpMerModel.from_pretrained(checkpoint)
    anew = HcpMerModel.from_pretrained(checkpoint, ignore_mismatched_sizes=True)
    assert all(parameter.isfinite().all() for parameter in anew.parameters())


def test_a_newer_format_is_refused(checkpoint):
    change_config(checkpoint, checkpoint_format=99)
    with pytest.raises(ValueError, match="format 99, this code reads up to 1: install a newer"):
        HcpMerModel.from_pretrained(checkpoint)


def test_a_field_that_the_code_does_not_know_is_named(checkpoint, caplog):
    import logging

    change_config(checkpoint, adapter_spread=3)
    transformers_log = logging.getLogger("transformers")
    transformers_log.addHandler(caplog.handler)
    try:
        HcpMerModel.from_pretrained(checkpoint)
    finally:
        transformers_log.removeHandler(caplog.handler)
    assert "adapter_spread" in caplog.text


def test_a_misspelt_option_is_corrected(make_model):
    with pytest.raises(ValueError, match=r"'use_adaptor'.*Did you mean 'use_adapter'"):
        make_model(use_adaptor=False)


def test_a_checkpoint_says_where_each_class_is(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    for place in config["auto_map"].values():
        module, name = place.split(".")
        assert f"class {name}" in (checkpoint / f"{module}.py").read_text()

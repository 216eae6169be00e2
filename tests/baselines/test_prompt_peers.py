"""Peers with text: what they learn, from which view, and against a plain loop of torch's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hcp_mer.baselines.clip_adapter import ClipAdapter
from hcp_mer.baselines.coop import CoOp
from hcp_mer.baselines.mer_clip import OPTIONS, MerClip, OneCombination
from hcp_mer.baselines.prompt_learning import text_encoder
from hcp_mer.baselines.protocol import run_peer
from hcp_mer.errors import UserError
from hcp_mer.model.losses_hcp_mer import total_loss
from hcp_mer.training.folds import batch_schedule
from hcp_mer.training.variants import with_options
from tests.annotated_pairs import write_annotated_pairs

SHORT = {
    "coop": lambda: CoOp(3),
    "clip_adapter": lambda: ClipAdapter(epochs=3),
    "mer_clip": MerClip,
}


def test_coop_has_sixteen_vectors_then_the_class(open_tiny):
    run, peer = open_tiny(), CoOp()
    start = peer.initial(run, torch.Generator().manual_seed(0))
    assert start["context"].shape == (16, 32)
    assert 0.018 < start["context"].std() < 0.022
    encoder = text_encoder(run, 16, "", "micro-expression.")
    tree = encoder.tree
    # Start, the vectors and the class's own words: the first seventeen are shared by all classes.
    assert tree.tokens[1:17] == tuple(range(-1, -17, -1))
    assert min(tree.positions[leaf] for leaf in tree.leaves) > 17
    assert len(tree.leaves) == 3


def test_clip_adapter_mixes_its_bottleneck_with_the_frozen_feature():
    peer = ClipAdapter()
    down = torch.tensor([[[1.0], [-1.0]]])  # reads f₁ − f₂
    up = torch.tensor([[[2.0, -3.0]]])
    features = torch.tensor([[[3.0, 1.0], [1.0, 3.0]]])
    mixed = peer.embed_images({"down": down, "up": up, "ratio": torch.tensor([[[0.2]]])}, features)
    # ReLU(2) = 2 → ReLU(4, −6) = (4, 0); of the other clip ReLU(−2) = 0.
    expected = torch.tensor([[[0.2 * 4 + 0.8 * 3, 0.8 * 1], [0.8 * 1, 0.8 * 3]]])
    torch.testing.assert_close(mixed, expected)


def plain_loop(run, rows, seed, epochs):
    """CoOp for one fold with torch's own optimiser; returns its context."""
    width = run.model.config.clip_config.text_config.hidden_size
    draw = torch.randn(16, width, generator=torch.Generator().manual_seed(seed))
    context = nn.Parameter(0.02 * draw)
    encoder = text_encoder(run, 16, "", "micro-expression.")
    optimiser = torch.optim.SGD([context], lr=0.002, momentum=0.9, weight_decay=5e-4)
    batches, valid = batch_schedule(len(rows), epochs, 32, seed)
    for epoch, (batch, counts) in enumerate(zip(batches, valid)):  # one batch an epoch
        rate = 1e-5 if epoch == 0 else 0.001 * (1 + np.cos(np.pi * (epoch - 1) / epochs))
        optimiser.param_groups[0]["lr"] = rate
        clips = rows[batch[counts]]
        images = F.normalize(run.features["holistic"][clips], dim=-1)
        texts = F.normalize(encoder.encode(run.model.clip, context[None])[0], dim=-1)
        loss = F.cross_entropy(
            run.model.config.similarity_scale * images @ texts.T, run.labels[clips]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return context.detach()


def test_coop_equals_a_plain_loop_and_folds_do_not_feel_each_other(open_tiny):
    run, peer = open_tiny(), CoOp(epochs=6)
    sets = [(run.folds[0].train, 5), (run.folds[1].train[:7], 6)]  # of two lengths
    together = peer.train(run, sets)["context"]
    for (rows, seed), context in zip(sets, together, strict=True):
        torch.testing.assert_close(context, plain_loop(run, rows, seed, 6), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(
            context, peer.train(run, [(rows, seed)])["context"][0], atol=1e-6, rtol=1e-5
        )


@pytest.mark.parametrize("name", SHORT)
def test_folds_together_answer_as_each_alone(open_tiny, name):
    run = open_tiny()
    together = SHORT[name]().fit_predict_folds(run, run.folds, 0)
    for fold in run.folds:
        peer = SHORT[name]()
        peer.fit(run, fold.train, fold.seed(0, peer.name))
        assert peer.predict(run, fold.test).tolist() == together[fold.name].tolist()


@pytest.mark.parametrize("name", SHORT)
def test_nothing_of_the_held_out_clips_reaches_what_is_learnt(open_tiny, name):
    run, other = open_tiny("one"), open_tiny("other")
    fold = run.folds[0]
    other.labels[fold.test] = (other.labels[fold.test] + 1) % 3
    features = {branch: values.clone() for branch, values in other.features.items()}
    for values in features.values():
        values[fold.test] += torch.ones(24)
    other = replace(other, features=features, inputs=features)
    states = []
    for own in (run, other):
        peer = SHORT[name]()
        peer.fit(own, fold.train, seed=3)
        states.append(peer._state if name == "mer_clip" else peer._weights)
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, atol=0, rtol=0)


def test_weights_are_counted(open_tiny):
    run, counts = open_tiny(), {}
    for name, make in SHORT.items():
        peer = make()
        peer.fit(run, run.folds[0].train, seed=0)
        counts[name] = peer.num_parameters
    assert counts["coop"] == 16 * 32
    assert counts["clip_adapter"] == 2 * 24 * 6
    # Adapter 24 → 6 → 24: two matrices, one bias, scale and shift of BatchNorm; three contexts.
    assert counts["mer_clip"] == 2 * 24 * 6 + 24 + 2 * 6 + 3 * 32


def test_the_ratio_of_clip_adapter_is_chosen_where_it_helps(open_tiny, monkeypatch):
    """With α = 0 it is zero-shot, with α = 1 it forgets the frozen feature."""
    run = open_tiny()
    seen = []

    def answers(self, run, weights, rows):
        ratio = float(weights["ratio"])
        seen.append((ratio, set(run.subjects[rows])))
        return run.labels[rows].numpy() if ratio == 1 else np.zeros(len(rows), int)

    monkeypatch.setattr(ClipAdapter, "answers", answers)
    peer = ClipAdapter((0.0, 1.0), epochs=1)
    fold = run.folds[0]
    assert peer.train(run, [(fold.train, 0)])["ratio"].item() == 1.0
    asked = set().union(*(subjects for _, subjects in seen))
    assert asked == set(run.subjects[fold.train])
    assert fold.name not in asked


def test_mer_clip_has_the_commonest_combination_of_the_training_clips(open_tiny, tmp_path):
    run = open_tiny(pairs=write_annotated_pairs(tmp_path / "pairs"))
    prompts = OneCombination(run.prompts.written, run.prompts.action_units, run.prompts.labels)
    sets = {
        fold.subject: [group["action_units"] for group in prompts.groups(fold.train)]
        for fold in run.folds
    }
    # By hand: without "006" there are 4 (twice), 4+7, 9; 12 (three times), 6+12; 1+2 (twice), 26.
    assert sets["006"] == [[[4]], [[12]], [[1, 2]]]
    # Without "a b": 4 and 4+7 twice each, the shorter first; 12 and 6+12 alike; 1+2 three times.
    assert sets["a b"] == [[[4]], [[12]], [[1, 2]]]


def test_mer_clip_takes_the_recipes_first_set_where_nothing_is_annotated(open_tiny):
    run = open_tiny()
    prompts = OneCombination(run.prompts.written, run.prompts.action_units, run.prompts.labels)
    sets = [group["action_units"] for group in prompts.groups(run.folds[0].train)]
    assert sets == [[[4]], [[6, 12]], [[1, 2]]]


def test_mer_clip_is_one_branch_under_cross_entropy(open_tiny):
    model = with_options(open_tiny(), **OPTIONS).model
    assert model.config.branches == ("componential",)
    head = model.new_head(0).eval()
    output = head({"componential": torch.randn(5, 24)}, model.encode_prompts())
    labels = torch.tensor([0, 1, 2, 2, 1])
    loss = total_loss(output, labels, torch.tensor([9.0, 1.0, 1.0]), model.config)
    torch.testing.assert_close(loss, F.cross_entropy(output.logits, labels))


@pytest.mark.parametrize("name", SHORT)
def test_equal_clips_and_a_class_that_is_absent_are_answered(open_tiny, name):
    run = open_tiny()
    same = {branch: values[:1].expand(len(values), -1) for branch, values in run.features.items()}
    run = replace(run, features=same, inputs=same)
    rows = np.flatnonzero(run.labels.numpy() != 1)
    peer = SHORT[name]()
    peer.fit(run, rows[:-2], seed=0)
    assert len(set(peer.predict(run, rows[-2:]).tolist())) == 1
    one_class = np.flatnonzero(run.labels.numpy() == 2)
    peer.fit(run, one_class[:-1], seed=0)
    assert peer.predict(run, one_class[-1:]).tolist()[0] in (0, 1, 2)


@pytest.mark.parametrize(("name", "branch"), [("coop", "holistic"), ("mer_clip", "componential")])
def test_a_view_that_the_recipe_leaves_out_is_said(open_tiny, name, branch):
    run = open_tiny(model={f"use_{branch}": False})
    with pytest.raises(UserError, match=f"{name} reads the .* leaves out .*use_{branch}: false"):
        run_peer(SHORT[name](), run)


@pytest.mark.parametrize("name", ["coop", "clip_adapter"])
def test_what_reads_the_apex_is_not_shown_the_flow_in_its_place(open_tiny, name):
    run = open_tiny(model={"holistic_input": "flow"})
    with pytest.raises(UserError, match=f"{name} reads the magnified apex, but .* sees the flow"):
        run_peer(SHORT[name](), run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("view", "peers"), [("magnified", ("coop", "clip_adapter")), ("flow", ("mer_clip",))]
)
def test_a_peer_learns_from_its_own_view_and_from_no_other(open_embedded, view, peers):
    """60 clips of three classes in one view, noise in the other: 20 right is chance."""
    run = open_embedded(view)
    for make in (CoOp, ClipAdapter, MerClip):
        table = run_peer(make(), run)
        right = (table["prediction"] == table["label"]).sum()
        if make.name in peers:
            assert right >= 48, make.name
        else:
            assert right <= 32, make.name

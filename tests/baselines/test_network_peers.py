"""Networks of the field: their sizes as published, and that all of them learn by the same rules."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hcp_mer.baselines import networks
from hcp_mer.baselines.alexnet import AlexNet
from hcp_mer.baselines.capsulenet import CapsuleNet
from hcp_mer.baselines.htnet import HierarchicalTransformer, HtNet
from hcp_mer.baselines.networks import Lesson, NetworkStack, Training, balanced_schedule
from hcp_mer.baselines.off_apexnet import OffApexNet
from hcp_mer.baselines.rcn import Rcn
from hcp_mer.baselines.ststnet import StstNet
from hcp_mer.baselines.views import flow_levels, mirrored_flow
from hcp_mer.errors import UserError
from hcp_mer.model.flow_image_hcp_mer import flip_flow_image
from tests.foreign_pairs import write_foreign_pairs
from tests.stand_in_run import accuracy, stand_in_run, with_images, with_labels


class SmallHtNet(HtNet):
    def network(self, num_classes):
        return HierarchicalTransformer(num_classes, (16, 32, 64), (2, 4, 4), (1, 1, 2))


class SmallRcn(Rcn):
    side_px = 20


def exact(peer):
    """The peer in double precision: what is equal then is equal, and not only nearly."""
    read, network = peer.read, peer.network
    peer.read = lambda run: read(run).astype(np.float64)
    peer.network = lambda num_classes: network(num_classes).double()
    return peer


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers") / "pairs"
    write_foreign_pairs(folder, subjects=("006", "007", "011", "012"), clips_per_class=4)
    return stand_in_run(folder)


def quick(peer, **training):
    """A peer with other training settings."""
    peer.training = replace(peer.training, **training)
    return peer


def num_weights(peer, num_classes=3):
    with torch.device("meta"):
        return sum(weight.numel() for weight in peer.network(num_classes).parameters())


# Layer by layer, by hand: in · out · kernel + bias; a norm has two weights per map.
_CAPSULES = 2 * (256 * 256 * 81 + 256) + 3 * (32 * 6 * 6) * 16 * 8


def _transformer(width, inner):
    attention = width * 3 * inner + inner * width + width
    return attention + 2 * (4 * width**2) + 5 * width + 2 * 2 * width


_HTNET = (
    (3 * 49 * 256 + 256)
    + (2 * _transformer(256, 3 * 85) + 1)
    + (256 * 512 * 9 + 512 + 2 * 512)
    + (2 * _transformer(512, 6 * 85) + 1)
    + (512 * 1024 * 9 + 1024 + 2 * 1024)
    + (8 * _transformer(1024, 12 * 85) + 1)
    + (2 * 1024 + 3 * 1024 + 3)
)


@pytest.mark.parametrize(
    ("peer", "published"),
    [
        # What the authors' main.py builds: three convolutions, three norms, one dense layer.
        (StstNet, 3 * 28 + 5 * 28 + 8 * 28 + 2 * 16 + 3 * 401),
        # Off-TANet's README counts 2.66 M for it.
        (OffApexNet, 2 * (26 * 6 + 151 * 16) + 1569 * 1024 + 1025 * 1024 + 3 * 1025),
        # MeNets.py, RCN_A(3, 32, 3, pool_size=5).
        (Rcn, 76 * 32 + 64 + 33 * 32 + 64 + 289 * 32 + 64 + 3 * 801),
        # Model.py, HTNet(28, 7, dim=256, heads=3, num_hierarchies=3, block_repeats=(2, 2, 8)).
        (HtNet, _HTNET),
        # torchvision's documentation: 61,100,840 at 1000 classes.
        (AlexNet, 61_100_840 - 1000 * 4097 + 3 * 4097),
        # torchvision's documentation: a ResNet-18 has 11,689,512; without stage 4 and classifier.
        (CapsuleNet, 11_689_512 - 8_393_728 - 1000 * 513 + _CAPSULES),
    ],
)
def test_a_network_has_as_many_weights_as_published(peer, published):
    assert num_weights(peer()) == published


def test_the_numbers_in_the_docstrings_are_those_counted():
    for peer in (StstNet, OffApexNet, Rcn, HtNet, AlexNet, CapsuleNet):
        assert f"{num_weights(peer()):,} weights" in peer.__doc__.replace("\n    ", " ")
    assert num_weights(StstNet()) == 1683
    assert num_weights(StstNet(), 7) == 1683 + 4 * 401


@pytest.mark.parametrize(
    ("peer", "training"),
    [
        (StstNet(epochs=12), {"batch_size": 24, "learning_rate": 0.01}),
        (OffApexNet(epochs=5), {"batch_size": 24, "learning_rate": 1e-3}),
        (SmallRcn(epochs=10), {"batch_size": 16, "learning_rate": 0.02}),
        (SmallHtNet(epochs=12), {"batch_size": 24, "learning_rate": 1e-3}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_network_learns_what_the_flow_shows_and_nothing_from_shuffled_labels(run, peer, training):
    peer = quick(peer, **training)
    assert accuracy(peer, run, folds=1) > 0.8  # chance: 0.33
    shuffled = np.random.default_rng(1).permutation(len(run.labels))
    assert accuracy(peer, with_labels(run, run.labels[shuffled]), folds=1) < 0.75


SMALL = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-2}


@pytest.mark.parametrize("peer", [StstNet, SmallRcn])
def test_folds_side_by_side_equal_each_alone(run, peer):
    peer = exact(quick(peer(), **{**SMALL, "epochs": 2}))
    folds = [replace(fold, train=fold.train[cut:]) for cut, fold in enumerate(run.folds[:2])]
    side_by_side = peer.fit_predict_folds(run, folds, seed=4)
    assert list(side_by_side) == [fold.name for fold in folds]
    lessons = [peer._lesson(run, fold.train, fold.seed(4, peer.name)) for fold in folds]
    stacked = NetworkStack(peer, lessons, 3, torch.device("cpu"))
    for _ in range(stacked.num_steps):
        stacked.step()
    for fold, network in zip(folds, stacked.finished(), strict=True):
        peer.fit(run, fold.train, fold.seed(4, peer.name))
        for name, alone in peer._network.state_dict().items():
            torch.testing.assert_close(network.state_dict()[name], alone, rtol=1e-7, atol=1e-9)
        assert side_by_side[fold.name].tolist() == peer.predict(run, fold.test).tolist()


def test_only_small_networks_on_a_gpu_are_trained_side_by_side(run):
    on_gpu = SimpleNamespace(model=SimpleNamespace(device=torch.device("cuda")))
    assert StstNet().folds_at_once(run) == HtNet().folds_at_once(run) == 1
    assert StstNet().folds_at_once(on_gpu) == Rcn().folds_at_once(on_gpu) == 16
    assert HtNet().folds_at_once(on_gpu) == 1


def test_folds_of_other_lengths_are_answered_too(run):
    peer = quick(StstNet(), **SMALL)
    first, second = run.folds[:2]
    second = replace(second, train=second.train[12:])  # fewer steps: no stack with the first
    answers = peer.fit_predict_folds(run, [first, second], seed=0)
    for fold in (first, second):
        peer.fit(run, fold.train, fold.seed(0, peer.name))
        assert answers[fold.name].tolist() == peer.predict(run, fold.test).tolist()


def test_a_fold_trains_as_a_plain_loop_does(run):
    """The same clips, masks and rates without torch.func, and the optimiser that is not fused."""
    peer = exact(quick(StstNet(), **SMALL, decay=0.5, decay_epochs=2))
    rows, seed = run.folds[0].train, 11
    inputs, labels = torch.from_numpy(flow_levels(run, 28)).double()[rows], run.labels[rows]
    mirrored = torch.from_numpy(mirrored_flow(inputs.numpy()))
    torch.manual_seed(seed)
    plain = peer.network(3).train()
    (dropout,) = (m for m in plain.modules() if isinstance(m, networks.Dropout))
    steps_per_epoch = math.ceil(36 / 8)
    draws, ways = balanced_schedule(labels.numpy(), 3 * steps_per_epoch, 8, seed)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(plain.parameters(), lr=1e-2)
    for step, (clips, mirror) in enumerate(zip(draws, ways, strict=True)):
        optimiser.param_groups[0]["lr"] = 1e-2 if step < 2 * steps_per_epoch else 5e-3
        dropout.kept = (torch.rand(8, 16, 10, 10, generator=generator) >= 0.5).float() * 2
        batch = torch.stack([(mirrored if m else inputs)[c] for c, m in zip(clips, mirror)])
        loss = F.cross_entropy(plain(batch), labels[clips])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    peer.fit(run, rows, seed)
    for name, expected in plain.state_dict().items():
        own = peer._network.state_dict()[name]
        torch.testing.assert_close(own, expected, rtol=1e-7, atol=1e-9)


def test_the_held_out_subject_never_trains(run):
    """With other images and labels of the held-out subject the network is the same."""
    fold, peer = run.folds[1], quick(StstNet(), **SMALL)
    peer.fit(run, fold.train, seed=5)
    expected = {name: value.clone() for name, value in peer._network.state_dict().items()}
    held_out = {run.labelled.rows[index] for index in fold.test}
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    images = {row: run.pairs.image(row, "flow") for row in run.labelled.rows}
    labels = run.labels.clone()
    labels[fold.test] = (labels[fold.test] + 1) % 3
    other = with_labels(
        with_images(run, lambda row, view: noise if row in held_out else images[row]), labels
    )
    peer.fit(other, fold.train, seed=5)
    for name, value in peer._network.state_dict().items():
        assert torch.equal(value, expected[name])
    peer.fit(run, np.append(fold.train[:-1], fold.test[0]), seed=5)  # it would show
    assert not all(torch.equal(v, expected[n]) for n, v in peer._network.state_dict().items())


def test_a_seed_says_all_and_another_seed_another_network(run):
    peer, rows = quick(SmallRcn(), **SMALL), run.folds[0].train
    weights = []
    for seed in (1, 1, 2):
        torch.rand(3)  # nobody else's draws matter
        peer.fit(run, rows, seed)
        weights.append(peer._network.state_dict()["classifier.weight"].clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.allclose(weights[0], weights[2], atol=1e-3)


def test_classes_take_turns_and_all_clips_of_a_class_come_before_one_comes_again():
    labels = np.array([0] * 7 + [2] * 3 + [1] * 2)
    rows, mirrored = balanced_schedule(labels, num_steps=20, batch_size=6, seed=3)
    assert np.bincount(labels[rows.ravel()]).tolist() == [40, 40, 40]
    assert all(np.bincount(labels[batch]).tolist() == [2, 2, 2] for batch in rows)
    counts = np.bincount(rows.ravel(), minlength=12)
    assert counts[:7].max() - counts[:7].min() <= 1
    assert set(counts[7:10]) <= {13, 14}
    assert counts[10:].tolist() == [20, 20]
    assert 0.3 < mirrored.mean() < 0.7
    again = balanced_schedule(labels, num_steps=20, batch_size=6, seed=3)
    assert np.array_equal(again[0], rows)
    assert np.array_equal(again[1], mirrored)


def test_an_epoch_is_as_many_batches_as_hold_all_clips_and_the_rate_falls_in_steps():
    training = Training(epochs=4, batch_size=64, learning_rate=0.8, decay=0.5, decay_epochs=2)
    assert [training.steps_per_epoch(n) for n in (64, 65, 3)] == [1, 2, 1]
    assert [training.rate(epoch) for epoch in range(4)] == [0.8, 0.8, 0.4, 0.4]
    stack = NetworkStack(
        quick(StstNet(), epochs=4, batch_size=2),
        [Lesson(0, torch.zeros(3, 3, 28, 28), torch.tensor([0, 1, 2]))],
        3,
        torch.device("cpu"),
    )
    assert stack.num_steps == 4 * 2


def test_dropout_is_silent_when_it_predicts_and_keeps_the_mean():
    layer = networks.Dropout((1000,), share=0.2)
    mask = layer.draw(2, torch.Generator().manual_seed(0))
    assert set(mask.unique().tolist()) == {0.0, 1.25}
    assert abs(mask.mean().item() - 1) < 0.05
    layer.kept = mask
    ones = torch.ones(2, 1000)
    assert torch.equal(layer(ones), mask)
    assert torch.equal(layer.eval()(ones), ones)


def test_flow_is_read_centred_and_mirrored_as_flow_images_are(run):
    rng = np.random.default_rng(0)
    image = rng.integers(1, 256, (28, 28, 3), np.uint8)
    own, mirrored = (
        flow_levels(with_images(run, lambda row, view, i=i: i), 28)[0]
        for i in (image, flip_flow_image(image))
    )
    assert np.array_equal(own[0], image[..., 0].astype(float) - 128)
    assert np.array_equal(own[2], image[..., 2].astype(float))
    assert np.array_equal(mirrored_flow(own), mirrored)


def test_the_apex_is_seen_where_it_is_asked_for(run):
    """Red to the left in the magnified apex, no motion at all in the flow."""
    apex = np.zeros((32, 32, 3), np.uint8)
    apex[:, :16, 0] = 255
    views = {"magnified": apex, "flow": np.full((32, 32, 3), (128, 128, 0), np.uint8)}
    other = with_images(run, lambda row, view: views[view])
    other.labelled = SimpleNamespace(rows=[0])
    expected = {CapsuleNet(): (0, 1), AlexNet(view="magnified"): (-1, 1), AlexNet(): (0, 0)}
    for peer, (dark, bright) in expected.items():
        seen = peer._inputs(other)
        assert seen.shape == (1, 3, 224, 224)
        assert seen[0, 0, 100, 50] == bright
        assert seen[0, 0, 100, 200] == seen[0, 1, 100, 50] == dark
        assert peer.mirrored(seen)[0, 0, 100, 200] == bright


def test_one_class_alone_is_learnt_and_a_still_face_is_answered(run):
    peer = quick(SmallRcn(), **SMALL)
    still = with_images(run, lambda row, view: np.full((32, 32, 3), (128, 128, 0), np.uint8))
    peer.fit(still, run.folds[0].train, seed=0)
    assert set(peer.predict(still, run.folds[0].test)) <= {0, 1, 2}
    rows = np.flatnonzero(run.labels.numpy() == 1)
    peer = quick(StstNet(), epochs=10, batch_size=8, learning_rate=1e-2)
    peer.fit(run, rows, seed=0)
    assert set(peer.predict(run, rows)) == {1}


def test_flow_images_in_another_encoding_are_refused_in_one_line(run):
    for encoding in ("hsv", "uv_magnitude"):
        pairs = type("Pairs", (), {"settings": {"motion": {"flow_encoding": encoding}}})
        other = type("Run", (), {"pairs": pairs, "labelled": run.labelled})
        with pytest.raises(
            UserError, match=f"ststnet cannot .*{encoding}.*--flow_encoding uv_strain"
        ):
            StstNet().fit(other, np.arange(3), seed=0)
        assert CapsuleNet().why_not(other) is None
        assert AlexNet(view="magnified").why_not(other) is None


def test_a_loss_that_is_not_finite_names_network_and_step(run):
    peer = quick(OffApexNet(), epochs=3, batch_size=8, learning_rate=1e30)
    with pytest.raises(UserError, match=r"loss of off_apexnet is not finite at step \d"):
        peer.fit(run, run.folds[0].train, seed=0)


def end_to_end(peer, run, num_clips, batch_size):
    """One epoch on a few clips of each class, and the answers for a subject that was held out."""
    fold = run.folds[0]
    peer = quick(peer, epochs=1, batch_size=batch_size)
    rows = np.concatenate([fold.train[run.labels[fold.train] == c][:num_clips] for c in range(3)])
    peer.fit(run, rows, seed=0)
    answers = peer.predict(run, fold.test[:4])
    assert answers.shape == (4,)
    assert set(answers) <= {0, 1, 2}
    assert peer.num_parameters == num_weights(type(peer)())
    network = networks._initialised(peer, 3, seed=0).state_dict()
    name, trained = next(reversed(peer._network.state_dict().items()))
    assert not torch.equal(network[name], trained)
    return peer


@pytest.mark.slow
@pytest.mark.parametrize("peer", [StstNet, OffApexNet, Rcn, HtNet, AlexNet])
def test_one_fold_of_a_heavy_peer_ends_with_answers(run, peer):
    end_to_end(peer(), run, num_clips=2, batch_size=4)


@pytest.mark.slow
def test_one_fold_of_capsules_ends_with_answers(run):
    end_to_end(CapsuleNet(), run, num_clips=1, batch_size=3)

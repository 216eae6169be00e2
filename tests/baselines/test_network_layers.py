"""Layers of the peers that can be counted on fingers."""

import torch

from hcp_mer.baselines.capsulenet import ApexCapsules, RoutedCapsules, margin_loss, squash
from hcp_mer.baselines.htnet import HierarchicalTransformer, Layer, Level, four_regions
from hcp_mer.baselines.off_apexnet import TwoStreams
from hcp_mer.baselines.rcn import RecurrentNetwork


def test_the_four_regions_are_eyes_over_mouth_and_mirror_with_the_face():
    place = torch.arange(28 * 28).reshape(1, 1, 28, 28)  # 28 · y + x
    regions = four_regions(place)[0, 0]
    assert regions.shape == (28, 28)
    assert regions[0, 0] == 28 * 4 + 2  # eye at (9, 11), from 7 px up and left of it
    assert regions[0, 14] == 28 * 4 + 12  # eye at (19, 11)
    assert regions[14, 0] == 28 * 14 + 3  # corner of the mouth at (10, 21)
    assert regions[27, 27] == 28 * 27 + 24  # the last pixel of the other, at (18, 21)
    assert torch.equal(four_regions(place.flip(-1)), four_regions(place).flip(-1))


def test_a_level_looks_inside_its_blocks_only():
    torch.manual_seed(0)
    level = Level(width=8, num_heads=2, depth=1, tokens=4, blocks=2)
    features = torch.randn(1, 8, 4, 4)
    changed = features.clone()
    changed[..., 0, 0] = torch.randn(8)  # in the block of rows 0–1, columns 0–1
    moved = (level(features) - level(changed)).abs().amax(1)[0] > 1e-6
    assert moved[:2, :2].all()
    assert not moved[2:].any()
    assert not moved[:, 2:].any()


def test_a_level_puts_every_patch_back_where_it_was():
    level = Level(width=3, num_heads=1, depth=0, tokens=4, blocks=4)
    torch.nn.init.zeros_(level.position)
    features = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(level(features), features)


def test_an_attention_layer_is_pytorchs_own():
    torch.manual_seed(0)
    layer = Layer(width=8, num_heads=2)
    own = torch.nn.MultiheadAttention(8, 2, bias=True, batch_first=True)
    with torch.no_grad():
        own.in_proj_weight.copy_(layer.query_key_value.weight)
        own.in_proj_bias.zero_()
        own.out_proj.load_state_dict(layer.out.state_dict())
    tokens = torch.randn(3, 5, 8)
    normed = layer.norms[0](tokens)
    attended = tokens + own(normed, normed, normed, need_weights=False)[0]
    expected = attended + layer.feed_forward(layer.norms[1](attended))
    torch.testing.assert_close(layer(tokens), expected, rtol=1e-5, atol=1e-6)


def test_with_one_patch_per_block_queries_and_keys_change_nothing():
    """So it is in HTNet as published: 4×4 patches in 4×4 blocks, then 2×2 in 2×2, then one."""
    torch.manual_seed(0)
    network = HierarchicalTransformer(3, (16, 32, 64), (2, 4, 4), (1, 1, 1))
    assert all(level.position.numel() == 1 for level in network.levels)
    network(torch.randn(2, 3, 28, 28)).sum().backward()
    for level in network.levels:
        queries, keys, values = level.layers[0].query_key_value.weight.grad.chunk(3)
        assert queries.abs().max() < 1e-7
        assert keys.abs().max() < 1e-7
        assert values.abs().max() > 1e-4


def test_off_apexnet_does_not_look_at_strain():
    torch.manual_seed(0)
    network = TwoStreams(3).eval()
    flow = torch.randn(2, 3, 28, 28)
    for channel, is_seen in ((0, True), (1, True), (2, False)):
        other = flow.clone()
        other[:, channel] += 1
        assert torch.equal(network(flow), network(other)) != is_seen


def test_attention_of_rcn_is_each_classs_map_stretched_and_averaged():
    network = RecurrentNetwork(2)
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.weight[0, :25] = 1  # class 0 reads map 0, class 1 nothing
    features = torch.zeros(1, 32, 5, 5)
    features[0, 0] = 3 * torch.arange(25.0).reshape(5, 5) + 7
    expected = torch.arange(25.0).reshape(5, 5) / 24 / 2
    torch.testing.assert_close(network.attention(features)[0, 0], expected)


def test_rcn_uses_one_convolution_twice():
    torch.manual_seed(0)
    network = RecurrentNetwork(3, side_px=20).eval()
    flow = torch.randn(2, 3, 20, 20)
    features = network.first(flow)
    once = network.recurrent(features + network.feed_forward(features))
    twice = network.recurrent(features + once)
    pooled = torch.nn.functional.adaptive_avg_pool2d(network.shrink(twice), 5)
    attention = network.attention(torch.nn.functional.adaptive_avg_pool2d(features, 5))
    expected = network.classifier((pooled * attention).flatten(1))
    torch.testing.assert_close(network(flow), expected)


def test_squash_shortens_and_keeps_the_direction():
    torch.testing.assert_close(
        squash(torch.tensor([[3.0, 4.0], [0.0, 0.0]])),
        torch.tensor([[3 / 5, 4 / 5], [0.0, 0.0]]) * 25 / 26,
    )
    zero = torch.zeros(2, requires_grad=True)
    squash(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_margin_loss_by_hand():
    lengths = torch.tensor([[0.5, 0.31, 0.0], [1.0, 0.01, 0.01]])
    # First clip is of class 1: (0.99 − 0.31)² + (0.5 − 0.01)² / 2; the second, of class 0, is done.
    expected = (0.68**2 + 0.49**2 / 2) / 2
    torch.testing.assert_close(
        margin_loss(lengths, torch.tensor([1, 0])), torch.tensor(expected), rtol=1e-6, atol=0
    )


def test_routing_prefers_the_class_that_votes_agree_on():
    routed = RoutedCapsules(num_inputs=3, num_classes=2)
    capsules = torch.ones(1, 3, 8)
    with torch.no_grad():
        routed.weight.zero_()
        routed.weight[0, :, 0] = 0.25  # class 0: three equal votes of length 2
        for number in range(3):
            routed.weight[1, number, number] = 0.25  # class 1: votes of length 2, at right angles
    lengths = routed(capsules)[0].norm(dim=-1)
    assert lengths[0] > lengths[1]
    # Equal shares would give ½ · 6 = 3 → 9/10 and ½ · 2√3 → 3/4: routing draws them apart.
    assert lengths[0] > 9 / 10
    assert lengths[1] < 3 / 4


def test_one_class_takes_all_votes():
    routed = RoutedCapsules(num_inputs=2, num_classes=1)
    capsules = torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0))
    total = torch.einsum("iod,nid->no", routed.weight[0], capsules)
    torch.testing.assert_close(routed(capsules)[:, 0], squash(total))


def test_capsules_have_the_published_number_at_224_px():
    with torch.device("meta"):
        assert ApexCapsules(3).routed.weight.shape == (3, 32 * 6 * 6, 16, 8)

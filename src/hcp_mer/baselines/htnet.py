"""HTNet: a hierarchy of transformers over four regions of the face."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcp_mer.baselines.networks import NetworkPeer, Training

_FACE_PX, _REGION_PX, _PATCH_PX = 28, 14, 7
# Centres (x, y) of eyes and corners of the mouth: where the authors look when they find no face,
# made symmetric, so that a mirrored face is cut as the face is.
_CENTRES = ((9, 11), (19, 11), (10, 21), (18, 21))
_WIDTHS, _HEADS, _DEPTHS = (256, 512, 1024), (3, 6, 12), (2, 2, 8)


class HtNet(NetworkPeer):
    """HTNet (Wang et al., 2024, arXiv 2307.14637): 114,429,446 weights at three classes.

    Architecture, Adam at 5e-5, batches of 256 and 800 epochs as in the authors' code
    (github.com/wangzhifengharrison/HTNet). In their configuration every block holds one patch, so
    attention has a single token to look at and its queries and keys change nothing. Their code
    prints the last epoch's score and, as "best", that of the epoch that suits each held-out subject
    best; here the last counts. It cuts the regions with x and y exchanged, at landmarks that MTCNN
    finds; ours are cut as meant, at fixed places, which aligned faces allow. Their third channel is
    |flow| on CAS(ME)³, strain elsewhere; ours is strain. Balanced classes and mirrored clips: ours.
    214 training clips take about 50 minutes of one core (3.9 s a step): it wants a GPU.
    """

    name = "htnet"
    training = Training(epochs=800, batch_size=256, learning_rate=5e-5)
    side_px = _FACE_PX

    def network(self, num_classes: int) -> nn.Module:
        return HierarchicalTransformer(num_classes)


def four_regions(flow: Tensor) -> Tensor:
    """Eyes above, corners of the mouth below, 14 px each: (batch, 3, 28, 28) again."""
    reach = _REGION_PX // 2
    eyes_and_mouth = [flow[..., y - reach : y + reach, x - reach : x + reach] for x, y in _CENTRES]
    rows = [torch.cat(eyes_and_mouth[start : start + 2], dim=-1) for start in (0, 2)]
    return torch.cat(rows, dim=-2)


class HierarchicalTransformer(nn.Module):
    """Blocks of patches that look at themselves, then are merged four by four, three times."""

    def __init__(
        self,
        num_classes: int,
        widths: tuple[int, ...] = _WIDTHS,
        heads: tuple[int, ...] = _HEADS,
        depths: tuple[int, ...] = _DEPTHS,
    ) -> None:
        super().__init__()
        blocks_per_side = [2**level for level in reversed(range(len(widths)))]
        tokens = (_FACE_PX // _PATCH_PX // blocks_per_side[0]) ** 2
        self.patches = nn.Conv2d(3, widths[0], _PATCH_PX, stride=_PATCH_PX)
        self.levels = nn.ModuleList(
            Level(width, num_heads, depth, tokens, blocks)
            for width, num_heads, depth, blocks in zip(
                widths, heads, depths, blocks_per_side, strict=True
            )
        )
        self.merges = nn.ModuleList(Merge(*pair) for pair in itertools.pairwise(widths))
        self.norm = nn.LayerNorm(widths[-1])
        self.classifier = nn.Linear(widths[-1], num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        """Levels (batch, 3, 28, 28) to logits (batch, num_classes)."""
        features = self.patches(four_regions(flow))  # (batch, width, 4, 4)
        for level, merge in zip(self.levels, [*self.merges, nn.Identity()], strict=True):
            features = merge(level(features))
        tokens = features.flatten(2).transpose(1, 2)  # (batch, tokens, width)
        return self.classifier(self.norm(tokens).mean(1))


class Level(nn.Module):
    """Transformer layers inside each of blocks × blocks blocks of the map."""

    def __init__(self, width: int, num_heads: int, depth: int, tokens: int, blocks: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.position = nn.Parameter(torch.randn(tokens))  # the same for all channels
        self.layers = nn.ModuleList(Layer(width, num_heads) for _ in range(depth))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, width, side, side), the same out."""
        batch, width, side, _ = features.shape
        cut = features.unflatten(3, (self.blocks, -1)).unflatten(2, (self.blocks, -1))
        cut = cut.permute(0, 2, 4, 3, 5, 1)  # (batch, blocks, blocks, h, w, width)
        tokens = cut.reshape(batch * self.blocks**2, -1, width) + self.position[:, None]
        for layer in self.layers:
            tokens = layer(tokens)
        whole = tokens.reshape(cut.shape).permute(0, 5, 1, 3, 2, 4)
        return whole.reshape(batch, width, side, side)


class Layer(nn.Module):
    """Self-attention and a feed-forward net, each after a LayerNorm and beside a skip."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        inner = width // num_heads * num_heads
        self.num_heads = num_heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.query_key_value = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(blocks, tokens, width), the same out."""
        heads = self.query_key_value(self.norms[0](tokens)).chunk(3, dim=-1)
        heads = [part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in heads]
        attended = F.scaled_dot_product_attention(*heads)  # (blocks, heads, tokens, head width)
        tokens = tokens + self.out(attended.transpose(1, 2).flatten(2))
        return tokens + self.feed_forward(self.norms[1](tokens))


class Merge(nn.Module):
    """Convolution, LayerNorm over channels, and pooling to half the side."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, wider, 3, padding=1)
        self.norm = nn.LayerNorm(wider)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, width, side, side) to (batch, wider, side / 2, side / 2)."""
        wider = self.convolution(features).movedim(1, -1)
        return F.max_pool2d(self.norm(wider).movedim(-1, 1), 3, stride=2, padding=1)

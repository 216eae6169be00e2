"""MagNet's published weights: their names for our modules, and how each file is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hcp_mer.errors import UserError
from hcp_mer.files import save_tensors
from hcp_mer.motion.magnet_network import VARIANTS, MagNetNetwork
from hcp_mer.motion.weights import fill, read_weights

# Our convolution → theirs; in a stack of residual blocks {block} and {conv} are its numbers.
NAMES = {
    "official": {
        "encoder.conv1": "encoder/enc_conv1_c",
        "encoder.conv2": "encoder/enc_conv2_c",
        "encoder.residual": "encoder/encoder_resblk{block}_c{conv}",
        "encoder.texture_conv": "encoder/enc_texture_conv",
        "encoder.texture_residual": "encoder/texture_enc{later_block}_c{conv}",
        "encoder.shape_residual": "encoder/shape_enc{later_block}_c{conv}",
        "manipulator.conv1": "manipulator/mani_conv0c",
        "manipulator.conv2": "manipulator/mani_aft_conv0c",
        "manipulator.residual": "manipulator/mani_resblk{block}_c{conv}",
        "decoder.texture_conv": "decoder/texture_upsample",
        "decoder.residual": "decoder/decoder_resblk{block}_c{conv}",
        "decoder.conv1": "decoder/dec_conv2_c",
        "decoder.conv2": "decoder/pred_conv",
    },
    "zhengpeng7": {
        "encoder.conv1": "encoder.cba_1",
        "encoder.conv2": "encoder.cba_2",
        "encoder.residual": "encoder.resblks.{block}.cba_{conv}",
        "encoder.texture_conv": "encoder.texture_cba",
        "encoder.texture_residual": "encoder.texture_resblks.{block}.cba_{conv}",
        "encoder.shape_conv": "encoder.motion_cba",
        "encoder.shape_residual": "encoder.motion_resblks.{block}.cba_{conv}",
        "manipulator.conv1": "manipulator.g",
        "manipulator.conv2": "manipulator.h_conv",
        "manipulator.residual": "manipulator.h_resblk.cba_{conv}",
        "decoder.residual": "decoder.resblks.{block}.cba_{conv}",
        "decoder.conv1": "decoder.cba_1",
        "decoder.conv2": "decoder.cba_2",
    },
    "postech": {
        "encoder.conv1": "encoder.res_encoder.conv1",
        "encoder.conv2": "encoder.res_encoder.conv2",
        "encoder.residual": "encoder.res_encoder.residual.{block}.conv{conv}",
        "encoder.texture_conv": "encoder.conv_tex",
        "encoder.texture_residual": "encoder.texture_resblk.{block}.conv{conv}",
        "encoder.shape_conv": "encoder.conv_sha",
        "encoder.shape_residual": "encoder.shape_resblk.{block}.conv{conv}",
        "manipulator.conv1": "res_manipulator.conv1",
        "manipulator.conv2": "res_manipulator.conv2",
        "manipulator.residual": "res_manipulator.residual.{block}.conv{conv}",
        "decoder.texture_conv": "decoder.conv_tex_aft_upsample",
        "decoder.residual": "decoder.res_decoder.residual.{block}.conv{conv}",
        "decoder.upsample_conv": "decoder.res_decoder.conv_up_sample",
        "decoder.conv1": "decoder.res_decoder.conv1",
        "decoder.conv2": "decoder.res_decoder.conv2",
    },
}
# Around a convolution's name, and for its weight or bias.
LEAVES = {
    "official": "ynet_3frames/{conv}/Conv/{leaf}s",
    "zhengpeng7": "{conv}.conv2d.{leaf}",
    "postech": "{conv}.{leaf}",
}


def published_name(variant: str, name: str) -> str:
    """What the variant's authors call a parameter of `MagNetNetwork`."""
    module, leaf = name.rsplit(".", 1)
    inside = re.fullmatch(r"(.*residual)\.(\d+)\.conv(\d)", module)
    if inside is None:
        return LEAVES[variant].format(conv=NAMES[variant][module], leaf=leaf)
    stem, block, conv = inside.groups()
    later = "" if block == "0" else f"_{block}"  # the authors number these from the second
    theirs = NAMES[variant][stem].format(block=block, later_block=later, conv=conv)
    return LEAVES[variant].format(conv=theirs, leaf=leaf)


def read_network(path: str | Path) -> tuple[str, nn.Module]:
    """The variant's name and the network whose weights a file holds, in eval mode.

    Args: path: a port's PyTorch checkpoint; the authors' TensorFlow checkpoint, as its folder or
        its prefix (needs tensorflow installed); or what `convert_magnet` wrote.

    Raises UserError, in one line, for anything else.
    """
    path = Path(path)
    prefix = _tensorflow_prefix(path)
    weights = read_weights(path) if prefix is None else _read_tensorflow(prefix)
    variant, ours = _recognised(weights, path.name)
    with torch.device("meta"):
        network = MagNetNetwork(VARIANTS[variant])
    return variant, fill(network, ours, f"MagNet ({variant})")


def convert_magnet(path: str | Path, out: str | Path) -> None:
    """Any of MagNet's published files as safetensors, which every machine can read as it is.

    Raises UserError as `read_network` does.
    """
    variant, network = read_network(path)
    save_tensors(Path(out), network.state_dict(), {"variant": variant})


def _recognised(weights: Mapping[str, Tensor], file: str) -> tuple[str, dict[str, Tensor]]:
    """The variant, and the weights by our names."""
    if "encoder.shape_residual.0.conv1.weight" in weights:  # these are our names
        has_bias, has_shape = (
            name in weights for name in ("encoder.conv1.bias", "encoder.shape_conv.weight")
        )
        variant = "postech" if has_bias else "zhengpeng7" if has_shape else "official"
        return variant, dict(weights)
    for variant, config in VARIANTS.items():
        with torch.device("meta"):
            ours = list(MagNetNetwork(config).state_dict())
        theirs = {published_name(variant, name): name for name in ours}
        if theirs.keys() & weights.keys():
            return variant, {theirs.get(name, name): tensor for name, tensor in weights.items()}
    first = next(iter(weights), "nothing")
    raise UserError(
        f"{file} holds no MagNet: none of the parameters of its three public variants "
        f"({', '.join(VARIANTS)}), but {first} and {max(0, len(weights) - 1)} others."
    )


def _tensorflow_prefix(path: Path) -> Path | None:
    """Of the TensorFlow checkpoint meant by a folder, a prefix or one of its files."""
    if path.is_dir():
        return path
    for prefix in (path, path.with_suffix("")):
        if prefix.with_name(f"{prefix.name}.index").is_file():
            return prefix
    return None


def _read_tensorflow(prefix: Path) -> dict[str, Tensor]:
    """Convolutions only: not the optimiser's moments, nor counters."""
    try:
        import tensorflow
    except ImportError as error:
        raise UserError(
            f"{prefix.name} is a TensorFlow checkpoint, and tensorflow is not installed: "
            "pip install tensorflow, or convert it with convert_magnet where it is."
        ) from error
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
    except (ValueError, OSError, tensorflow.errors.OpError) as error:
        raise UserError(
            f"{prefix.name} holds no TensorFlow checkpoint that can be read."
        ) from error
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("/Conv/weights")]
    return {  # height, width, inputs, outputs → outputs, inputs, height, width
        name: torch.from_numpy(reader.get_tensor(name)).permute(3, 2, 0, 1).contiguous()
        for name in sorted(names)
    }

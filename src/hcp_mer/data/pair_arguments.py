"""How pairs are made, as arguments of a command line."""

from __future__ import annotations

import argparse

from hcp_mer.model.flow_image_hcp_mer import ENCODINGS
from hcp_mer.model.motion_hcp_mer import MotionSettings
from hcp_mer.motion.face import FaceSettings
from hcp_mer.motion.flow import DEFAULT_ESTIMATOR, ESTIMATORS
from hcp_mer.motion.magnify import DEFAULT_MAGNIFIER, MAGNIFIERS
from hcp_mer.motion.pair import PairSettings


def add_pair_arguments(parser: argparse.ArgumentParser) -> None:
    made = parser.add_argument_group("how pairs are made")
    made.add_argument("--image_size", type=int, default=224, help="side of the pairs, px")
    made.add_argument(
        "--face",
        choices=["none", "given", "cascade", "yunet"],
        help="who finds the face; none: the frames are face crops (default where they are)",
    )
    made.add_argument("--face_weights", help="model file of --face yunet")
    made.add_argument("--centre_crop", action="store_true", help="where no face is found")
    made.add_argument("--mask_eyes", action="store_true", help="leave blinks out of the flow")
    made.add_argument(
        "--register",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="move the apex onto the onset, and into its light, before flow is measured",
    )
    made.add_argument(
        "--flow", default=DEFAULT_ESTIMATOR, metavar="NAME", help=f"one of {', '.join(ESTIMATORS)}"
    )
    made.add_argument("--flow_weights", metavar="FILE", help="checkpoint of --flow flownet2")
    made.add_argument(
        "--magnifier",
        default=DEFAULT_MAGNIFIER,
        metavar="NAME",
        help=f"one of {', '.join(MAGNIFIERS)}",
    )
    made.add_argument("--magnifier_weights", metavar="FILE", help="checkpoint of magnet")
    made.add_argument("--alpha", type=float, help="magnification of the apex, 1 for none")
    made.add_argument(
        "--flow_encoding", metavar="NAME", help=f"the flow as an image: {', '.join(ENCODINGS)}"
    )
    made.add_argument(
        "--flow_scale_px",
        type=float,
        metavar="PX",
        help="one scale for all flow images, at 224 px width (default: each clip's own)",
    )
    made.add_argument("--apex_plots", action="store_true", help="draw how apexes were spotted")


def pair_settings(args: argparse.Namespace) -> PairSettings:
    """Of parsed arguments. Raises UserError and ValueError for their mistakes; reads weights."""
    names = ("alpha", "register", "mask_eyes", "flow_encoding", "flow_scale_px")
    chosen = {name: getattr(args, name) for name in names}
    motion = MotionSettings(**{key: value for key, value in chosen.items() if value is not None})
    settings = PairSettings(
        image_size=args.image_size,
        motion=motion,
        estimator=args.flow,
        magnifier=args.magnifier,
        estimator_weights=args.flow_weights,
        magnifier_weights=args.magnifier_weights,
        face=FaceSettings(args.face or "none", args.face_weights, args.centre_crop),
    )
    settings.methods()  # another network's weights show now
    return settings

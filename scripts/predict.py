r"""Answer for a film of your own: which micro-expression, or none, or unsure.

    python scripts/predict.py --video clip.mp4                              # zero-shot, no download
    python scripts/predict.py --model runs/casme2/model --video clip.mp4 --save_dir out/
    python scripts/predict.py --video interview.mp4 --intervals --window_ms 500
    accelerate launch scripts/predict.py --input_list clips.csv --output predictions.parquet

A clip is a --video, a folder of --frames, or two images, --onset and --apex. --save_dir gets a
picture and a magnified video of it. --intervals looks for micro-expressions in a long video.
--input_list is a CSV file with a column video (and onset, apex, offset, if known), or a folder of
videos: resumable, shared out over processes, clips that cannot be used are listed with the reason.
`--debug` shows the traceback of a mistake that otherwise ends in one line.

Not for judging what somebody feels, means or hides, nor for any decision about a person.
"""

import argparse
import os
from pathlib import Path

from hcp_mer.errors import UserError, run_script

os.environ.setdefault("OMP_NUM_THREADS", "1")
ZERO_SHOT = Path(__file__).resolve().parents[1] / "hub_configs" / "recipes" / "embedded-3class.yaml"


def main() -> None:
    args = parse()
    from hcp_mer.recognition import command

    if args.input_list:
        command.answer_list(args)
    elif args.intervals:
        command.answer_intervals(args)
    else:
        command.answer_clip(args)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default=str(ZERO_SHOT), help="folder, Hub id, or a recipe for zero-shot"
    )
    parser.add_argument("--revision", help="of a Hub id: branch, tag or commit")
    clip = parser.add_argument_group("one clip")
    clip.add_argument("--video", type=Path)
    clip.add_argument("--frames", type=Path, metavar="FOLDER", help="of images")
    clip.add_argument("--onset", help="an image; of --video and --frames, a frame's number")
    clip.add_argument("--apex", help="the same")
    clip.add_argument("--offset", type=int, help="a frame's number")
    clip.add_argument("--json", action="store_true", help="print JSON instead of a table")
    clip.add_argument("--save_dir", type=Path, help="picture, magnified video and answer.json")
    clip.add_argument("--timing", action="store_true", help="seconds of each stage")
    many = parser.add_argument_group("many clips")
    many.add_argument("--input_list", type=Path, metavar="CSV|FOLDER")
    many.add_argument("--output", type=Path, help="predictions.parquet or .csv")
    long = parser.add_argument_group("a long video")
    long.add_argument("--intervals", action="store_true", help="spot micro-expressions in it")
    long.add_argument("--window_ms", type=float, default=500.0, help="of the longest expression")
    how = parser.add_argument_group("how")
    how.add_argument("--face", default="cascade", help="cascade, yunet, or none: cropped already")
    how.add_argument("--face_weights", type=Path, help="of yunet")
    how.add_argument("--fps", type=float, help="in place of what the film says")
    how.add_argument("--unsure_below", type=float, help="least score, in place of the model's own")
    args = parser.parse_args()
    check(args)
    return args


def check(args: argparse.Namespace) -> None:
    """Raise UserError unless one thing is asked for, with all that it needs."""
    pair = args.onset is not None and args.apex is not None and not (args.video or args.frames)
    given = [bool(args.video), bool(args.frames), bool(args.input_list), pair]
    if sum(given) != 1:
        raise UserError(
            "give one of --video FILE, --frames FOLDER, --onset IMAGE --apex IMAGE, and "
            "--input_list CSV."
        )
    if args.input_list and not args.output:
        raise UserError("--input_list needs --output, a .parquet or .csv file.")
    if args.output and args.output.suffix not in (".parquet", ".csv"):
        raise UserError(f"--output must end in .parquet or .csv; got {args.output.name}.")
    if args.intervals and not args.video:
        raise UserError("--intervals looks through a --video.")
    shown = [
        name for name in ("save_dir", "timing", "onset", "apex", "offset") if getattr(args, name)
    ]
    if args.intervals and shown:
        raise UserError(
            f"--intervals prints its answers and takes no --{shown[0]}: cut the interval out, and "
            "give it as a --video of its own."
        )
    if args.input_list and (args.json or shown):
        name = "json" if args.json else shown[0]
        raise UserError(f"--input_list writes a table to --output and takes no --{name}.")
    if not args.window_ms > 0:
        raise UserError(f"--window_ms must be positive; got {args.window_ms:g}.")
    if args.fps is not None and not args.fps > 0:
        raise UserError(f"--fps must be positive; got {args.fps:g}.")


if __name__ == "__main__":
    run_script(main)

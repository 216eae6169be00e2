r"""Measure, side by side: LOSO training, motion preparation, inference.

    python scripts/benchmark.py loso --json out.json     # 3 to 4 minutes at ViT-B/32 size
    python scripts/benchmark.py loso --steps 2           # a minute

`prepare`: clips a second of the motion preparation. `inference`: a warm pipeline against two bare
image forwards. Weights and images are random; nothing is downloaded. `loso` needs torch and
transformers alone: on a bare machine run it from the sources, `PYTHONPATH=src python …`.
`--debug` shows the traceback of a mistake that otherwise ends in one line.
"""

import argparse
import os
from pathlib import Path

from hcp_mer.errors import UserError, run_script

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["loso", "prepare", "inference"])
    parser.add_argument("--classes", type=int, choices=[3, 4, 7], default=3)
    parser.add_argument(
        "--action_unit_sets",
        choices=["first", "all"],
        default="first",
        help="loso: one componential prompt per class (the paper's equations), or the recipe's",
    )
    parser.add_argument("--folds", type=int, default=24, help="loso: trained side by side")
    parser.add_argument("--steps", type=int, help="timed steps or rounds, at most")
    parser.add_argument("--device", default="cpu", help="loso: cpu or cuda")
    parser.add_argument("--json", type=Path, help="file to write the result to")
    args = parser.parse_args()
    for name in ("folds", "steps"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UserError(f"--{name} must be at least 1; got {getattr(args, name)}.")
    if args.json and not args.json.absolute().parent.is_dir():
        raise UserError(f"the folder of --json {args.json} does not exist. Make it first.")

    from hcp_mer.benchmark.tables import show_table

    measure = {"loso": loso, "prepare": prepare, "inference": inference}[args.what]
    result, table, summary = measure(args)
    show_table(*table)
    print(summary)
    print(", ".join(f"{name}: {value}" for name, value in result["machine"].items()))
    if args.json:
        from hcp_mer.files import write_json

        write_json(args.json, result)


def loso(args):
    import torch

    from hcp_mer.benchmark.ladder import LadderSettings, run_ladder
    from hcp_mer.benchmark.tables import loso_table

    if args.device != "cpu" and not (args.device.startswith("cuda") and torch.cuda.is_available()):
        raise UserError(f"--device {args.device} is not there; use cpu, or cuda on a GPU machine.")
    asked = {"steps": args.steps} if args.steps else {}
    all_sets = args.action_unit_sets == "all"
    settings = LadderSettings(args.classes, all_sets, args.folds, device=args.device, **asked)
    result = run_ladder(settings)
    used = "is used" if result["fast_linear"]["used"] else "gains nothing here and is not used"
    summary = (
        f"ratio_stock {result['ratio_stock']:.1f}, ratio_best {result['ratio_best']:.1f} "
        f"({result['best']}), losses differ by {result['max_loss_difference']:.0e} at most over "
        f"{result['compared_steps']} steps; the fast linear {used}"
    )
    return result, loso_table(result), summary


def prepare(args):
    from hcp_mer.benchmark.prepare import run_prepare
    from hcp_mer.benchmark.tables import prepare_table

    result = run_prepare(**({"rounds": args.steps} if args.steps else {}))
    return result, prepare_table(result), f"two processes: {result['ratio']:.2f} times one"


def inference(args):
    from hcp_mer.benchmark.inference import run_inference
    from hcp_mer.benchmark.tables import inference_table

    result = run_inference(args.classes, **({"rounds": args.steps} if args.steps else {}))
    summary = f"one clip of 224 px, {result['settings']['rounds']} rounds, random weights"
    return result, inference_table(result), summary


if __name__ == "__main__":
    run_script(main, check=False)  # a bare machine has not everything, nor does it need it

r"""Measure, side by side: LOSO training, motion, inference, flow, magnification, branches.

    python scripts/benchmark.py loso --json out.json     # 3 to 4 minutes at ViT-B/32 size
    python scripts/benchmark.py loso --steps 2           # a minute
    python scripts/benchmark.py flow --json flow.json --plot flow.png         # 4 minutes
    python scripts/benchmark.py magnify --json apex.json --plot apex.png      # 2 minutes
    python scripts/benchmark.py branches --json fusion.json                   # 5 minutes

`prepare`: clips a second of the motion preparation. `inference`: a warm pipeline against two bare
image forwards. `flow` and `magnify`: errors against exact warps of faces. `branches`: a recipe
trained on clips whose class shows in the face, in the motion or in both. `backbone`: frozen towers
on procedural domains that their pretraining did not see. Otherwise weights are
random, or given; nothing is downloaded. `loso` needs torch and transformers alone: on a bare
machine run it from the sources, `PYTHONPATH=src python …`. `--debug` shows the traceback of a
mistake that otherwise ends in one line.
"""

import argparse
import os
from pathlib import Path

from hcp_mer.errors import UserError, run_script

os.environ.setdefault("OMP_NUM_THREADS", "1")
HUB_CONFIGS = Path(__file__).resolve().parents[1] / "hub_configs"
RECIPES = {"branches": "demo.yaml", "backbone": "embedded-3class.yaml"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    from hcp_mer.benchmark.measures import (
        backbone,
        branches,
        flow,
        inference,
        loso,
        magnify,
        prepare,
    )

    whats = parser.add_subparsers(dest="what", required=True, metavar="what")
    for measure in (loso, prepare, inference, flow, magnify, branches, backbone):
        what = whats.add_parser(measure.__name__, help=measure.__doc__)
        what.set_defaults(measure=measure)
        what.add_argument("--json", type=Path, help="file to write the result to")
        if measure not in (branches, backbone):
            what.add_argument("--steps", type=int, help="timed steps or rounds, at most")
        if measure in (loso, inference):
            what.add_argument("--classes", type=int, choices=[3, 4, 7], default=3)
        if measure in (flow, magnify):
            network = "FlowNet 2.0" if measure is flow else "MagNet"
            what.add_argument("--scenes", type=int, help="of each face (default: 3 or 2)")
            what.add_argument("--weights", help=f"those of {network}, to measure it as well")
        if measure in (flow, magnify, branches):
            what.add_argument("--plot", type=Path, help="PNG to draw the result to")
        if measure in (branches, backbone):
            own = HUB_CONFIGS / "recipes" / RECIPES[measure.__name__]
            what.add_argument("--recipe", type=Path, default=own, help=f"YAML; default: {own.name}")
            what.add_argument("--subjects", type=int, help="of each corpus (default: 16, or 20)")
            what.add_argument("--clips", type=int, help="of each subject (default: 12, or 10)")
        if measure is backbone:
            what.add_argument("--backbone", nargs="+", help="folders (default: the recipe's)")
            what.add_argument("--domains_dir", type=Path, help="where rendered domains are kept")
            what.add_argument("--closed", action="store_true", help="open the closed domains, too")
        if measure is branches:
            what.add_argument(
                "--readings",
                action=argparse.BooleanOptionalAction,
                default=True,
                help="the gate's other fitting, the other consistency loss and none, besides",
            )
        if measure is loso:
            what.add_argument(
                "--action_unit_sets",
                choices=["first", "all"],
                default="first",
                help="one componential prompt per class (the paper's equations), or the recipe's",
            )
            what.add_argument("--folds", type=int, default=24, help="trained side by side")
            what.add_argument("--device", default="cpu", help="cpu or cuda")
    args = parser.parse_args()
    _check(args)

    from hcp_mer.benchmark.tables import show_table
    from hcp_mer.files import write_json

    result, tables, summary = args.measure(args)
    for table in tables:
        show_table(*table)
    print(summary)
    print(", ".join(f"{name}: {value}" for name, value in result["machine"].items()))
    if args.json:
        write_json(args.json, result)


def _check(args) -> None:
    given = {name: value for name, value in vars(args).items() if value is not None}
    for name in {"folds", "steps", "scenes"} & given.keys():
        if given[name] < 1:
            raise UserError(f"--{name} must be at least 1; got {given[name]}.")
    for name in {"json", "plot"} & given.keys():
        if not given[name].absolute().parent.is_dir():
            raise UserError(f"the folder of --{name} {given[name]} does not exist. Make it first.")
    if "plot" in given:
        from hcp_mer.benchmark.plots import check_can_plot

        check_can_plot(given["plot"])


if __name__ == "__main__":
    run_script(main, check=False)  # a bare machine has not everything, nor does it need it

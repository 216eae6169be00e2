r"""The paper's tables and figures from the corpora: pairs, runs, ablations, one folder to publish.

    python scripts/reproduce_paper.py --casme2 CASME2 --smic SMIC --samm SAMM --casme3 CASME3 \
        --face cascade --output_dir reproduction --plan     # what it takes; then without --plan
    python scripts/reproduce_paper.py --casme2 runs/demo-data/corpus --output_dir /tmp/again \
        --backbone hub_configs/face-motion-clip --set epochs=2

Any subset of the corpora; the composite of MEGC2019 where its three are there. Every stage goes on
where it was stopped. What must not be published (frames, faces, weights) is in OUT/private.
`--debug` shows the traceback of a mistake that otherwise ends in one line.
"""

import argparse
import os
import sys
from pathlib import Path

from hcp_mer.errors import UserError, run_script

# Parallelism is processes: threads of one would only fight over the cores of the others.
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "hub_configs" / "recipes"


def main() -> None:
    if "--quiet" in sys.argv:
        os.environ["TQDM_DISABLE"] = (
            "1"  # read when tqdm is imported, as early as in the next lines
        )

    from hcp_mer.data.pair_arguments import add_pair_arguments
    from hcp_mer.reproduction.settings import CORPORA
    from hcp_mer.reproduction.stages import GOALS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, title in CORPORA.items():
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"{title}, unpacked")
    parser.add_argument("--output_dir", type=Path, required=True, help="OUT, new or begun before")
    parser.add_argument("--plan", action="store_true", help="say what it takes; do nothing")
    parser.add_argument(
        "--only", nargs="+", choices=[*GOALS], default=[], help="and what they need"
    )
    parser.add_argument("--backbone", help="folder or Hub id in place of the recipes' CLIP")
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of the recipes'")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of every recipe"
    )
    parser.add_argument("--controls", action="store_true", help="train every control as well")
    parser.add_argument("--num_proc", type=int, default=2, help="processes that prepare pairs")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    add_pair_arguments(parser)
    args = parser.parse_args()
    plan = reproduction(args)

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar for loading 96 tensors says nothing; ours stay
    if args.plan:
        from hcp_mer.reproduction.plan import estimate, print_plan
        from hcp_mer.reproduction.stages import stages_of, wanted

        print_plan(plan, estimate(plan, wanted(stages_of(plan), args.only)))
        return

    from hcp_mer.reproduction.reproduce import print_summary, reproduce

    print_summary(plan, reproduce(plan, args.only))


def reproduction(args: argparse.Namespace):
    """What was asked for, checked: its mistakes show before hours of work."""
    from hcp_mer.data.pair_arguments import pair_settings
    from hcp_mer.reproduction.settings import CORPORA, Reproduction

    corpora = {name: getattr(args, name) for name in CORPORA if getattr(args, name)}
    if not corpora:
        raise UserError(f"give at least one corpus: --{', --'.join(CORPORA)} DIR.")
    if args.num_proc < 1:
        raise UserError(f"--num_proc must be at least 1, got {args.num_proc}.")
    overrides = list(args.set)
    if args.backbone:  # a revision of another model would be none of its own
        place = Path(args.backbone).resolve()
        backbone = place if place.is_dir() else args.backbone
        if ROOT in place.parents:  # the same folder is the same run, from wherever it is named
            backbone = place.relative_to(ROOT).as_posix()
        overrides = [f"backbone={backbone}", "backbone_revision=null", *overrides]
    if args.seeds:
        overrides.append(f"seeds={args.seeds}")
    settings = pair_settings(args)
    options = {name: getattr(args, name) for name in ("num_proc", "controls", "apex_plots")}
    plan = Reproduction(
        args.output_dir, RECIPES, corpora, settings, args.face, tuple(overrides), **options
    )
    plan.check()
    return plan


if __name__ == "__main__":
    run_script(main)

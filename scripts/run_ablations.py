r"""Fig. 3: the model without each of its parts, on the same folds, seeds and steps as the whole.

    accelerate launch scripts/run_ablations.py --recipe hub_configs/recipes/casme3-7class.yaml \
        --dataset pairs/casme3 --tasks 3 4 7 --output_dir runs/ablations
    python scripts/run_ablations.py --recipe hub_configs/recipes/demo.yaml \
        --dataset runs/demo-data/pairs --output_dir runs/demo   # into a run that is there

`--plan` says what would be trained and how long it takes here, and trains nothing. `--readings`
trains every other reading of the equations, too. A run that was stopped goes on where it was.
`--debug` shows the traceback of a mistake that otherwise ends in one line.
"""

import argparse
import os
from pathlib import Path

from hcp_mer.errors import UserError, run_script

# Parallelism is processes: threads of one would only fight over the cores of the others.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, required=True, help="YAML of the full model")
    parser.add_argument("--dataset", nargs="+", required=True, help="pairs, as for train_loso.py")
    parser.add_argument("--tasks", nargs="+", metavar="N", help="3, 4, 7 (default: the recipe's)")
    parser.add_argument(
        "--output_dir", type=Path, required=True, help="gets a run for each task, or is a run"
    )
    parser.add_argument("--readings", action="store_true", help="other readings of the equations")
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of the recipe's")
    parser.add_argument("--scheme", help="label scheme, where the dataset's name does not say it")
    parser.add_argument("--prompts", help="for one task: YAML file, or from_annotations")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the recipe; model.KEY reaches its model options",
    )
    parser.add_argument("--plan", action="store_true", help="say what there is to do; do nothing")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    args = parser.parse_args()
    if args.quiet:
        os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported
    recipes = recipes_of(args)

    from transformers.utils.logging import disable_progress_bar

    from hcp_mer.ablations import plan_ablations, print_plan, run_ablations

    disable_progress_bar()  # a bar for loading 96 tensors says nothing; ours stay
    if args.plan:
        print_plan(plan_ablations(recipes, args.dataset, args.output_dir, args.readings))
        return
    content = run_ablations(recipes, args.dataset, args.output_dir, args.readings)
    if content is not None:
        from hcp_mer.reporting.ablations import print_ablations

        print_ablations(content)
        print(f"tables:  {args.output_dir / 'ablations.md'}, ablations.json")
        print(f"figure:  {args.output_dir / 'figures' / 'ablations.png'}")
        for report in sorted(args.output_dir.rglob("report.html")):
            print(f"report:  {report}")


def recipes_of(args: argparse.Namespace) -> list:
    """A recipe for each task, with the task's own prompts unless others are named."""
    from hcp_mer.ablations import recipes_for_tasks
    from hcp_mer.training.recipe import seen_from

    if args.prompts and args.tasks and len(args.tasks) > 1:
        raise UserError("--prompts are one task's classes: give one of --tasks beside it.")
    prompts = seen_from(args.recipe, args.prompts) if args.prompts else None
    named = {"scheme": args.scheme, "prompts": prompts, "seeds": args.seeds}
    overrides = args.set + [f"{key}={value}" for key, value in named.items() if value]
    return recipes_for_tasks(args.recipe, args.tasks, overrides)


if __name__ == "__main__":
    run_script(main)

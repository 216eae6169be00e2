r"""Leave-one-subject-out on prepared pairs: table, report, and a checkpoint that AutoModel loads.

    accelerate launch scripts/train_loso.py --recipe hub_configs/recipes/casme2-3class.yaml \
        --dataset pairs/casme2 --output_dir runs/casme2
    python scripts/train_loso.py --recipe hub_configs/recipes/demo.yaml \
        --dataset runs/demo-data/pairs --output_dir runs/demo

Several folders after --dataset make a composite database; --test_dataset tests on other corpora,
--leave_one_dataset_out on each corpus by a model of all the others.
A run that was stopped goes on where it was; finished folds are never trained twice.
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
    parser.add_argument("--recipe", type=Path, required=True, help="YAML, see hub_configs/recipes/")
    parser.add_argument(
        "--dataset",
        nargs="+",
        required=True,
        help="folder of pairs, imagefolder, or Hub id; several make a composite database",
    )
    parser.add_argument("--test_dataset", nargs="+", help="cross-corpus: test on these instead")
    parser.add_argument(
        "--leave_one_dataset_out",
        action="store_true",
        help="train on all corpora of --dataset but one, test on that one, for each of them",
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="the run folder")
    parser.add_argument("--scheme", help="label scheme, where the dataset's name does not say it")
    parser.add_argument(
        "--prompts",
        help="YAML file, or from_annotations: action-unit sets counted on each fold's training "
        "subjects",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the recipe; model.KEY reaches its model options",
    )
    parser.add_argument(
        "--controls",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="train without texts, with others' action units, … besides",
    )
    parser.add_argument(
        "--measure_leak",
        action="store_true",
        help="a diagnostic: what choosing each subject's best epoch would add",
    )
    parser.add_argument("--report_to", help="tensorboard, trackio or wandb, for the training loss")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--push_to_hub", action="store_true", help="publish the finished run")
    parser.add_argument("--hub_model_id", help="OWNER/NAME or NAME; default: output_dir's name")
    parser.add_argument(
        "--hub_private_repo", action="store_true", default=None, help="where only you see it"
    )
    args = parser.parse_args()
    if not args.push_to_hub and (args.hub_model_id or args.hub_private_repo):
        raise UserError("--hub_model_id and --hub_private_repo need --push_to_hub beside them.")
    if args.quiet:
        os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported

    from hcp_mer.training.recipe import load_recipe, seen_from

    prompts = seen_from(args.recipe, args.prompts) if args.prompts else None
    named = {"scheme": args.scheme, "prompts": prompts}
    overrides = args.set + [f"{key}={value}" for key, value in named.items() if value]
    recipe = load_recipe(args.recipe, overrides)  # its mistakes show before any data are read

    from transformers.utils.logging import disable_progress_bar

    from hcp_mer.experiment import run_loso
    from hcp_mer.reporting.publish import announce
    from hcp_mer.training.memory import peak_memory

    disable_progress_bar()  # a bar for loading 96 tensors says nothing; ours stay
    repo_id = args.hub_model_id or args.output_dir.resolve().name
    # Not accelerate's word for it: it would open the process group before run_loso sets it up.
    if args.push_to_hub and os.environ.get("RANK", "0") == "0":
        from hcp_mer.hub.run import check_target, push_run

        repo_id = check_target(repo_id, args.hub_private_repo)  # refused now, not after training
    metrics = run_loso(
        recipe,
        args.dataset,
        args.output_dir,
        args.report_to,
        test_dataset=args.test_dataset,
        leave_one_dataset_out=args.leave_one_dataset_out,
        controls=args.controls,
        measure_leak=args.measure_leak,
    )
    if metrics is not None:
        print(f"peak memory: {peak_memory()}")
        announce(args.output_dir, metrics)
    if metrics is not None and args.push_to_hub:
        pushed = push_run(args.output_dir, repo_id, args.hub_private_repo)
        print(f"published:  {pushed.url} at revision {pushed.revision}")


if __name__ == "__main__":
    run_script(main)

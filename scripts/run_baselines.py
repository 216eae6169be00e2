r"""Peers on the same folds, pairs and metrics as train_loso: one table, with what each took.

    python scripts/run_baselines.py --recipe hub_configs/recipes/casme2-3class.yaml \
        --dataset pairs/casme2 --output_dir runs/casme2 --methods all
    python scripts/run_baselines.py --recipe hub_configs/recipes/demo.yaml \
        --dataset runs/demo-data/pairs --output_dir runs/demo

Without --methods those that take under a minute on the demo; --list shows all. Where --output_dir
is a finished run of the same recipe, its report gets their rows. A stopped run goes on where it
was. `--debug` shows the traceback of a mistake that otherwise ends in one line.
"""

import argparse
import os
import sys
from pathlib import Path

from hcp_mer.errors import UserError, run_script

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="show the methods, and end")
    parser.add_argument("--recipe", type=Path, help="YAML, see hub_configs/recipes/")
    parser.add_argument("--dataset", nargs="+", help="pairs, as for train_loso.py")
    parser.add_argument("--test_dataset", nargs="+", help="as for train_loso.py")
    parser.add_argument("--leave_one_dataset_out", action="store_true", help="as for train_loso.py")
    parser.add_argument("--output_dir", type=Path, help="a run folder, finished or new")
    parser.add_argument(
        "--methods", nargs="+", default=[], metavar="NAME", help="see --list; or all"
    )
    parser.add_argument("--scheme", help="label scheme, as for train_loso.py")
    parser.add_argument("--prompts", help="as for train_loso.py")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="default: the recipe's")
    parser.add_argument(
        "--corpus_dir",
        nargs="+",
        default=[],
        metavar="CORPUS=DIR",
        help="the corpora, for peers that read frames; CORPUS:NAME=DIR if prepared with --name",
    )
    parser.add_argument("--face_weights", help="as for prepare_dataset.py, for the same peers")
    parser.add_argument(
        "--limit_folds", type=int, metavar="N", help="try the first N folds: no result"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    args = parser.parse_args()
    if args.quiet:
        os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported
    if args.list:
        show_methods()
        return
    missing = [key for key in ("recipe", "dataset", "output_dir") if getattr(args, key) is None]
    if missing:
        raise UserError(f"--{' and --'.join(missing)} must be given (or --list).")
    if len(set(args.seeds)) < len(args.seeds):
        raise UserError(f"--seeds must be different whole numbers, got {args.seeds}.")

    from hcp_mer.baselines.registry import chosen
    from hcp_mer.training.recipe import load_recipe, seen_from

    chosen(args.methods)  # a misspelt name shows before any data are read
    prompts = seen_from(args.recipe, args.prompts) if args.prompts else None
    named = {"scheme": args.scheme, "prompts": prompts}
    overrides = args.set + [f"{key}={value}" for key, value in named.items() if value]
    recipe = load_recipe(args.recipe, overrides)

    from transformers.utils.logging import disable_progress_bar

    from hcp_mer.comparison import run_baselines
    from hcp_mer.reporting.peers import print_peers

    disable_progress_bar()
    result = run_baselines(
        recipe,
        args.dataset,
        args.output_dir,
        args.methods,
        test_dataset=args.test_dataset,
        leave_one_dataset_out=args.leave_one_dataset_out,
        corpora=args.corpus_dir,
        face_weights=args.face_weights,
        seeds=args.seeds,
        limit_folds=args.limit_folds,
    )
    print_peers(result)
    tell_the_rest(result, args)


def tell_the_rest(result, args) -> None:
    from hcp_mer.comparison import RESULT, RESULT_IN_WORDS

    if not args.limit_folds:
        print(f"written: {args.output_dir / RESULT}, {args.output_dir / RESULT_IN_WORDS}")
        if (args.output_dir / "report.html").is_file():
            print(f"report:  {args.output_dir / 'report.html'}")
    for name, reason in result["not_run"].items():
        print(f"not run: {name}: {reason}")
    if result["not_run"] and args.methods and "all" not in args.methods:
        sys.exit(2)  # somebody asked for it by name


def show_methods() -> None:
    from hcp_mer.baselines.registry import PEERS, is_heavy
    from hcp_mer.reporting.peers import print_methods

    costs = {name: "heavy" if is_heavy(name) else "light" for name in PEERS}
    rows = [(name, costs[name], peer.paper, peer.needs) for name, peer in PEERS.items()]
    print_methods(rows, ("method", "cost", "paper", "needs"))
    print("light: under a minute on the demo, run by default; heavy: run by name, or with all")


if __name__ == "__main__":
    run_script(main)

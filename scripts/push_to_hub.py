r"""Publish a run, prepared pairs or the metric on the Hugging Face Hub; load it back and compare.

    python scripts/push_to_hub.py --run runs/casme2 --repo_id OWNER/hcp-mer-casme2 --folds
    python scripts/push_to_hub.py --run runs/demo --repo_id demo --dry_run    # sends nothing

`--dataset PAIRS --repo_id pairs` publishes pairs for load_dataset, `--metric --repo_id mer` the
metric for evaluate.load. Sign in first: `hf auth login`, or HF_TOKEN. A push that broke off is
completed by repeating it. `--debug` shows the traceback of a mistake that ends in one line.
"""

import argparse
from pathlib import Path
from typing import Any

from hcp_mer.errors import UserError, run_script


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path, help="the --output_dir of train_loso → a model")
    what.add_argument("--dataset", type=Path, help="folder of prepared pairs → a dataset")
    what.add_argument("--metric", action="store_true", help="accuracy, UF1 and UAR → a Space")
    parser.add_argument("--repo_id", required=True, help="OWNER/NAME, or NAME for one of your own")
    parser.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        help="only you can see it; without either, pairs of unknown origin are private",
    )
    parser.add_argument(
        "--folds", action="store_true", help="of a run: each fold's weights, on a branch of its own"
    )
    parser.add_argument(
        "--i_have_the_right_to_share",
        action="store_true",
        help="of pairs: the corpus's licence lets you; they are private all the same",
    )
    parser.add_argument("--dry_run", action="store_true", help="list what would be sent")
    args = parser.parse_args()
    if args.folds and not args.run:
        raise UserError("--folds belongs to --run: pairs and metric have no folds.")
    if args.i_have_the_right_to_share and not args.dataset:
        raise UserError("--i_have_the_right_to_share belongs to --dataset.")
    return args


def push(args: argparse.Namespace) -> Any:
    if args.run:
        from hcp_mer.hub.run import push_run

        return push_run(args.run, args.repo_id, args.private, args.folds, args.dry_run)
    if args.dataset:
        from hcp_mer.hub.pairs import push_pairs

        right = args.i_have_the_right_to_share
        return push_pairs(args.dataset, args.repo_id, args.private, right, args.dry_run)
    from hcp_mer.hub.metric import push_metric

    return push_metric(args.repo_id, args.private, args.dry_run)


def show_files(pushed: Any, title: str) -> None:
    """A table of what a dry run found: branch where there are several, file, bytes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD)
    branches = len({file[0] for file in pushed.files if len(file) == 3}) > 1
    for name in (["branch"] if branches else []) + ["file"]:
        table.add_column(name, overflow="fold")
    table.add_column("bytes", justify="right")
    for *place, size in pushed.files:
        table.add_row(*(place if branches else place[-1:]), f"{size:,}")
    console = Console(markup=False, highlight=False)
    console.print(table)
    total = sum(file[-1] for file in pushed.files)
    console.print(f"{len(pushed.files)} files, {total:,} bytes. Nothing was sent.")


def lines_to_load(args: argparse.Namespace, name: str, revision: str) -> list[str]:
    """Python that loads what was pushed, at the very commit that was compared."""
    place = f'"{name}", revision="{revision}"'
    if args.run:
        from hcp_mer.reporting.card import usage_lines

        return usage_lines(name, "magnified.png", "flow.png", revision)
    if args.dataset:
        return ["from datasets import load_dataset", f'pairs = load_dataset({place})["train"]']
    return ["import evaluate", f"metric = evaluate.load({place})"]


def main() -> None:
    args = parse()

    from huggingface_hub.utils.logging import set_verbosity_error
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar for loading 96 tensors says nothing
    set_verbosity_error()  # nor a warning for each branch that is up to date
    pushed = push(args)
    seen = {True: "private", False: "public", None: "public, unless your settings say otherwise"}
    if args.dry_run:
        show_files(pushed, f"{args.repo_id}: {seen[pushed.private]}")
        return
    print(f"url:      {pushed.url} ({seen[pushed.private]})")
    print(f"revision: {pushed.revision}")
    for branch in getattr(pushed, "branches", [])[1:]:
        print(f"branch:   {branch}")
    print("load it:")
    for line in lines_to_load(args, pushed.repo_id, pushed.revision):
        print(f"    {line}")


if __name__ == "__main__":
    run_script(main)

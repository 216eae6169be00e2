r"""Look before you train: machine, backbone, data; one line per check, and what to do about it.

    python scripts/doctor.py --dataset pairs/casme2 --corpus casme2 --data_dir CASME2
    python scripts/doctor.py --recipe hub_configs/recipes/demo.yaml      # seconds, no network

Each line is ok, look (it may be meant so) or wrong (mend it first). Exit code 1 if one is wrong.
A backbone on the Hub that is not in the cache is fetched, as training would do.
`--debug` shows the traceback of a mistake that otherwise ends in one line.
"""

import argparse
import os
import sys
import textwrap
from pathlib import Path

from hcp_mer.errors import UserError, run_script

ROOT = Path(__file__).parents[1]
WIDTH = 100
NAME, STATE = 13, 6
COMMANDS = ("hf ", "pip ", "make ")
COLOURS = {"ok": "green", "look": "yellow", "wrong": "bold red"}

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    from hcp_mer.data.corpora import READERS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = ROOT / "hub_configs" / "recipes" / "casme2-3class.yaml"
    parser.add_argument("--recipe", type=Path, default=default, help="what is to be trained")
    parser.add_argument("--backbone", help="Hub id or folder, in place of the recipe's")
    parser.add_argument("--dataset", nargs="+", help="pairs, as train_loso takes them")
    parser.add_argument("--corpus", choices=[*READERS], help="its layout on disk")
    parser.add_argument("--data_dir", type=Path, help="the corpus, unpacked")
    parser.add_argument("--scheme", help="label scheme, where the dataset's name does not say it")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the recipe, as train_loso does",
    )
    args = parser.parse_args()
    if (args.corpus is None) != (args.data_dir is None):
        raise UserError("--corpus and --data_dir belong together: give both.")

    from hcp_mer.training.recipe import load_recipe

    overrides = args.set + ([f"scheme={args.scheme}"] if args.scheme else [])
    if args.backbone is not None:
        folder = Path(args.backbone)
        chosen = folder.resolve() if folder.is_dir() else args.backbone
        overrides.append(f"backbone={chosen}")
        if str(chosen) != load_recipe(args.recipe).backbone:
            overrides.append("backbone_revision=null")  # the recipe's is another repository's
    recipe = load_recipe(args.recipe, overrides)

    from transformers.utils.logging import disable_progress_bar

    from hcp_mer.doctor import examine

    disable_progress_bar()
    print(f"{args.recipe} with {recipe.backbone}")
    findings = examine(recipe, args.dataset, args.corpus, args.data_dir, tell=show)
    states = [finding.state for finding in findings]
    print(", ".join(f"{states.count(state)} {state}" for state in COLOURS))
    sys.exit(int("wrong" in states))


def show(finding) -> None:
    """Print a finding in lines of at most WIDTH columns; commands can be copied as they stand."""
    from rich.console import Console
    from rich.text import Text

    indent = " " * (NAME + STATE)
    lines = textwrap.wrap(finding.found, WIDTH - len(indent), break_on_hyphens=False)
    text = Text(f"{finding.name:<{NAME}}")
    text.append(f"{finding.state:<{STATE}}", style=COLOURS[finding.state])
    text.append(f"\n{indent}".join(lines))
    for line in finding.advice.splitlines():
        is_command = line.startswith(COMMANDS)
        parts = textwrap.wrap(line, WIDTH - 8, break_long_words=False, break_on_hyphens=False)
        joint = " \\\n          " if is_command else "\n      "
        text.append(f"\n    {'  ' if is_command else '→ '}" + joint.join(parts))
    Console(soft_wrap=True, highlight=False).print(text)


if __name__ == "__main__":
    run_script(main, check=False)  # it looks for itself, and goes on

r"""How a run's models stand disturbed clips: wrong key frames, noise, JPEG, blur, a shifted crop.

    python scripts/run_robustness.py --run runs/casme2 --corpus casme2 --data_dir CASME2 \
        --output_dir runs/casme2-robustness
    python scripts/run_robustness.py --run runs/demo --corpus casme2 \
        --data_dir runs/demo-data/corpus --output_dir runs/demo-robustness

Motion is measured anew from the disturbed frames, as the pairs were made; each clip is asked of the
models that never saw its subject. Nothing is trained. A stopped one goes on where it was; --levels
noise=1,2,4 chooses levels. `--debug` shows the traceback of a mistake.
"""

import argparse
import os
from pathlib import Path

from hcp_mer.errors import UserError, run_script

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    from hcp_mer.data.corpora import READERS
    from hcp_mer.robustness.disturbances import DISTURBANCES, levels_asked

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="the --output_dir of train_loso")
    parser.add_argument("--corpus", nargs="+", required=True, choices=[*READERS], metavar="NAME")
    parser.add_argument("--data_dir", nargs="+", type=Path, required=True, help="one per corpus")
    parser.add_argument("--name", nargs="+", help="their column dataset, where it is not clear")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--dataset", nargs="+", help="the run's pairs, if they were moved")
    parser.add_argument(
        "--disturbances", nargs="+", metavar="NAME", help=f"some of {', '.join(DISTURBANCES)}"
    )
    parser.add_argument("--levels", nargs="+", default=[], metavar="NAME=LEVEL,…")
    parser.add_argument("--no_peer", action="store_true", help="the model alone")
    parser.add_argument("--num_proc", type=int, default=2, help="processes that measure motion")
    for name in ("flow", "magnifier", "face"):
        parser.add_argument(f"--{name}_weights", metavar="FILE", help="if the pairs needed it")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    args = parser.parse_args()
    names = args.name or [None] * len(args.corpus)
    if not len(args.corpus) == len(args.data_dir) == len(names):
        raise UserError("give --corpus, --data_dir and, if at all, --name equally often.")
    if args.num_proc < 1:
        raise UserError(f"--num_proc must be at least 1, got {args.num_proc}.")
    if args.quiet:
        os.environ["TQDM_DISABLE"] = "1"
    asked = levels_asked(args.disturbances, args.levels)  # mistakes show before anything is read
    run(args, list(zip(args.corpus, args.data_dir, names)), asked)


def run(args: argparse.Namespace, corpora: list, asked: dict) -> None:
    from tqdm import tqdm
    from transformers.utils.logging import disable_progress_bar

    from hcp_mer.robustness.clips import find_clips, processes
    from hcp_mer.robustness.curves import write_curves
    from hcp_mer.robustness.levels import Levels
    from hcp_mer.training.reopen import reopen

    disable_progress_bar()
    weights = {
        "estimator": args.flow_weights,
        "magnifier": args.magnifier_weights,
        "face": args.face_weights,
    }
    opened = reopen(args.run, args.dataset)
    found = find_clips(opened, corpora, weights)
    needs_network = any(
        method.needs_weights for made in found.settings.values() for method in made.methods()
    )
    with processes(1 if needs_network else args.num_proc) as mapper:
        levels = Levels(opened, found, args.output_dir / "levels", mapper, not args.no_peer)
        levels.claim()
        levels.undisturbed()
        todo = [(name, level) for name, own in asked.items() for level in own]
        for name, level in tqdm(todo, desc="levels", unit="level"):
            levels.disturbed(name, level)
        write_curves(levels, asked, args.output_dir)
    print((args.output_dir / "robustness.md").read_text(encoding="utf-8"))
    print(f"curves: {args.output_dir / 'figures' / 'robustness.png'}")


if __name__ == "__main__":
    run_script(main)

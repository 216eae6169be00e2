r"""What a finished run knows from texts alone: classes that it never saw, and action units.

    python scripts/run_zero_shot.py --run runs/casme2 --hold_out_class surprise --action_units
    python scripts/run_zero_shot.py --run runs/demo --hold_out_class all --action_units

--hold_out_class trains every fold again without that class, then lets it answer among all classes
from the prompt groups; "all" does so for each class. --action_units trains nothing. Both write to
RUN/zero_shot/. A stopped one goes on where it was. `--debug` shows the traceback of a mistake.
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
    parser.add_argument("--run", type=Path, required=True, help="the --output_dir of train_loso")
    parser.add_argument("--hold_out_class", nargs="+", default=[], metavar="CLASS")
    parser.add_argument("--action_units", action="store_true", help="AUC and F1 of each unit")
    parser.add_argument("--dataset", nargs="+", help="the run's pairs, if they were moved")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    args = parser.parse_args()
    if not (args.hold_out_class or args.action_units):
        raise UserError("nothing is asked: give --hold_out_class CLASS, --action_units or both.")
    if args.quiet:
        os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported

    from transformers.utils.logging import disable_progress_bar

    from hcp_mer.training.reopen import reopen
    from hcp_mer.transfer.from_texts import write_action_units, write_unseen_classes
    from hcp_mer.transfer.unseen_class import classes_to_hold_out

    disable_progress_bar()
    run = reopen(args.run, args.dataset)
    names = classes_to_hold_out(run, args.hold_out_class)  # a misspelt one shows before training
    with run.folder.locked():
        if args.action_units:
            print(write_action_units(run))
        if names:
            print(write_unseen_classes(run, names))
    print(f"written to {args.run / 'zero_shot'}")


if __name__ == "__main__":
    run_script(main)

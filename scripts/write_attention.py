r"""Where the branches of a finished run look: attributions of every held-out clip (Fig. 5).

    python scripts/write_attention.py --run runs/casme2
    python scripts/write_attention.py --run runs/demo        # after `make demo`, seconds on a CPU

Writes <run>/attention.parquet, which make_figures.py and make_report.py draw; trains nothing. Each
clip is explained by the model that never saw its subject. Stopped, it goes on where it was.
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
    parser.add_argument("--run", type=Path, required=True, help="the --output_dir of train_loso")
    parser.add_argument("--dataset", nargs="+", help="where the run's pairs lie, if they moved")
    parser.add_argument(
        "--check",
        type=int,
        metavar="CLIPS",
        help="hold the attributions of so many clips against covering patch after patch",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    args = parser.parse_args()
    if args.check is not None and args.check < 1:
        raise UserError(f"--check takes a number of clips, 1 or more; got {args.check}.")
    if args.quiet:
        os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported

    from transformers.utils.logging import disable_progress_bar

    from hcp_mer.training.attention import write_attention
    from hcp_mer.training.attention_check import check_attention, in_words
    from hcp_mer.training.reopen import reopen

    disable_progress_bar()  # loading weights; ours stay
    run = reopen(args.run, args.dataset)
    with run.folder.locked():
        print(f"attention: {write_attention(run)}")
        if args.check:
            for branch, own in check_attention(run, args.check).items():
                print(f"{branch}: {in_words(own)}")


if __name__ == "__main__":
    run_script(main)

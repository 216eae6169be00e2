r"""From a corpus as it was unpacked to pairs: magnified apex and optical flow of every clip.

    python scripts/prepare_dataset.py --corpus casme2 --data_dir CASME2 --output_dir pairs/casme2
    make demo        # the same on a procedural corpus, in a minute

`--check` reads everything and writes nothing but check.json. Your own clips: `--corpus folder`,
whose template `--corpus folder --init DIR` writes. What could not be used, and why, is printed and
written to problems.json; a stopped one goes on. `--debug` shows a traceback.

The paper's own inputs are made by two networks, whose published weights you give:

    ... --flow flownet2 --flow_weights FILE --magnifier magnet --magnifier_weights FILE --alpha 10
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from hcp_mer.errors import UserError, run_script


def main() -> None:
    from hcp_mer.data.corpora import READERS, read_corpus
    from hcp_mer.data.pair_arguments import add_pair_arguments, pair_settings

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", choices=[*READERS], required=True, help="its layout on disk")
    parser.add_argument("--data_dir", type=Path, help="the corpus, unpacked")
    parser.add_argument("--output_dir", type=Path, help="new folder for pairs")
    parser.add_argument("--init", type=Path, help="write a template of a folder corpus there")
    parser.add_argument("--check", action="store_true", help="look at everything, make nothing")
    parser.add_argument("--name", help="value of the column dataset (default: the corpus)")
    parser.add_argument("--scheme", help="label scheme or protocol for the counts that are printed")
    parser.add_argument("--num_proc", type=int, default=2, help="processes")
    add_pair_arguments(parser)
    args = parser.parse_args()
    check_arguments(args)
    if args.init:
        from hcp_mer.data.folder_template import write_template

        write_template(args.init)
        print(f"wrote a template to {args.init}: fill in metadata.csv, see README.txt there")
        return
    settings = pair_settings(args)  # its mistakes show before anything is read
    reading = read_corpus(args.corpus, args.data_dir, args.name)
    if args.check:
        from hcp_mer.data.check import check_corpus, print_check

        found = check_corpus(reading, args.output_dir, args.num_proc, args.scheme).to_dict()
        print_check(found)
        sys.exit(0 if found["usable"] else 2)
    if args.face == "none":  # the user's word that these are crops
        bare = tuple(replace(record, face=None) for record in reading.records)
        reading = replace(reading, records=bare, whole_frames=False)
    prepare(reading, settings, args)


def check_arguments(args: argparse.Namespace) -> None:
    if args.init and args.corpus != "folder":
        raise UserError("--init writes a template of your own corpus: give --corpus folder.")
    needed = ["data_dir"] if args.check else ["data_dir", "output_dir"]
    missing = [name for name in needed if getattr(args, name) is None]
    if missing and not args.init:
        raise UserError(f"--{' and --'.join(missing)} must be given.")
    if args.name is not None and not args.name.strip():
        raise UserError("--name must not be empty: it tells corpora apart.")
    if args.num_proc < 1:
        raise UserError(f"--num_proc must be at least 1, got {args.num_proc}.")


def prepare(reading, settings, args: argparse.Namespace) -> None:
    from hcp_mer.data.builders import PROBLEMS, prepare_pairs
    from hcp_mer.data.check import count_classes, print_problems

    count_classes(reading, args.scheme)  # a misspelt scheme shows now, not after an hour
    start = time.perf_counter()
    done = prepare_pairs(reading, args.output_dir, settings, args.num_proc, args.apex_plots)
    speed = "" if done.reused else f", {done.num_pairs / (time.perf_counter() - start):.1f} clips/s"
    verb = "reused" if done.reused else "replaced the pairs by" if done.replaced else "wrote"
    spotted = f"{done.num_spotted} apexes spotted"
    print(f"{verb} {done.num_pairs} pairs in {done.folder} ({spotted}{speed})")
    if done.work:
        print(done.work)
    for count in count_classes(done.reading, args.scheme)[0]:
        print(count)
    if done.problems:
        print(f"left out or noteworthy, {len(done.problems)}; all in {done.folder / PROBLEMS}:")
    print_problems(done.problems[:10])


if __name__ == "__main__":
    run_script(main)

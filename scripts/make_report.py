r"""Score runs again and rewrite reports; tables for a paper; compare two runs. Trains nothing.

    python scripts/make_report.py --run runs/casme2     # metrics.json, report, figures, card
    python scripts/make_report.py --run runs/demo       # after `make demo`, a minute on a CPU
    python scripts/make_report.py --run runs/smic --run runs/casme2 --latex tables.tex
    python scripts/make_report.py --compare runs/casme2 runs/other --json difference.json

Reads what training wrote (predictions.parquet, baselines/, ablations/, task.json, recipe.yaml, …).
--latex: the paper's tables as it prints them, below them these runs. --compare: differences over
the same subjects, with intervals. --partial: of a run that has not ended the folds that are there,
into RUN/partial. `--debug` shows the traceback of a mistake that otherwise ends in one line.
"""

import argparse
from pathlib import Path

from hcp_mer.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--run", type=Path, nargs="+", action="extend", help="the --output_dir of train_loso"
    )
    what.add_argument("--compare", type=Path, nargs=2, metavar=("A", "B"), help="two run folders")
    parser.add_argument("--latex", type=Path, metavar="FILE", help="with --run: tables, no report")
    parser.add_argument("--json", type=Path, metavar="FILE", help="with --compare: the numbers")
    parser.add_argument("--partial", action="store_true", help="with --run: score finished folds")
    args = parser.parse_args()
    if args.compare:
        if args.latex or args.partial:
            raise UserError("--latex and --partial go with --run, not with --compare: leave them.")
        _compare(args.compare, args.json)
    elif args.json:
        raise UserError("--json goes with --compare; a run's numbers are in its metrics.json.")
    elif args.latex:
        _write_latex(args.run, args.latex, args.partial)
    else:
        for run in args.run:
            _report(run, args.partial)


def _report(run: Path, partial: bool) -> None:
    from hcp_mer.recorded import pairs_at_hand
    from hcp_mer.reporting.publish import announce, publish
    from hcp_mer.training.run_folder import RunFolder
    from hcp_mer.unfinished import find_unfinished, forget_partial, score_partial

    settings = RunFolder(run).settings()
    state = find_unfinished(run, settings)
    if state and not partial:
        raise UserError(f"{state.in_words(run)}; or score what is there with --partial.")
    if state:
        announce(*score_partial(run, settings, state))
    else:
        announce(run, publish(run, pairs_at_hand(settings)))
        forget_partial(run)


def _write_latex(runs: list[Path], path: Path, partial: bool) -> None:
    from hcp_mer.reporting.latex import write_latex
    from hcp_mer.reporting.scores import write_metrics
    from hcp_mer.training.run_folder import RunFolder
    from hcp_mer.unfinished import find_unfinished, score_partial

    scored = {}
    for run in runs:
        settings = RunFolder(run).settings()
        state = find_unfinished(run, settings)
        if state and not partial:
            raise UserError(f"{state.in_words(run)}; or score what is there with --partial.")
        scored[str(run)] = score_partial(run, settings, state)[1] if state else write_metrics(run)
    write_latex(scored, path)
    print(f"{path}: \\input it in a document that has \\usepackage{{booktabs}}")


def _compare(runs: list[Path], path: Path | None) -> None:
    from hcp_mer.files import write_json
    from hcp_mer.reporting.compare import compare_runs, print_comparison
    from hcp_mer.training.run_folder import RunFolder
    from hcp_mer.unfinished import find_unfinished

    for run in runs:
        state = find_unfinished(run, RunFolder(run).settings())
        if state:
            raise UserError(f"{state.in_words(run)}.")
    comparison = compare_runs(*runs)
    print_comparison(comparison)
    if path:
        write_json(path, comparison)


if __name__ == "__main__":
    run_script(main)

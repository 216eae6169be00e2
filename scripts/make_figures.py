r"""Draw the paper's figures from the files of finished runs.

    python scripts/make_figures.py confusion --run runs/smic --run runs/casme2 --output fig9.pdf
    python scripts/make_figures.py all --run runs/demo --output_dir figures    # after `make demo`

Reads result files, trains nothing; where a file is missing it says which command makes it. What
each figure needs: tsne (Fig. 4) embeddings.parquet and, where run_ablations.py left them, those of
the ablations; attention (Fig. 5) write_attention.py's file; cross_mapping and bipartite (Fig. 6)
annotated action units; confusion (Fig. 9) one run or several; ablation (Fig. 3) the folder of
run_ablations.py; leak a run with --measure_leak; gates, learning_curves, scores and subjects a run.
`--debug` shows the traceback of a mistake that otherwise ends in one line.
"""

import argparse
from pathlib import Path

from hcp_mer.errors import UserError, run_script
from hcp_mer.reporting.run_figures import FIGURES, FORMATS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", choices=[*FIGURES, "all"], help="which one")
    parser.add_argument(
        "--run", type=Path, action="append", required=True, help="a run folder; may be repeated"
    )
    parser.add_argument("--output", type=Path, help="the file to write: .png, .pdf or .svg")
    parser.add_argument("--output_dir", type=Path, help="with all: the folder for its files")
    parser.add_argument("--format", choices=FORMATS, default="png", help="with all (png)")
    parser.add_argument("--dark", action="store_true", help="light on dark")
    parser.add_argument("--dataset", nargs="+", help="where the run's pairs lie, if they moved")
    args = parser.parse_args()
    for run in args.run:
        if not run.is_dir():
            raise UserError(f"{run} is no folder: give the --output_dir of a finished run.")
    if args.figure == "all":
        _draw_all(args)
        return
    if args.output is None or args.output.suffix.removeprefix(".").lower() not in FORMATS:
        raise UserError(
            f"--output must be a file that ends in .{', .'.join(FORMATS)}; got {args.output}."
        )
    _draw(args, args.figure, args.output)
    print(args.output)


def _draw_all(args: argparse.Namespace) -> None:
    """Every figure that the run allows; the others are named with what they lack."""
    if args.output_dir is None or args.output is not None or len(args.run) > 1:
        raise UserError("all draws one --run into a folder: give --output_dir, no --output.")
    for name in FIGURES:
        path = args.output_dir / f"{name}.{args.format}"
        try:
            _draw(args, name, path)
        except UserError as error:
            print(f"{name} left out: {error}")
        else:
            print(path)


def _draw(args: argparse.Namespace, name: str, path: Path) -> None:
    from hcp_mer.files import make_folder, write_whole
    from hcp_mer.reporting import figures
    from hcp_mer.reporting.run_figures import draw_figure

    theme = figures.DARK if args.dark else figures.LIGHT
    figure = draw_figure(name, args.run, theme, lambda run: _pairs_of(run, args.dataset))
    make_folder(path.parent)
    write_whole(path, figures.render(figure, path.suffix.removeprefix(".").lower()))


def _pairs_of(run: Path, dataset: list[str] | None):
    """The pairs of a run, for its example frames."""
    import yaml

    from hcp_mer.data.pairs import load_pairs
    from hcp_mer.training.run_folder import sources_of

    settings = run / "recipe.yaml"
    if not settings.is_file():
        raise UserError(f"{run} holds no run: there is no recipe.yaml. Train it first.")
    content = yaml.safe_load(settings.read_text(encoding="utf-8"))
    return load_pairs(*(dataset or sources_of(content)))


if __name__ == "__main__":
    run_script(main)

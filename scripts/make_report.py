r"""Score a run folder again and rewrite its metrics.json, report.html, figures and model card.

    python scripts/make_report.py --run runs/casme2
    python scripts/make_report.py --run runs/demo            # after `make demo`, seconds on a CPU

Reads what training wrote (predictions.parquet, baselines/, task.json, recipe.yaml), trains nothing.
`--debug` shows the traceback of a mistake that otherwise ends in one line.
"""

import argparse
from pathlib import Path

from hcp_mer.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="the --output_dir of train_loso")
    run_folder = parser.parse_args().run

    import yaml

    from hcp_mer.data.pairs import load_pairs
    from hcp_mer.reporting.publish import announce, publish
    from hcp_mer.training.run_folder import sources_of

    settings = run_folder / "recipe.yaml"
    if not settings.is_file():
        raise UserError(f"{run_folder} holds no run: there is no recipe.yaml. Train it first.")
    content = yaml.safe_load(settings.read_text(encoding="utf-8"))
    sources = sources_of(content)
    # Examples need the pairs; a run that was copied without them is reported without pictures.
    there = bool(sources) and all(Path(place).is_dir() for place in sources)
    pairs = load_pairs(*sources) if there else None
    if pairs is not None and pairs.fingerprint() != content.get("dataset_fingerprint"):
        print(f"{pairs.source} has changed since this run: the report goes without pictures")
        pairs = None
    announce(run_folder, publish(run_folder, pairs))


if __name__ == "__main__":
    run_script(main)

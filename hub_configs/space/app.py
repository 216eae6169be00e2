"""The page as a Hugging Face Space. README.md beside this file says how to set one up."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")  # cores of the smallest machine

from hcp_mer.errors import UserError, run_script

HERE = Path(__file__).resolve().parent
# In a Space hub_configs/ is copied beside this file; in the repository this file lies in it.
RECIPES = [
    place / "recipes" / "embedded-3class.yaml" for place in (HERE / "hub_configs", HERE.parent)
]


def chosen_model() -> tuple[str, str | None]:
    """A Hub id with its revision from the Space's variables; else the zero-shot recipe.

    Raises UserError where there is neither.
    """
    model = os.environ.get("MODEL_ID", "").strip()
    if model:
        return model, os.environ.get("MODEL_REVISION", "").strip() or None
    for recipe in RECIPES:
        if recipe.is_file():
            return str(recipe), None
    raise UserError(
        "no model: set the Space's variable MODEL_ID to a model on the Hub, or copy hub_configs/ "
        "from the repository into the Space (2 MB), as its README says."
    )


def main() -> None:
    from hcp_mer.recognition.page_server import serve

    model, revision = chosen_model()
    port = int(os.environ.get("GRADIO_SERVER_PORT", "7860"))
    serve(model, "0.0.0.0", port, **({"revision": revision} if revision else {}))


if __name__ == "__main__":
    run_script(main)

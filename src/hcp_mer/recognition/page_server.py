"""A page on a port: what scripts/demo.py and a Space run."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.errors import UserError
from hcp_mer.motion.face import FaceSettings
from hcp_mer.recognition import page_view as view
from hcp_mer.recognition.film_pipeline import MicroExpressionPipeline, load_pipeline
from hcp_mer.recognition.page import MOST_MB, Page
from hcp_mer.recognition.page_examples import write_examples
from hcp_mer.recognition.page_uploads import Uploads

if TYPE_CHECKING:
    from gradio import Blocks

MOST_VISITS = 200  # of which what the slider needs is kept, 1 to 2 MB each
EMBEDDED = "face-motion-clip"
# Read by Gradio and by the Hub's client: nobody is told that this page is used, nothing of a visit
# is written into the browser, and none of what the environment may say makes a public link.
_PRIVATE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def serve(
    model: str | Path,
    host: str = "127.0.0.1",
    port: int = 7860,
    face: FaceSettings | None = None,
    **hub: Any,
) -> None:
    """Load a model, draw the examples, and serve the page until Ctrl-C or SIGTERM.

    Args: `model` and `hub`, see `load_pipeline`; `port`, 0 for any that is free.
    Raises:
        UserError: no such model, a port that is taken, a package of the extra "demo" is missing.
    """
    port = free_port(host, port)  # before anything that takes long
    _check_installed()
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of weights that load in an instant
    pipe = load_pipeline(model, face=face or FaceSettings("cascade"), **hub)
    signal.signal(signal.SIGTERM, _stop)
    try:
        with opened_page(pipe, about(model, pipe), host, port) as address:
            print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        print()


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


def free_port(host: str, port: int) -> int:
    """The port, or for 0 one that is free. Raises UserError where it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return probe.getsockname()[1]
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"no page can be served on {host}, port {port} ({why}). Choose another --port or "
            "--host."
        ) from None


def _check_installed() -> None:
    # Not imported yet: Gradio decides at its import where it writes.
    for name in ("gradio", "jinja2", "matplotlib"):
        if find_spec(name) is None:
            raise UserError(
                f'{name} is missing, which the page is made with: pip install "hcp_mer[demo]"'
            )


def about(model: str | Path, pipe: MicroExpressionPipeline) -> dict[str, str]:
    """What the page says of its model; a folder by its name alone."""
    path = Path(model)
    name = str(model)  # a Hub id
    if path.exists():
        own = path.resolve()
        name = own.parent.name if own.name == "model" else own.stem
    classes = ", ".join(pipe.model.config.id2label.values())
    return {"model_name": name, "classes": classes, "trained": _trained(path, pipe)}


def _trained(model: Path, pipe: MicroExpressionPipeline) -> str:
    if model.suffix not in (".yaml", ".yml"):
        return "What the model learnt from, and how well it does on new people, its card says."
    if pipe.model.config.backbone == EMBEDDED:
        return (
            "The model answers zero-shot: all that it knows comes from faces drawn by a program, "
            "it has never seen a person, and nobody has measured how well it does on people."
        )
    return "The model answers zero-shot: nothing was trained for these classes."


@contextmanager
def opened_page(
    pipe: MicroExpressionPipeline, about: dict[str, str], host: str, port: int
) -> Iterator[str]:
    """The page's address while it is served; everything it wrote is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="hcp_mer_page_") as folder:
        places = [Path(folder) / name for name in ("arrivals", "uploads", "examples")]
        for place in places:
            place.mkdir()
        arrivals, uploads, drawn = places
        os.environ.update(_PRIVATE, GRADIO_TEMP_DIR=str(arrivals))
        waiting = Uploads(arrivals, uploads)
        examples = write_examples(drawn)
        blocks = Page(pipe, examples, waiting, about).blocks()
        looks = {"theme": view.theme(), "css": view.css([one.picture for one in examples])}
        try:
            yield _launch(blocks, waiting, host, port, looks)
        finally:
            blocks.close(verbose=False)


def _launch(blocks: Blocks, uploads: Uploads, host: str, port: int, looks: dict[str, Any]) -> str:
    _, address, _ = blocks.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
        max_file_size=MOST_MB * 2**20,
        state_session_capacity=MOST_VISITS,
        app_kwargs={"lifespan": uploads.swept, "docs_url": None, "redoc_url": None},
        **looks,
    )
    return address

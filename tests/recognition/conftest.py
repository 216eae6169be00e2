"""A page without a server."""

import asyncio
import warnings

import pytest

from hcp_mer.recognition.page import Page
from hcp_mer.recognition.page_uploads import Uploads
from tests.recognition.stand_in_page import ABOUT, Pipe, arrive


@pytest.fixture(scope="module")
def gradio_alone():
    """Gradio makes event loops that it never closes: Python would complain of them much later.

    And what its own libraries warn each other of at its import is not ours to mend.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gradio  # noqa: F401
    made, make = [], asyncio.new_event_loop

    def noted():
        made.append(make())
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", noted)
        yield
    for loop in made:
        loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def pipe():
    return Pipe()


@pytest.fixture
def folders(tmp_path):
    for name in ("arrivals", "uploads"):
        (tmp_path / name).mkdir()
    return tmp_path / "arrivals", tmp_path / "uploads"


@pytest.fixture
def page(pipe, folders, gradio_alone):
    own = Page(pipe, [], Uploads(*folders), ABOUT)
    own.blocks()
    return own


@pytest.fixture
def clip(folders):
    """A video that arrived as the server stores it: in a folder named by its content."""
    return arrive(folders[0])

"""One sentence for a library that is too old, before an import fails in words that help nobody."""

import transformers

LOWEST_TRANSFORMERS = (5, 18)


def check_transformers() -> None:
    """Raise ImportError, with what to do, below the lowest transformers that was tested."""
    found = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if found < LOWEST_TRANSFORMERS:
        lowest = ".".join(map(str, LOWEST_TRANSFORMERS))
        raise ImportError(
            f"HCP_MER needs transformers {lowest} or newer; this is {transformers.__version__}: "
            "pip install --upgrade transformers"
        )

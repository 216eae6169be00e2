"""What the loopback Hub finds wrong with a card: the required parts of the documented metadata."""

import re

import yaml

RESULT = {
    "task": {"type": str},
    "dataset": {"type": str, "name": str},
    "metrics": [{"type": str, "value": object}],
}
MODEL_INDEX = [{"name": str, "results": [RESULT]}]


def check_card(content: str) -> tuple[list[str], list[str]]:
    """(errors, warnings) about the YAML block on top of a README.md."""
    block = re.match(r"\s*---[ \t]*\r?\n(.*?\r?\n)??---[ \t]*(\r?\n|$)", content, re.DOTALL)
    try:
        metadata = yaml.safe_load(block[1] or "") if block else None
    except yaml.YAMLError as error:
        return [f"Invalid YAML: {error}"], []
    if metadata is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(metadata, dict):
        return [f"metadata must be a mapping, not a {type(metadata).__name__}"], []
    if "model-index" not in metadata:
        return [], []
    return list(violations(metadata["model-index"], MODEL_INDEX, "model-index")), []


def violations(value, shape, where):
    """Sentences on what of `shape` the value lacks; a list in `shape` means one or more."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f'"{where}" must be of type object'
            return
        for key, inner in shape.items():
            if key in value:
                yield from violations(value[key], inner, f"{where}.{key}")
            else:
                yield f'"{where}.{key}" is required'
    elif isinstance(shape, list):
        if not isinstance(value, list) or not value:
            yield f'"{where}" must be an array with at least one item'
            return
        for index, item in enumerate(value):
            yield from violations(item, shape[0], f"{where}[{index}]")
    elif value is None or not isinstance(value, shape):
        yield f'"{where}" must be a {"value" if shape is object else "string"}'

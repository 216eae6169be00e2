"""HCP_MER: holistic-componential prompt groups for micro-expression recognition.

The public names are imported when they are first used, so that `import hcp_mer` costs nothing.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "HcpMerConfig": "model.configuration_hcp_mer",
    "HcpMerModel": "model.modeling_hcp_mer",
    "HcpMerImageProcessor": "model.image_processing_hcp_mer",
    "MicroExpressionPipeline": "recognition.film_pipeline",
    "MotionSettings": "model.motion_hcp_mer",
    "estimate_flow": "model.flow_hcp_mer",
    "magnify": "model.magnification_hcp_mer",
    "PairSettings": "motion.pair",
    "FaceSettings": "motion.face",
    "read_corpus": "data.corpora",
    "read_casme2": "data.casme2",
    "read_samm": "data.samm",
    "read_smic": "data.smic",
    "read_smic_hse": "data.smic",
    "read_casme3": "data.casme3",
    "read_folder": "data.folder",
    "check_corpus": "data.check",
    "prepare_pairs": "data.builders",
    "load_pairs": "data.pairs",
    "write_corpus": "data.synthetic.corpus",
    "load_recipe": "training.recipe",
    "run_loso": "experiment",
    "zero_shot_pipeline": "zero_shot",
    "load_pipeline": "recognition.film_pipeline",
    "load_fold": "training.checkpoint",
    "UserError": "errors",
}

__all__ = [*_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'hcp_mer' has no attribute {name!r}")
    import_module("hcp_mer.requirements").check_requirements()
    return getattr(import_module(f"hcp_mer.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])

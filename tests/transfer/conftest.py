"""The fixtures of training: small runs on foreign pairs and the tiny CLIP."""

from tests.training.conftest import make_tiny_recipe, run_loso

__all__ = ["make_tiny_recipe", "run_loso"]

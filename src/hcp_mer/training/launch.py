"""How the processes of a run are started, and what accelerate makes of it."""

from __future__ import annotations

import logging
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hcp_mer.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

TRACKERS = ("tensorboard", "trackio", "wandb")


def open_accelerator(report_to: str | None, folder: Path) -> Accelerator:
    """An Accelerator, with a tracker that writes into `folder` if one is asked for.

    The tracker begins with `init_trackers`, when the folder is known to be ours.
    Raises:
        UserError: no such tracker, or it is not installed.
    """
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS
    from accelerate.utils import is_tensorboard_available, is_trackio_available, is_wandb_available

    # Processes wait for each other at the end of their folds: not for the usual ten minutes only.
    patient = [InitProcessGroupKwargs(timeout=timedelta(days=7))]
    if report_to is None:
        accelerator = Accelerator(kwargs_handlers=patient)
        _say_if_alone(accelerator)
        return accelerator
    available = dict(
        zip(TRACKERS, (is_tensorboard_available, is_trackio_available, is_wandb_available))
    )
    if report_to not in available or report_to not in LOGGER_TYPE_TO_CLASS:
        raise UserError(f"report_to must be one of {', '.join(TRACKERS)}; got {report_to!r}.")
    if not available[report_to]():
        raise UserError(f"{report_to} is not installed: pip install {report_to}")
    accelerator = Accelerator(
        log_with=report_to, project_dir=folder / "logs", kwargs_handlers=patient
    )
    _say_if_alone(accelerator)
    return accelerator


def _say_if_alone(accelerator: Accelerator) -> None:
    """`accelerate launch --cpu --num_processes 2` starts one process and says nothing."""
    asked_for_several = "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if on_cpu and asked_for_several and accelerator.num_processes == 1:
        logger.warning(
            "accelerate launch --cpu starts one process, whatever --num_processes says; this run "
            "goes on alone. For several type: ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 "
            f"{sys.argv[0]} … (what is finished is kept)."
        )

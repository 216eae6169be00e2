r"""Pretrain face-motion CLIP, the small backbone for machines without a network.

    python scripts/pretrain_backbone.py --output_dir /tmp/face-motion-clip    # half an hour
    python scripts/pretrain_backbone.py --output_dir /tmp/tiny --num_identities 20 --num_steps 50

The defaults made hub_configs/face-motion-clip. One thread: sums in another order would give other
last bits. Stopped, the same command goes on where it was. `--verify FOLDER` compares the result
with a folder made before. `--debug` shows the traceback of a mistake that otherwise ends in one
line.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from hcp_mer.errors import UserError, run_script

os.environ["OMP_NUM_THREADS"] = "1"


def main() -> None:
    from hcp_mer.pretraining.calibration import calibrate, validate
    from hcp_mer.pretraining.contrastive import pretrain
    from hcp_mer.pretraining.folder import save_backbone, weights_difference
    from hcp_mer.pretraining.samples import PretrainingSettings, render_samples
    from hcp_mer.pretraining.unfinished import Unfinished

    defaults = PretrainingSettings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", type=Path, required=True)
    for name in ("num_identities", "num_steps", "image_size", "patch_size", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    parser.add_argument("--num_proc", type=int, default=2, help="that render faces")
    parser.add_argument("--verify", type=Path, help="compare with the weights in this folder")
    args = parser.parse_args()
    if args.num_proc < 1:
        raise UserError(f"--num_proc must be at least 1; got {args.num_proc}.")
    if args.verify and not (args.verify / "model.safetensors").is_file():
        raise UserError(f"--verify {args.verify} has no model.safetensors to compare with.")
    given = {name: value for name, value in vars(args).items() if hasattr(defaults, name)}
    settings = replace(defaults, **given)
    settings.check()

    unfinished = Unfinished(args.output_dir, settings)
    last = settings.num_identities
    samples = unfinished.samples(lambda: render_samples(range(last), settings, args.num_proc))

    def on_step(step: int, loss: float) -> None:
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}/{settings.num_steps}: loss {loss:.3f}", flush=True)

    model, tokenizer, losses = pretrain(samples, settings, on_step, unfinished.snapshot)
    calibration = calibrate(model, tokenizer, settings.seed)
    unseen = range(last, last + settings.num_validation_identities)
    scores = validate(model, tokenizer, render_samples(unseen, settings, args.num_proc))
    save_backbone(model, tokenizer, settings, losses, scores, calibration, args.output_dir)
    unfinished.forget()
    print(f"people not seen in pretraining: {scores}; saved in {args.output_dir}")
    if args.verify:
        difference = weights_difference(args.output_dir, args.verify)
        print(f"largest difference from {args.verify}: {difference}")
        if difference:
            raise UserError(f"the weights differ from those in {args.verify} by {difference}.")


if __name__ == "__main__":
    run_script(main)

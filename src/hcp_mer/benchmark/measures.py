"""What `scripts/benchmark.py` can measure: command line in; result, tables and a summary out.

Each imports what it needs when it is called: a bare machine has not everything.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from hcp_mer.errors import UserError

Measured = tuple[dict[str, Any], list, str]


def loso(args: Namespace) -> Measured:
    """training, from the plain loop to the stacked folds"""
    import torch

    from hcp_mer.benchmark.ladder import LadderSettings, run_ladder
    from hcp_mer.benchmark.tables import loso_table

    if args.device != "cpu" and not (args.device.startswith("cuda") and torch.cuda.is_available()):
        raise UserError(f"--device {args.device} is not there; use cpu, or cuda on a GPU machine.")
    asked = {"steps": args.steps} if args.steps else {}
    all_sets = args.action_unit_sets == "all"
    settings = LadderSettings(args.classes, all_sets, args.folds, device=args.device, **asked)
    result = run_ladder(settings)
    used = "is used" if result["fast_linear"]["used"] else "gains nothing here and is not used"
    summary = (
        f"ratio_stock {result['ratio_stock']:.1f}, ratio_best {result['ratio_best']:.1f} "
        f"({result['best']}), losses differ by {result['max_loss_difference']:.0e} at most over "
        f"{result['compared_steps']} steps; the fast linear {used}"
    )
    return result, [loso_table(result)], summary


def prepare(args: Namespace) -> Measured:
    """clips a second of the motion preparation"""
    from hcp_mer.benchmark.prepare import run_prepare
    from hcp_mer.benchmark.tables import prepare_table

    result = run_prepare(**({"rounds": args.steps} if args.steps else {}))
    return result, [prepare_table(result)], f"two processes: {result['ratio']:.2f} times one"


def inference(args: Namespace) -> Measured:
    """a warm pipeline against two bare image forwards"""
    from hcp_mer.benchmark.inference import run_inference
    from hcp_mer.benchmark.tables import inference_table

    result = run_inference(args.classes, **({"rounds": args.steps} if args.steps else {}))
    summary = f"one clip of 224 px, {result['settings']['rounds']} rounds, random weights"
    return result, [inference_table(result)], summary


def flow(args: Namespace) -> Measured:
    """end-point errors of flow estimators on exact warps of faces"""
    from hcp_mer.benchmark.flow import run_flow
    from hcp_mer.benchmark.motion_tables import flow_summary, flow_tables
    from hcp_mer.benchmark.plots import flow_figure, save

    result = run_flow(**_asked(args))
    if args.plot:
        save(flow_figure(result), args.plot)
    return result, flow_tables(result), flow_summary(result)


def magnify(args: Namespace) -> Measured:
    """magnified apexes beside the true ones"""
    from hcp_mer.benchmark.magnify import run_magnify
    from hcp_mer.benchmark.motion_tables import magnify_summary, magnify_tables
    from hcp_mer.benchmark.plots import magnify_figure, save

    result = run_magnify(**_asked(args))
    if args.plot:
        save(magnify_figure(result), args.plot)
    return result, magnify_tables(result), magnify_summary(result)


def branches(args: Namespace) -> Measured:
    """whether fusion is at least as good as the better branch"""
    from hcp_mer.benchmark.branches import run_branches
    from hcp_mer.benchmark.plots import branches_figure, save
    from hcp_mer.benchmark.tables import branches_summary, branches_tables

    sizes = {"num_subjects": args.subjects, "clips_per_subject": args.clips}
    given = {name: size for name, size in sizes.items() if size is not None}
    result = run_branches(args.recipe, readings=args.readings, **given)
    if args.plot:
        save(branches_figure(result), args.plot)
    return result, branches_tables(result), branches_summary(result)


def backbone(args: Namespace) -> Measured:
    """frozen towers on procedural domains that their pretraining did not see"""
    from hcp_mer.benchmark.backbone import run_backbone
    from hcp_mer.benchmark.tables import backbone_summary, backbone_table
    from hcp_mer.training.recipe import load_recipe

    recipe = load_recipe(args.recipe)
    folders = args.backbone or [recipe.backbone_location()]
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f"the backbone {folder!r} is no folder here.")
    sizes = {"num_subjects": args.subjects, "clips_per_subject": args.clips}
    given = {name: size for name, size in sizes.items() if size is not None}
    result = run_backbone(
        recipe,
        {Path(folder).name: folder for folder in folders},
        closed=args.closed,
        domains_dir=args.domains_dir,
        **given,
    )
    return result, [backbone_table(result)], backbone_summary(result)


def _asked(args: Namespace) -> dict[str, Any]:
    """What was said on the command line; the rest is as the benchmark has it."""
    asked = {"scenes_per_face": args.scenes and (args.scenes, args.scenes), "rounds": args.steps}
    return {name: value for name, value in asked.items() if value} | {"weights": args.weights}

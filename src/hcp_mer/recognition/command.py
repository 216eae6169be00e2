"""What scripts/predict.py does, and prints."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from hcp_mer.errors import UserError
from hcp_mer.motion.face import FaceSettings
from hcp_mer.motion.film import open_film
from hcp_mer.motion.frames import read_frame
from hcp_mer.recognition.answer import Recognition
from hcp_mer.recognition.film_pipeline import MicroExpressionPipeline, load_pipeline

NOT_FOR = (
    "Not for judging what somebody feels, means or hides, nor for any decision about a person."
)


def open_pipeline(args: Namespace) -> MicroExpressionPipeline:
    """The pipeline that the command line asks for."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of weights that load in an instant
    weights = str(args.face_weights) if args.face_weights else None
    hub = {"revision": args.revision} if args.revision else {}
    face = FaceSettings(args.face, weights)
    return load_pipeline(args.model, face=face, unsure_below=args.unsure_below, **hub)


def answer_clip(args: Namespace) -> None:
    """One clip: a table or JSON on stdout, and what --save_dir asks for."""
    start = time.perf_counter()
    pipe = open_pipeline(args)
    loading_s = time.perf_counter() - start
    if args.video or args.frames:
        frames = {name: _number(name, getattr(args, name)) for name in ("onset", "apex")}
        source = args.video or args.frames
        found = pipe.recognise(
            source, **frames, offset=args.offset, fps_hz=args.fps, attention=bool(args.save_dir)
        )
    else:
        onset, apex = (read_frame(Path(place)) for place in (args.onset, args.apex))
        name = f"{Path(args.onset).name}, {Path(args.apex).name}"
        found = pipe.recognise_pair(onset, apex, name, attention=bool(args.save_dir))
    found = replace(found, seconds={"load": loading_s, **found.seconds})
    show(found, args.json)
    if args.timing:
        _show_timing(found, sys.stderr if args.json else sys.stdout)
    saved = save(found, args.save_dir, args.fps) if args.save_dir else []  # a full disk costs this
    if saved and not args.json:
        print("saved " + ", ".join(str(path) for path in saved))


def answer_intervals(args: Namespace) -> None:
    """A long video: each candidate interval with its answer."""
    pipe = open_pipeline(args)
    film = open_film(args.video, args.fps)
    said = []
    for found in pipe.recognise_intervals(film, args.window_ms):
        said.append(found.to_dict())  # plain values: pictures would pile up
        if not args.json:
            _show_one(found)
            sys.stdout.flush()  # the film may have hours to go
    for note in film.notes:
        print(note, file=sys.stderr)
    if args.json:
        print(json.dumps(said, indent=2, ensure_ascii=False))
    elif said:
        print(NOT_FOR)
    else:
        print(f"{args.video.name}: no movement that could be a micro-expression was found.")


def answer_list(args: Namespace) -> None:
    """Many clips, into a table; this process's share of them."""
    from tqdm import tqdm

    from hcp_mer.recognition import batch
    from hcp_mer.training.launch import open_accelerator

    clips = batch.read_list(args.input_list)
    batch.check_output(args.output)
    accelerator = open_accelerator(None, args.output.parent)
    pipe = open_pipeline(args)
    settings = {
        "clips": batch.list_mark(clips),
        "model": args.model,
        "revision": args.revision,
        "face": pipe.face.to_dict(),
        "fps_hz": args.fps,
        "unsure_below": pipe.unsure_below,
    }
    unfinished = batch.Unfinished(args.output, settings)
    with accelerator.main_process_first():
        unfinished.claim()

    def answer(clip: batch.ListedClip) -> Recognition:
        frames = {"onset": clip.onset, "apex": clip.apex, "offset": clip.offset}
        return pipe.recognise(clip.path, **frames, fps_hz=args.fps)

    process, processes = accelerator.process_index, accelerator.num_processes
    done = len(unfinished.answers())
    bar = tqdm(total=len(clips), initial=done, unit="clip", disable=process > 0)
    with bar:
        for _ in batch.answer_share(clips, answer, unfinished, process, processes):
            bar.update(processes)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        table = batch.write_table(clips, unfinished, args.output)
        _say_what_failed(table, args.output)
    accelerator.end_training()


def _say_what_failed(table, output: Path) -> None:
    from hcp_mer.recognition.batch import FAILED

    failed = table[table["answer"] == FAILED]
    for video, reason in zip(failed["video"][:10], failed["reason"]):
        print(f"not answered: {video}: {reason}")
    if len(failed) > 10:
        print(f"not answered: {len(failed) - 10} more, see {output.name}")
    counts = table["answer"].value_counts()
    print(", ".join(f"{count} {name}" for name, count in counts.items()) + f"; written to {output}")


def save(found: Recognition, folder: Path, fps_hz: float | None) -> list[Path]:
    """The picture, the answer as JSON and, where there is a clip, the magnified video; their paths.

    The video's names end in "-magnified": the clip itself may lie in the same folder.
    """
    from hcp_mer.files import make_folder, write_json
    from hcp_mer.recognition.movie import save_movie
    from hcp_mer.recognition.picture import save_picture

    make_folder(folder)
    stem = Path(found.name).stem or "clip"
    places = [folder / f"{stem}.png", folder / f"{stem}.json"]
    try:
        save_picture(found, places[0])
        write_json(places[1], found.to_dict())
        movie = folder / f"{stem}-magnified"
        for suffix in (".mp4", ".gif"):  # of an earlier answer
            movie.with_name(movie.name + suffix).unlink(missing_ok=True)
        if found.frames and found.views:  # where nothing moved there is nothing to magnify
            places += save_movie(found.frames, found.course, movie, fps_hz=fps_hz)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to ({error.strerror or error}): make room, or choose "
            "another --save_dir."
        ) from None
    return places


def show(found: Recognition, as_json: bool) -> None:
    """The answer on stdout, as JSON or as a table for people."""
    if as_json:
        print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        return
    _show_one(found)
    print(NOT_FOR)


def _show_one(one: Recognition) -> None:
    print(f"{one.name}: {one.answer}")
    print(f"  {one.reason}")
    if one.course is not None:
        print("  " + _key_frames(one))
    for score in one.scores:
        print(f"  {score['score']:.2f}  {score['label']}")
    units = (one.explanation or {}).get("action_units")
    if units:
        print("  nearest action units: " + ", ".join(map(_unit, units)))


def _key_frames(one: Recognition) -> str:
    said = one.to_dict()
    words = []
    for name in ("onset", "apex", "offset"):
        time_s = said[name]["time_s"]
        at = "" if time_s is None else f" ({1000 * time_s:.0f} ms)"
        words.append(f"{name} {said[name]['frame']}{at}")
    return (
        f"{', '.join(words)}; moved {said['movement_px']:.2f} px, noise {said['noise_px']:.2f} px"
    )


def _unit(unit: dict) -> str:
    value = unit.get("log_odds", unit.get("similarity"))
    return f"{unit['action_unit']} {unit['name']} ({value:+.2f})"


def _show_timing(found: Recognition, file: TextIO) -> None:
    for stage, seconds in found.seconds.items():
        print(f"  {seconds:7.3f} s  {stage}", file=file)


def _number(name: str, value: str | None) -> int | None:
    """A frame's number. Raises UserError for anything else."""
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise UserError(
            f"--{name} beside a film is the number of a frame; got {value!r}."
        ) from None

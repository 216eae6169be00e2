r"""A page to try the pipeline on: upload a clip, see the answer and the movement magnified.

    python scripts/demo.py                                      # zero-shot, no download
    python scripts/demo.py --model runs/casme2/model --port 8000

Serves this machine alone; --host 0.0.0.0 lets the network in, so ask first who may see whose face.
Uploads are deleted as soon as they are answered; nothing is sent anywhere. Ctrl-C ends it.
`--debug` shows the traceback of a mistake that otherwise ends in one line.

Not for judging what somebody feels, means or hides, nor for any decision about a person.
"""

import argparse
import os
from pathlib import Path

from hcp_mer.errors import run_script

os.environ.setdefault("OMP_NUM_THREADS", "1")
ZERO_SHOT = Path(__file__).resolve().parents[1] / "hub_configs" / "recipes" / "embedded-3class.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default=str(ZERO_SHOT), help="folder, Hub id, or a recipe for zero-shot"
    )
    parser.add_argument("--revision", help="of a Hub id: branch, tag or commit")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on")
    parser.add_argument("--port", type=int, default=7860, help="0 for any that is free")
    parser.add_argument(
        "--face", default="cascade", help="cascade, yunet, or none: cropped already"
    )
    parser.add_argument("--face_weights", type=Path, help="of yunet")
    args = parser.parse_args()
    from hcp_mer.motion.face import FaceSettings
    from hcp_mer.recognition.page_server import serve

    face = FaceSettings(args.face, str(args.face_weights) if args.face_weights else None)
    hub = {"revision": args.revision} if args.revision else {}
    serve(args.model, args.host, args.port, face, **hub)


if __name__ == "__main__":
    run_script(main)

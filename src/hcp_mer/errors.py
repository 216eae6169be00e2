"""What a user sees when something they gave is wrong: one line, exit code 2, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(ValueError):
    """A mistake in what the user gave: the message says what was given, the rule and the mend."""


def run_script(main: Callable[[], None], check: bool = True) -> None:
    """Run a script's main; a mistake or a missing file ends in one line on stderr and exit 2.

    `--debug` on the command line shows the traceback instead.

    Args: check: refuse libraries that are too old before anything of theirs fails.
    """
    from hcp_mer.requirements import check_requirements

    if "--debug" in sys.argv:
        sys.argv.remove("--debug")
        main()
        return
    try:
        if check:
            check_requirements()
        main()
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            "interrupted: finished parts are kept; run the same command to go on", file=sys.stderr
        )
        sys.exit(130)

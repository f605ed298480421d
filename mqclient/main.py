"""The mq-client command: ``mq-client producer|consumer|browse [OPTIONS]``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mqclient.arguments import UsageError, help_text, parse_arguments

EXIT_DONE, EXIT_USAGE, EXIT_OUTPUT_CLOSED = 0, 1, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        stream = sys.stdout if error.on_stdout else sys.stderr
        print(f"Invalid usage: {error}", file=stream)
        if error.detail:
            print(f" {error.detail}", file=stream)
        print(help_text(), file=stream)
        return EXIT_USAGE
    if arguments is None:
        print(help_text())
        return EXIT_DONE
    # Imported here, because the codec takes a while to load and usage errors and help do not need it.
    from mqclient.command import Output, run  # noqa: PLC0415 - see above

    try:
        return run(arguments, os.environ, Output(sys.stdout, sys.stderr, arguments.json_output))
    except BrokenPipeError:
        # The reader of our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OUTPUT_CLOSED


if __name__ == "__main__":
    sys.exit(main())

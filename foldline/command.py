"""The command `foldline`: prepares the process, then runs the command line."""

import errno
import locale
import os
import sys
import tempfile
from collections.abc import Callable

# Errors of a disk rather than of a file, and what to do about them.
_DISK = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.EROFS: "choose another folder",
}


def main() -> int:
    """Run the command line of this process; returns the exit status."""
    _open_standard_streams()
    _use_utf8()
    # Not before: Python may have been started again.
    from pipelines.cli.main import main as command_line

    return without_traceback(command_line)


def without_traceback(command_line: Callable[[], int]) -> int:
    """Run a command line; a disk that is full or cannot be written to is one line of text."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        print(
            f"no folder for temporary files can be written to ({error.strerror or error}): free"
            " some space in one of them, or set TMPDIR to another folder",
            file=sys.stderr,
        )
        return 1
    try:
        return command_line()
    except OSError as error:
        if error.errno not in _DISK:
            raise
        where = error.filename or "a disk"
        print(f"{where}: {error.strerror}: {_DISK[error.errno]}", file=sys.stderr)
        return 1


def _open_standard_streams() -> None:
    """Open the standard streams that are closed: a file that gets their number would receive what
    is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # for the whole process
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _use_utf8() -> None:
    """Start Python again in its UTF-8 mode if the locale has another encoding.

    File names and tables would be read in that encoding otherwise. What is printed stays in it,
    with a ? for what it lacks.
    """
    encoding = locale.getencoding()
    # The variable is set if this was tried before, against an option such as -X utf8=0.
    tried = os.environ.get("PYTHONUTF8") == "1"
    if sys.flags.utf8_mode or tried or encoding.lower().replace("-", "") == "utf8":
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", f"{encoding}:replace")
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

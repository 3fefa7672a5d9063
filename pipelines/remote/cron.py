"""The cron expression of a schedule: checked before a service sees it."""

import re
import zoneinfo
from collections.abc import Sequence

from trainer.errors import CompetitionError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# For each field: its smallest and largest number, and the names of its values.
_FIELDS: tuple[tuple[int, int, Sequence[str]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (0, 7, _DAYS),
)


def check(cron: str) -> None:
    """Check a cron expression.

    It has five fields of numbers, ranges, lists and steps, or names of months and days; a time zone
    may come first, as TZ=… or CRON_TZ=….

    Raises:
        CompetitionError: it is malformed, or there is no such time zone.
    """
    zone = re.match(r"(?:CRON_)?TZ=(\S+)\s+", cron)
    zones = zoneinfo.available_timezones() if zone else set()
    # A minimal system may have no time zone database: then any zone is accepted.
    if zone and zones and zone[1] not in zones:
        raise CompetitionError(f"--cron {cron!r}: unknown time zone {zone[1]}")
    problem = CompetitionError(
        f"--cron {cron!r}: must be five fields, minute hour day month weekday, such as '0 5 * * 1'"
    )
    fields = cron[zone.end() if zone else 0 :].split()
    if len(fields) != len(_FIELDS):
        raise problem
    for text, (least, most, names) in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            match = re.fullmatch(r"(\*|\w+(?:-\w+)?)(?:/([1-9]\d?))?", part, re.ASCII)
            if match is None:
                raise problem
            ends = [_number(end, names, least) for end in match[1].split("-") if end != "*"]
            if any(not least <= end <= most for end in ends) or ends != sorted(ends):
                raise problem


def with_seconds(cron: str) -> str:
    """Convert a checked cron expression for a Kubeflow Pipelines server.

    The server has a field for seconds first, knows Sunday only as 0, and accepts no time zone
    (robfig/cron v1, which its go.mod requires).

    Raises:
        CompetitionError: the expression has a time zone.
    """
    if "TZ=" in cron:
        raise CompetitionError(
            f"--cron {cron!r}: a Kubeflow Pipelines server uses its own time zone"
            " (CRON_SCHEDULE_TIMEZONE of its scheduled workflow controller): leave out TZ=…"
        )
    *fields, days = cron.split()
    return " ".join(["0", *fields, _without_seven(days) if "7" in days else days])


def _without_seven(days: str) -> str:
    """The weekday field as a list of numbers from 0 to 6; Sunday is 0."""
    numbers: set[int] = set()
    for part in days.split(","):
        ends, slash, step = part.partition("/")
        first, dash, last = ("0-6" if ends == "*" else ends).partition("-")
        begin = _number(first, _DAYS, 0)
        # A single day with a step, such as 2/2, means a range to the end of the week.
        end = _number(last, _DAYS, 0) if dash else 7 if slash else begin
        numbers.update(day % 7 for day in range(begin, end + 1, int(step or 1)))
    return ",".join(map(str, sorted(numbers)))


def _number(text: str, names: Sequence[str], least: int) -> int:
    """The value of a number or a name in a field; -1 if it is neither.

    Args:
        text: the number or the name.
        names: the names of the field's values, in order.
        least: the value of the first name.
    """
    if text.lower() in names:
        return names.index(text.lower()) + least
    return int(text) if text.isdecimal() else -1

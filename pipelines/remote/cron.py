"""When a schedule starts its runs: the five fields of a cron, checked before a service sees
them."""

import re
import zoneinfo
from collections.abc import Sequence

from trainer.errors import CompetitionError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Of each field: the bounds of its numbers, and its names.
_FIELDS: tuple[tuple[int, int, Sequence[str]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (0, 7, _DAYS),
)


def check(cron: str) -> None:
    """Five fields of numbers, ranges, lists and steps, or names of months and days; a time zone may
    stand before them.

    Raises:
        CompetitionError: they are none.
    """
    zone = re.match(r"(?:CRON_)?TZ=(\S+)\s+", cron)
    zones = zoneinfo.available_timezones() if zone else set()
    # A small system may have no table of them.
    if zone and zones and zone[1] not in zones:
        raise CompetitionError(f"--cron {cron!r}: there is no time zone {zone[1]}")
    problem = CompetitionError(
        f"--cron {cron!r}: must be five fields: minute hour day month weekday, as '0 5 * * 1'"
    )
    fields = cron[zone.end() if zone else 0 :].split()
    if len(fields) != len(_FIELDS):
        raise problem
    for text, (least, most, names) in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            found = re.fullmatch(r"(\*|\w+(?:-\w+)?)(?:/([1-9]\d?))?", part, re.ASCII)
            if found is None:
                raise problem
            ends = [_number(end, names, least) for end in found[1].split("-") if end != "*"]
            if any(not least <= end <= most for end in ends) or ends != sorted(ends):
                raise problem


def with_seconds(cron: str) -> str:
    """A checked cron for a Kubeflow Pipelines server, which puts seconds first, knows Sunday as 0
    alone, and takes no time zone (robfig/cron v1, which its go.mod names).

    Raises:
        CompetitionError: there is a zone.
    """
    if "TZ=" in cron:
        raise CompetitionError(
            f"--cron {cron!r}: a Kubeflow Pipelines server counts in the zone of its own"
            " (CRON_SCHEDULE_TIMEZONE of its scheduled workflow controller): leave TZ=… away"
        )
    *fields, days = cron.split()
    return " ".join(["0", *fields, _without_seven(days) if "7" in days else days])


def _without_seven(days: str) -> str:
    found: set[int] = set()
    for part in days.split(","):
        ends, slash, step = part.partition("/")
        first, dash, last = ("0-6" if ends == "*" else ends).partition("-")
        begin = _number(first, _DAYS, 0)
        # A day with steps goes on to the end of the week.
        end = _number(last, _DAYS, 0) if dash else 7 if slash else begin
        found.update(day % 7 for day in range(begin, end + 1, int(step or 1)))
    return ",".join(map(str, sorted(found)))


def _number(text: str, names: Sequence[str], least: int) -> int:
    """Of a number or a name; -1 for neither."""
    if text.lower() in names:
        return names.index(text.lower()) + least
    return int(text) if text.isdecimal() else -1

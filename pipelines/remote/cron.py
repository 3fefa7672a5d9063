"""The cron expression of a schedule: what the services read differently from each other.

The services check ranges, names and time zones themselves. A Kubeflow Pipelines server, however,
would silently take the five fields of a cron expression for seconds, minutes and so on.
"""

import re

from trainer.errors import CompetitionError

_ZONE = re.compile(r"(?:CRON_)?TZ=\S+\s+")


def check(cron: str) -> None:
    """Check that a cron expression has five fields; a time zone, TZ=…, may come first.

    Raises:
        CompetitionError: it has another number of fields.
    """
    if len(_ZONE.sub("", cron, count=1).split()) != 5:
        raise CompetitionError(
            f"--cron {cron!r}: must be five fields, minute hour day month weekday, such as"
            " '0 5 * * 1'"
        )


def with_seconds(cron: str) -> str:
    """Convert a checked cron expression for a Kubeflow Pipelines server.

    The server has a field for seconds first, knows Sunday as 0 and not as 7, and accepts no time
    zone (robfig/cron v1, which its go.mod requires).

    Raises:
        CompetitionError: the expression has a time zone.
    """
    if _ZONE.match(cron):
        raise CompetitionError(
            f"--cron {cron!r}: a Kubeflow Pipelines server uses its own time zone"
            " (CRON_SCHEDULE_TIMEZONE of its scheduled workflow controller): leave out TZ=…"
        )
    *fields, days = cron.split()
    sunday = ",".join("0" if day == "7" else day for day in days.split(","))
    return " ".join(["0", *fields, sunday])

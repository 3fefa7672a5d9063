import pytest

from pipelines.remote import cron
from trainer.errors import CompetitionError


@pytest.mark.parametrize(
    "text",
    [
        "99 5 * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * x *",
        "* * * * 8",
        "*/0 * * * *",
        "a b c d e",
        "1-99 * * * *",
        "0 5 * *",
        "0 0 5 * * 1",
        "0 5-1 * * *",
        "0 5 * * fri-mon",
        "0 ٥ * * *",
        "",
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(CompetitionError, match="must be five fields"):
        cron.check(text)


@pytest.mark.parametrize(
    "text",
    [
        "*/15 0-6 1,15 jan-mar MON",
        "TZ=America/New_York 0 5 * * 1-5",
        "0 0 31 12 7",
        "0 0 * * sun-sat",
    ],
)
def test_what_is_one_is_taken(text: str) -> None:
    cron.check(text)


def test_a_time_zone_that_there_is_not_is_named() -> None:
    with pytest.raises(CompetitionError, match="unknown time zone Nowhere/X"):
        cron.check("TZ=Nowhere/X 0 5 * * 1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 5 * * 1", "0 0 5 * * 1"),
        ("*/7 5 * jan MON-fri", "0 */7 5 * jan MON-fri"),
        ("0 5 * * 7", "0 0 5 * * 0"),
        ("0 5 * * 5-7", "0 0 5 * * 0,5,6"),
        ("0 5 * * wed-7/2", "0 0 5 * * 3,5,0"),
        ("0 5 * * 1/3,7", "0 0 5 * * 0,1,4"),
    ],
)
def test_for_a_server_seconds_come_first_and_sunday_is_nought(text: str, told: str) -> None:
    cron.check(text)
    found = cron.with_seconds(text)
    *fields, days = told.split()
    assert found.split()[:-1] == fields
    assert sorted(found.split()[-1].split(",")) == sorted(days.split(","))


def test_for_a_server_there_is_no_zone() -> None:
    with pytest.raises(CompetitionError, match="uses its own time zone .*leave out TZ=…"):
        cron.with_seconds("TZ=Europe/Rome 0 5 * * 1")

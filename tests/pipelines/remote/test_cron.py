import pytest

from pipelines.remote import cron
from trainer.errors import CompetitionError


@pytest.mark.parametrize("text", ["0 5 * *", "0 0 5 * * 1", "", "TZ=Europe/Rome 0 5 * *"])
def test_another_number_of_fields_is_refused(text: str) -> None:
    with pytest.raises(CompetitionError, match="must be five fields"):
        cron.check(text)


@pytest.mark.parametrize("text", ["*/15 0-6 1,15 jan-mar MON", "TZ=America/New_York 0 5 * * 1-5"])
def test_five_fields_are_left_to_the_service(text: str) -> None:
    cron.check(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 5 * * 1", "0 0 5 * * 1"),
        ("*/7 5 * jan MON-fri", "0 */7 5 * jan MON-fri"),
        ("0 5 * * 7", "0 0 5 * * 0"),
        ("0 5 7 7 3,7", "0 0 5 7 7 3,0"),
    ],
)
def test_for_a_server_seconds_come_first_and_sunday_is_0(text: str, expected: str) -> None:
    assert cron.with_seconds(text) == expected


def test_for_a_server_there_is_no_zone() -> None:
    with pytest.raises(CompetitionError, match="uses its own time zone .*leave out TZ=…"):
        cron.with_seconds("TZ=Europe/Rome 0 5 * * 1")

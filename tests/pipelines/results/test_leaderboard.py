import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.submission.upload import credentials
from pipelines.cli.main import main
from pipelines.results import leaderboard
from tests.support.servers.kaggle import TOKEN, Fault, Kaggle
from tests.support.tiny import Tiny
from trainer.artifacts.csv_rows import read_rows
from trainer.artifacts.manifest import sha256
from trainer.errors import LeaderboardError

NAMES = ("API_TOKEN", "USERNAME", "KEY", "CONFIG_DIR")


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kaggle]:
    """Start a fake Kaggle service.

    The client library reaches it through a proxy, with its own option for a local service.
    """
    server = Kaggle()
    for name in (*(f"KAGGLE_{name}" for name in NAMES), "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, server.url)
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield server
    server.close()


@pytest.fixture
def run(tiny: Tiny, tmp_path: Path) -> Path:
    """Return a run's folder with everything that a submission needs."""
    tiny.toml.write_text(
        tiny.toml.read_text().replace(
            "[leaderboard]\n", '[leaderboard]\ncompetition = "tiny-digits"\ntimeout_seconds = 3\n'
        )
    )
    out = tmp_path / "run"
    out.mkdir()
    (out / "submission.csv").write_bytes(tiny.answers.read_bytes())
    scores(out, 0.875)
    return out


def scores(out: Path, cv: float) -> None:
    """Write metrics.json as a run that wrote the submission leaves it."""
    (out / "metrics.json").write_text(
        json.dumps({"blend": {"oof": cv}, "submission": sha256(out / "submission.csv")})
    )


def ask(action: str, tiny: Tiny, run: Path, *more: str) -> int:
    return main(["leaderboard", action, str(tiny.toml), "--out", str(run), *more])


def history(run: Path) -> list[dict[str, str]]:
    header, *rows = read_rows(run / "leaderboard.csv")
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_a_submission_and_its_score(
    kaggle: Kaggle, tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.looks_until_scored = 2
    assert ask("submit", tiny, run) == 0
    assert [step for step, _ in kaggle.requests] == [
        "StartSubmissionUpload",
        "PUT",
        "CreateSubmission",
        "GetSubmission",
        "GetSubmission",
    ]
    assert kaggle.uploads["T0"] == (run / "submission.csv").read_bytes()
    assert (
        kaggle.requests[0][1]["competitionName"]
        == kaggle.requests[2][1]["competitionName"]
        == "tiny-digits"
    )
    assert kaggle.authorizations == {f"Bearer {TOKEN}"}
    (row,) = history(run)
    assert row["sha256"] == sha256(run / "submission.csv")
    assert (row["cv"], row["public"], row["private"], row["status"]) == (
        "0.875",
        "0.75",
        "",
        "complete",
    )
    assert row["code"].startswith("0.1.0-")
    assert row["time"].endswith("+00:00")
    assert kaggle.requests[2][1]["submissionDescription"] == row["message"]
    shown = capsys.readouterr()
    assert "public 0.75, private none, cross-validation 0.875" in shown.out
    assert (
        TOKEN
        not in shown.out
        + shown.err
        + (run / "leaderboard.csv").read_text()
        + (run / "leaderboard.html").read_text()
    )


def test_the_same_file_is_not_entered_twice_unless_asked(
    kaggle: Kaggle, tiny: Tiny, run: Path
) -> None:
    for more in ([], [], ["--again", "--message", "once more"]):
        assert ask("submit", tiny, run, *more) == 0
    assert len(kaggle.entered) == 2
    assert history(run)[1]["message"] == "once more"


def test_a_file_that_would_be_refused_is_not_sent(
    kaggle: Kaggle, tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "submission.csv"
    path.write_text(path.read_text().replace("\n3,", "\n3,1"))
    assert ask("submit", tiny, run) == 2
    assert "row 3, id '3', column 'Label': " in capsys.readouterr().err
    path.unlink()
    assert ask("submit", tiny, run) == 2
    assert "no such submission: run the competition first" in capsys.readouterr().err
    assert kaggle.requests == []


def test_without_a_competition_nothing_is_sent(
    kaggle: Kaggle, tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.toml.write_text(tiny.toml.read_text().replace('competition = "tiny-digits"\n', ""))
    assert ask("submit", tiny, run) == 2
    assert "leaderboard.competition is not set" in capsys.readouterr().err
    assert kaggle.requests == []


RULES = "You must accept this competition's rules before you'll be able to download files."
REFUSALS = [
    (
        Fault(400, {"code": 400, "message": "Submission file is empty"}),
        ["refused the request (status 400)", "Submission file is empty"],
    ),
    (
        Fault(400, {"code": 400, "message": "Your team has used its daily Submission allowance"}),
        ["the daily limit", "allowance"],
    ),
    (
        Fault(400, {"code": 400, "message": "The file exceeds the size limit"}),
        ["refused the request (status 400)", "size limit"],
    ),
    (Fault(400, b"<html>Bad Request</html>", "text/html"), ["status 400", "gave no reason"]),
    (
        Fault(401, {"code": 401, "message": "Unauthenticated"}),
        ["does not accept the credentials", "kaggle.com/settings"],
    ),
    (
        Fault(403, {"code": 403, "message": RULES}),
        ["rules are not accepted", "kaggle.com/competitions/tiny-digits/rules"],
    ),
    (
        Fault(403, {"code": 403, "message": "Permission denied"}),
        ["not allow a submission to 'tiny-digits'", "check that this is its name"],
    ),
    (Fault(404, {"code": 404, "message": "Not found"}), ["has no competition 'tiny-digits'"]),
    (
        Fault(429, {"code": 429, "message": "Too many requests"}),
        ["accepts no more for now", "Too many requests"],
    ),
    (Fault(503, b"<html>", "text/html"), ["a server error (status 503)", "try again later"]),
    (Fault(200, b"<html>", "text/html"), ["an unexpected answer"]),
    (Fault(200, b"{", "application/json"), ["an unexpected answer"]),
    (Fault(drop=True), ["cannot be reached"]),
]


# The file store's responses have no message of their own, and a body with status 200 is not read.
ASKED = [
    (step, fault, words)
    for step in ("StartSubmissionUpload", "PUT", "CreateSubmission")
    for fault, words in REFUSALS
    if step != "PUT" or fault.drop or (fault.status != 200 and isinstance(fault.body, bytes))
]


@pytest.mark.parametrize(("step", "fault", "words"), ASKED)
def test_refusals_come_back_in_words(
    kaggle: Kaggle,
    tiny: Tiny,
    run: Path,
    capsys: pytest.CaptureFixture[str],
    step: str,
    fault: Fault,
    words: list[str],
) -> None:
    kaggle.faults[step] = fault
    assert ask("submit", tiny, run) == 1
    said = capsys.readouterr().err
    for word in words:
        assert word in said
    assert (
        "may have been submitted" if step == "CreateSubmission" else "nothing was submitted"
    ) in said
    assert not (run / "leaderboard.csv").exists()
    assert TOKEN not in said


@pytest.mark.parametrize("step", ["StartSubmissionUpload", "PUT", "CreateSubmission"])
def test_a_service_that_hangs_is_left(
    kaggle: Kaggle, tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    tiny.toml.write_text(
        tiny.toml.read_text().replace("timeout_seconds = 3", "timeout_seconds = 1")
    )
    kaggle.faults[step] = Fault(seconds=60)
    assert ask("submit", tiny, run) == 1
    assert "did not answer within 1 seconds" in capsys.readouterr().err


def test_a_score_that_does_not_come_is_asked_for_later(
    kaggle: Kaggle, tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.toml.write_text(
        tiny.toml.read_text().replace("timeout_seconds = 3", "timeout_seconds = 1")
    )
    kaggle.looks_until_scored = 100
    assert ask("submit", tiny, run) == 0
    assert "no score after 1 seconds" in capsys.readouterr().out
    assert history(run)[0]["status"] == "pending"
    kaggle.looks_until_scored = 0
    kaggle.outcome["privateScore"] = "0.7"
    assert ask("list", tiny, run) == 0
    (row,) = history(run)
    assert (row["public"], row["private"], row["status"]) == ("0.75", "0.7", "complete")
    # Everything is known: no further request is sent.
    before = len(kaggle.requests)
    assert ask("list", tiny, run) == 0
    assert len(kaggle.requests) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [("Evaluation failed: missing ids", "missing ids"), ("", "no reason given")],
)
def test_a_submission_that_cannot_be_scored(
    kaggle: Kaggle, tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    kaggle.outcome = {"status": "ERROR", "errorDescription": text}
    assert ask("submit", tiny, run) == 1
    said = capsys.readouterr().err
    assert "could not score submission 5001" in said
    assert words in said
    assert history(run)[0]["status"] == "error"
    # Nothing was scored, so the file may be submitted again.
    kaggle.outcome = {"status": "COMPLETE", "publicScore": "0.5"}
    assert ask("submit", tiny, run) == 0


def test_what_is_asked_for_while_it_is_scored_fails(
    kaggle: Kaggle, tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.faults["GetSubmission"] = Fault(429, {"code": 429, "message": "Too many requests"})
    assert ask("submit", tiny, run) == 1
    assert "submission 5001 was submitted" in capsys.readouterr().err
    assert history(run)[0]["status"] == "pending"
    # The table is still shown.
    assert ask("list", tiny, run) == 1
    shown = capsys.readouterr()
    assert "pending" in shown.out
    assert "accepts no more for now" in shown.err


def test_cross_validation_beside_the_leaderboard(
    kaggle: Kaggle, tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (cv, public) in enumerate([(0.80, 0.70), (0.90, 0.85), (0.85, 0.75), (0.95, 0.80)]):
        lines = tiny.answers.read_text().splitlines()
        lines[1] = f"1,{number}"
        (run / "submission.csv").write_text("\n".join(lines) + "\n")
        scores(run, cv)
        kaggle.outcome = {
            "status": "COMPLETE",
            "publicScore": str(public),
            "privateScore": str(public),
        }
        assert ask("submit", tiny, run, "--message", "<b>bold</b>") == 0
    capsys.readouterr()
    assert ask("list", tiny, run) == 0
    shown = capsys.readouterr().out
    assert (
        "rank correlation of cross-validation and public score: 0.800, over 4 submissions" in shown
    )
    assert len([line for line in shown.splitlines() if "complete" in line]) == 4
    page = (run / "leaderboard.html").read_text()
    assert "<svg" in page
    assert "0.800" in page
    assert "&lt;b&gt;bold" in page


def test_nothing_was_submitted(tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("list", tiny, run) == 0
    assert "no submission to tiny-digits yet" in capsys.readouterr().out
    (run / "leaderboard.csv").write_text("a,b\n1,2\n")
    assert ask("list", tiny, run) == 2
    assert "the columns must be time, competition" in capsys.readouterr().err


def test_who_asks(tmp_path: Path) -> None:
    with pytest.raises(LeaderboardError, match="no credentials for kaggle.com: create a token"):
        credentials({}, tmp_path)
    (tmp_path / ".config" / "kaggle").mkdir(parents=True)
    key = tmp_path / ".config" / "kaggle" / "kaggle.json"
    key.write_text('{"username": "me", "key": "k"}')
    assert credentials({}, tmp_path) == {"username": "me", "password": "k"}
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "access_token").write_text("T\n")
    assert credentials({}, tmp_path) == {"api_token": "T"}
    assert credentials({"KAGGLE_CONFIG_DIR": str(key.parent)}, tmp_path) == {
        "username": "me",
        "password": "k",
    }
    assert credentials({"KAGGLE_USERNAME": "a", "KAGGLE_KEY": "b"}, tmp_path) == {
        "username": "a",
        "password": "b",
    }
    assert credentials(
        {"KAGGLE_API_TOKEN": "x", "KAGGLE_USERNAME": "a", "KAGGLE_KEY": "b"}, tmp_path
    ) == {"api_token": "x"}
    (tmp_path / "token").write_text("KGAT_x\n")
    assert credentials({"KAGGLE_API_TOKEN": str(tmp_path / "token")}, tmp_path) == {
        "api_token": "KGAT_x"
    }
    assert credentials({"KAGGLE_API_TOKEN": "KGAT_y\n"}, tmp_path) == {"api_token": "KGAT_y"}
    (tmp_path / "token").write_bytes(b"\xff")
    with pytest.raises(LeaderboardError, match="token: cannot be read as a credential"):
        credentials({"KAGGLE_API_TOKEN": str(tmp_path / "token")}, tmp_path)
    key.write_text("[]")
    with pytest.raises(LeaderboardError, match="kaggle.json: no username and key"):
        credentials({"KAGGLE_CONFIG_DIR": str(key.parent)}, tmp_path)


def test_the_rank_correlation_needs_three_that_differ() -> None:
    def rows(*points: tuple[str, str]) -> list[leaderboard.Row]:
        return [{"cv": cv, "public": public} for cv, public in points]

    assert leaderboard.correlation(rows(("1", "2"), ("2", "3"))) is None
    assert leaderboard.correlation(rows(("1", "2"), ("2", "2"), ("3", "2"))) is None
    assert leaderboard.correlation(
        rows(("1", "2"), ("2", ""), ("3", "4"), ("2", "9"))
    ) == pytest.approx(0.5)


def test_a_submission_that_was_changed_has_no_cross_validation(
    kaggle: Kaggle, tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "submission.csv"
    path.write_text(path.read_text().replace("\n3,", "\n3,").rstrip("\n"))
    assert ask("submit", tiny, run) == 0
    assert "the submission was changed after the run" in capsys.readouterr().out
    assert history(run)[0]["cv"] == ""
    (run / "metrics.json").unlink()
    assert ask("submit", tiny, run, "--again") == 2
    assert "metrics.json: has no scores of a run (FileNotFoundError)" in capsys.readouterr().err


def test_competitions_are_kept_apart(
    kaggle: Kaggle, tiny: Tiny, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask("submit", tiny, run) == 0
    tiny.toml.write_text(tiny.toml.read_text().replace("tiny-digits", "other-digits"))
    assert ask("list", tiny, run) == 0
    assert "no submission to other-digits yet" in capsys.readouterr().out
    assert ask("submit", tiny, run) == 0
    assert [row["competition"] for row in history(run)] == ["tiny-digits", "other-digits"]
    kaggle.outcome["publicScore"] = "nan"
    text = (run / "leaderboard.csv").read_text()
    (run / "leaderboard.csv").write_text(text.replace(",0.875,", ",high,"))
    assert ask("list", tiny, run) == 2
    assert "row 1, column 'cv': 'high' is not a number" in capsys.readouterr().err

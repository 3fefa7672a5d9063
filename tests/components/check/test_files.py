import pytest

from components.check.files import check_files
from tests.support.tiny import Tiny
from trainer.config.load import load_competition
from trainer.errors import CompetitionError, DataError


def test_a_good_competition(tiny: Tiny) -> None:
    found = check_files(load_competition(tiny.toml), tiny.toml)
    assert (found.train, found.test_ids[-1], len(found.test_ids)) == (120, "30", 30)


def test_every_missing_file_is_named_with_its_key(tiny: Tiny) -> None:
    tiny.train.unlink()
    tiny.answers.unlink()
    with pytest.raises(CompetitionError) as caught:
        check_files(load_competition(tiny.toml), tiny.toml)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{tiny.toml}: data.train = ")
    assert first.endswith("train.csv': no such file")
    assert "leaderboard.answers" in second


def test_a_column_that_is_not_there(tiny: Tiny) -> None:
    tiny.toml.write_text(tiny.toml.read_text().replace('target = "label"', 'target = "digit"'))
    with pytest.raises(DataError, match="train.csv: no column 'digit'"):
        check_files(load_competition(tiny.toml), tiny.toml)


def test_sample_ids_that_are_not_the_test_images(tiny: Tiny) -> None:
    tiny.sample.write_text(tiny.sample.read_text().replace("\n30,0", "\n31,0"))
    with pytest.raises(
        DataError, match=r"sample.csv: row 30, column 'ImageId': id '31' is not in .*test.csv"
    ):
        check_files(load_competition(tiny.toml), tiny.toml)


def test_an_id_twice_in_the_sample(tiny: Tiny) -> None:
    tiny.sample.write_text(tiny.sample.read_text() + "7,0\n")
    with pytest.raises(DataError, match="row 31, column 'ImageId': id '7' is already in row 7"):
        check_files(load_competition(tiny.toml), tiny.toml)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("\n30,", "\n31,", "answers.csv: row 30, column 'ImageId': id '31' is not in .*sample.csv"),
        (
            "Label\n1,",
            "Label\n1,x",
            "answers.csv: row 1, column 'Label': 'x.' .id '1'. is not a class",
        ),
    ],
)
def test_answers_are_looked_at_before_the_hours_of_training(
    tiny: Tiny, old: str, new: str, words: str
) -> None:
    tiny.answers.write_text(tiny.answers.read_text().replace(old, new))
    with pytest.raises(DataError, match=words):
        check_files(load_competition(tiny.toml), tiny.toml)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "batch_size = 16",
            "batch_size = 81",
            r"members\[0\].batch_size = 81: only 80 images are left",
        ),
        ("train.csv", "few.csv", "folds.count = 3: there are only 2 labelled images"),
        ("train.csv", ".", "data.train = .*: is a directory; expected a file"),
        ("train.csv", "x" * 300, "data.train = .*: no such file"),
    ],
)
def test_what_cannot_train_is_not_good(tiny: Tiny, old: str, new: str, words: str) -> None:
    (tiny.folder / "few.csv").write_text(
        "".join(tiny.train.read_text().splitlines(keepends=True)[:3])
    )
    tiny.toml.write_text(tiny.toml.read_text().replace(old, new, 1))
    with pytest.raises(CompetitionError, match=words):
        check_files(load_competition(tiny.toml), tiny.toml)


@pytest.mark.parametrize(
    ("text", "folds", "words"),
    [
        (
            "image,split\n1,0\n",
            'file = "own.csv"',
            "own.csv: its columns are 'image', 'split'; expected 'id' and",
        ),
        (
            "id,fold\n999,0\n",
            'file = "own.csv"',
            "own.csv: row 1, column 'id': '999' is not a labelled image",
        ),
        ("5\n999\n", 'exclude_file = "own.csv"', "own.csv: '999' is not a labelled image"),
        ("", 'exclude = ["0"]', "folds.exclude: '0' is not a labelled image"),
    ],
)
def test_folds_and_images_to_leave_out_are_looked_at(
    tiny: Tiny, text: str, folds: str, words: str
) -> None:
    (tiny.folder / "own.csv").write_text(text)
    tiny.toml.write_text(tiny.toml.read_text().replace("count = 3", f"count = 3\n{folds}"))
    with pytest.raises(DataError, match=words):
        check_files(load_competition(tiny.toml), tiny.toml)


def test_weights_that_are_not_there(tiny: Tiny) -> None:
    (tiny.folder / "w0.keras").touch()
    (tiny.folder / "w1.keras").touch()
    text = tiny.toml.read_text()
    tiny.toml.write_text(text.replace("epochs = 12", 'epochs = 12\nweights = "w{fold}.keras"', 1))
    with pytest.raises(CompetitionError, match=r"weights: no such file: .*w2.keras"):
        check_files(load_competition(tiny.toml), tiny.toml)
    (tiny.folder / "w2.keras").touch()
    check_files(load_competition(tiny.toml), tiny.toml)


def test_tables_made_elsewhere_must_be_there(tiny: Tiny) -> None:
    tables = '[[blend.external]]\nname = "a"\noof = "none.csv"\ntest = "test.csv"\n\n[submission]'
    tiny.toml.write_text(tiny.toml.read_text().replace("[submission]", tables))
    with pytest.raises(
        CompetitionError, match=r"blend.external 'a' oof = '.*none.csv': no such file"
    ):
        check_files(load_competition(tiny.toml), tiny.toml)


def test_a_sample_of_another_form(tiny: Tiny) -> None:
    tiny.toml.write_text(
        tiny.toml.read_text().replace(
            'sample = "sample.csv"', 'sample = "sample.csv"\nvalues = "columns"'
        )
    )
    tiny.toml.write_text(tiny.toml.read_text().replace('answers = "answers.csv"\n', ""))
    with pytest.raises(
        DataError, match="writes one column per class, but the sample has the single column 'Label'"
    ):
        check_files(load_competition(tiny.toml), tiny.toml)

import dataclasses
import json
import re
import tomllib
import typing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reference.keys import keys, split_doc
from tests.support.paths import ROOT
from tests.support.tiny import Tiny
from trainer.config.competition import Competition, Member
from trainer.config.gan import Gan
from trainer.config.load import load_competition
from trainer.config.preparation import Folds
from trainer.config.schema import parse
from trainer.errors import CompetitionError

DIGITS = ROOT / "pipelines" / "competitions" / "digits.toml"


def broken(tiny: Tiny, old: str, new: str) -> str:
    """Return the error of the small competition after one change to its file."""
    text = tiny.toml.read_text()
    assert old in text
    tiny.toml.write_text(text.replace(old, new, 1))
    with pytest.raises(CompetitionError) as caught:
        load_competition(tiny.toml)
    return str(caught.value)


def test_the_demo_file_is_good() -> None:
    loaded = load_competition(DIGITS)
    assert loaded.name == "digits"
    assert [member.name for member in loaded.members] == ["cnn", "cnn-deep"]
    assert Path(loaded.data.train).is_absolute()
    assert ".." not in loaded.data.train


def test_paths_are_relative_to_the_file(tiny: Tiny) -> None:
    loaded = load_competition(tiny.toml)
    assert loaded.data.train == str(tiny.train.resolve())
    assert loaded.submission.sample == str(tiny.sample.resolve())
    assert loaded.leaderboard.answers == str(tiny.answers.resolve())


def test_the_pipeline_never_sees_the_answers(tiny: Tiny) -> None:
    arguments = load_competition(tiny.toml).pipeline_arguments()
    assert "answers" not in json.dumps(arguments)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed = 7", "sede = 7", ["tiny.toml:5: sede is an unknown key", "did you mean 'seed'"]),
        ("count = 3", "count = 1", ["folds.count = 1", "a whole number from 2 to 50"]),
        ("count = 3", 'count = "3"', ["folds.count = '3'", "a whole number"]),
        ("count = 3", "count = true", ["folds.count = true"]),
        (
            "count = 3",
            'count = 3\nfile = "f.csv"\nexclude = ["1"]',
            ["folds.exclude = ['1']", "cannot be combined with file"],
        ),
        ("epochs = 12", "epochs = 2.5", ["members[0].epochs = 2.5", "from 1 to 10000"]),
        ("\nepochs = 12", "", ["members[0].epochs is missing"]),
        (
            'metric = "accuracy"',
            'metric = "acuracy"',
            ["metric = 'acuracy'", "must be one of accuracy, f1", "did you mean 'accuracy'?"],
        ),
        (
            'source = "pixels"',
            'source = "folders"',
            ["data.source = 'folders'", "'pixels', 'files'"],
        ),
        (
            'source = "pixels"',
            'source = "files"',
            ["data.id is missing", "data.images is missing", "data.test_images is missing"],
        ),
        (
            'source = "pixels"',
            'source = "pixels"\nimages = "x"',
            ["data.images = 'x': only applies to source = 'files' or 'tfrecords'"],
        ),
        (
            'source = "pixels"',
            'source = "files"\nid = "x"\nimages = "../{id}.png"\ntest_images = "/{id}"',
            ["data.images = '../{id}.png'", "data.test_images = '/{id}'", "a path below root"],
        ),
        (
            'name = "m1"',
            'name = "m0"',
            ["members and blend.external have more than one member named 'm0'"],
        ),
        ('name = "m1"', 'name = "M 1"', ["members[1].name = 'M 1'"]),
        (
            "strides = [2, 1]",
            "strides = [2]",
            ["members[0].cnn.strides has 1 values and filters has 2"],
        ),
        ("strides = [2, 1]", "strides = [2, 9]", ["members[0].cnn.strides[1] = 9"]),
        ("strides = [2, 1]", "strides = 2", ["members[0].cnn.strides = 2", "a list"]),
        (
            "warmup_epochs = 0.5",
            "warmup_epochs = 12",
            ["members[0].schedule.warmup_epochs = 12", "below epochs = 12"],
        ),
        (
            "folds_per_task = 3",
            "folds_per_task = 4",
            ["train.folds_per_task = 4", "at most folds.count = 3"],
        ),
        ("rotation = 0", "rotation = nan", ["members[0].augment.rotation = nan"]),
        (
            "rotation = 0",
            "rotate = 0",
            ["members[0].augment.rotate is an unknown key", "'rotation'"],
        ),
        ("classes = ['0',", "classes = ['1',", ["classes names '1' more than once"]),
        ("classes = ['0',", "classes = ['fold',", ["classes has 'fold'", "rename the class"]),
        (
            "count = 3",
            'count = 3\nstrata = ["age"]',
            ["folds.strata names 'age', which is in neither data.numeric nor data.categorical"],
        ),
        (
            "epochs = 12",
            "epochs = 12\nsize = 16",
            ["members[0].size = 16: must be one of records.sizes = [8]"],
        ),
        ("[folds]", "[[folds]]", ["folds = [{'count': 3}]", "a table of keys"]),
        ("seed = 7", "seed = ", ["not valid TOML", "line 5"]),
        ("seed = 7", "seed = 2147483648", ["seed = 2147483648", "from 0 to 2147483647"]),
        ("seed = 7", f"seed = {'9' * 5000}", ["not valid TOML"]),
        ("seed = 7", f"seed = {'[' * 3000}", ["not valid TOML"]),
        (
            "rotation = 0",
            f"rotation = {'9' * 400}",
            ["members[0].augment.rotation = 9999", "…", "a number from 0 to 180"],
        ),
        (
            'train = "train.csv"',
            'train = ""',
            ["data.train is missing: source = 'pixels' requires it"],
        ),
        (
            'test = "test.csv"',
            'test = ""',
            ["data.test is missing: source = 'pixels' requires it"],
        ),
        ('train = "train.csv"', 'train = "\\u0000"', ["data.train = '\\x00'"]),
        ("classes = ['0',", 'classes = ["\\u0007",', ["classes[0] = '\\x07'"]),
        ('name = "m1"', 'name = "07"', ["members[1].name = '07'", "the first must be a letter"]),
        (
            "epochs = 12",
            'epochs = 12\nvalidation = "none"',
            ["blend.method = 'weights'", "use method = 'mean'"],
        ),
        (
            "epochs = 12",
            "epochs = 12\nloss = { weights = [1] }",
            ["loss.weights", "class_weights = 'given'"],
        ),
        (
            "epochs = 12",
            "epochs = 12\nloss = { weights = [1], class_weights = 'given' }",
            ["members[0].loss.weights has 1 values for 10 classes"],
        ),
        (
            "epochs = 12",
            "epochs = 12\nloss = { sample_weight = 'w' }",
            ["members[0].loss.sample_weight = 'w': is not in data.numeric"],
        ),
        (
            "epochs = 12",
            "epochs = 12\ntabular = { columns = ['age'] }",
            ["members[0].tabular.columns names 'age'", "data.numeric nor data.categorical"],
        ),
        (
            "rotation = 0",
            "crop = 16",
            ["members[0].augment.crop = 16: is larger than the stored size, 8"],
        ),
        (
            'task = "multiclass"',
            'task = "binary"',
            ["classes has 10: task = 'binary' requires two"],
        ),
        (
            'sample = "sample.csv"',
            'sample = "sample.csv"\nvalues = "probability"',
            ["only applies to task = 'binary'"],
        ),
        (
            'metric = "accuracy"',
            'metric = "partial_auc_100"',
            ["metric = 'partial_auc_100': must be", "partial_auc_1 to"],
        ),
        (
            'method = "weights"',
            'method = "best_alpha"\nexternal = []\nrounds = 0',
            ["blend.rounds = 0: must be"],
        ),
        (
            'method = "weights"',
            'thresholds = "accuracy"',
            ["blend.per_class = false: one threshold for all"],
        ),
        (
            'method = "weights"',
            "per_class = true",
            ["blend.per_class = true: requires thresholds"],
        ),
        (
            "[submission]",
            '[[blend.external]]\nname = "m0"\noof = "o.csv"\ntest = "t.csv"\n\n[submission]',
            ["members and blend.external have more than one member named 'm0'"],
        ),
        (
            "[submission]",
            '[[blend.external]]\nname = "other"\noof = "o.csv"\n\n[submission]',
            ["blend.external[0].test is missing"],
        ),
        (
            'name = "m1"',
            'name = "m1"\nvalidation = "none"',
            ["blend.method = 'weights': a member with validation = 'none'"],
        ),
        (
            "[leaderboard]",
            "[leaderboard]\nsubmit = true",
            ["leaderboard.submit = true: requires competition"],
        ),
        (
            "[leaderboard]",
            '[leaderboard]\ncompetition = "A b"',
            ["leaderboard.competition = 'A b'"],
        ),
        (
            "folds_per_task = 3",
            "checkpoints = '/tmp'",
            ["train.checkpoints = '/tmp': must be gs://bucket/prefix"],
        ),
    ],
)
def test_what_is_wrong_is_named(tiny: Tiny, old: str, new: str, words: list[str]) -> None:
    message = broken(tiny, old, new)
    for word in ["tiny.toml", *words]:
        assert word in message


def test_every_problem_is_reported_at_once(tiny: Tiny) -> None:
    tiny.toml.write_text(
        tiny.toml.read_text().replace("count = 3", "count = 1").replace("seed = 7", "sede = 7")
    )
    with pytest.raises(CompetitionError) as caught:
        load_competition(tiny.toml)
    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CompetitionError, match="no such competition file"):
        load_competition(tmp_path / "none.toml")
    with pytest.raises(CompetitionError, match="cannot be read: Is a directory"):
        load_competition(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(CompetitionError, match="not UTF-8 text"):
        load_competition(tmp_path / "latin.toml")


def test_whole_floats_are_integers_again(tiny: Tiny) -> None:
    # kfp passes every number inside a dictionary or list as a double.
    members = load_competition(tiny.toml).members
    carried = json.loads(json.dumps(dataclasses.asdict(members[0])), parse_int=float)
    assert parse(Member, carried, "member") == members[0]


@given(st.integers(2, 50))
def test_folds_survive_the_trip(count: int) -> None:
    assert parse(Folds, {"count": float(count)}, "folds").count == count


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_an_error_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    with pytest.raises(CompetitionError, match="any.toml: "):
        load_competition(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from([f.name for f in dataclasses.fields(Competition)]) | st.text(max_size=8)


@given(st.dictionaries(KEYS, VALUES, max_size=8))
def test_nonsense_is_an_error_and_never_a_crash(table: dict[str, object]) -> None:
    with pytest.raises(CompetitionError, match=r"^file: "):
        parse(Competition, table, "file")


def sections(kind: type) -> set[type]:
    """Return all section types of a file, those in lists included."""
    found: set[type] = set()
    for hint in typing.get_type_hints(kind).values():
        for part in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                found |= {part} | sections(part)
    return found


@pytest.mark.parametrize(
    "section",
    sorted(sections(Competition) | sections(Gan), key=lambda section: section.__name__),
    ids=lambda section: section.__name__,
)
def test_every_section_says_where_it_is_and_what_each_key_means(section: type) -> None:
    text, example = split_doc(section)
    assert text.startswith(("`[", "The keys at the top of a "))
    assert tomllib.loads(example)
    for key in keys(section).values():
        assert re.fullmatch(r"[A-Z`].*\.", key.text), key.name


def test_parts_make_as_many_classes_as_there_are(tiny: Tiny) -> None:
    part = (
        'target_parts = [{ column = "sex", values = ["f", "m"] }, { column = "age", bins = [30,'
        " 60] }]"
    )
    source = 'source = "files"\nid = "name"\nimages = "i/{id}"\ntest_images = "t/{id}"'
    text = (
        tiny.toml.read_text().replace('source = "pixels"', source).replace('target = "label"', part)
    )
    tiny.toml.write_text(text)
    with pytest.raises(
        CompetitionError, match="data.target_parts make 2 × 3 = 6 classes, but classes has 10"
    ):
        load_competition(tiny.toml)


def test_tables_made_elsewhere_lie_beside_the_file(tiny: Tiny) -> None:
    tables = (
        '[[blend.external]]\nname = "a"\noof = "../a.csv"\ntest ='
        ' "gs://bucket/t.csv"\n\n[submission]'
    )
    tiny.toml.write_text(
        tiny.toml.read_text()
        .replace("[submission]", tables)
        .replace("[data]", '[data]\nroot = "."')
    )
    (external,) = load_competition(tiny.toml).blend.external
    assert (external.oof, external.test) == (str(tiny.folder.parent / "a.csv"), "gs://bucket/t.csv")


def test_classes_are_balanced_where_each_image_has_one(tiny: Tiny) -> None:
    text = tiny.toml.read_text().replace('name = "m1"', 'name = "m1"\nsampler = "balanced"')
    tiny.toml.write_text(text)
    assert load_competition(tiny.toml).members[1].sampler == "balanced"
    tiny.toml.write_text(text.replace('"multiclass"', '"multilabel"'))
    with pytest.raises(
        CompetitionError, match="sampler = 'balanced': cannot be combined with task = 'multilabel'"
    ):
        load_competition(tiny.toml)


def test_best_alpha_is_of_two_members(tiny: Tiny) -> None:
    text = tiny.toml.read_text().replace('method = "weights"', 'method = "best_alpha"')
    tiny.toml.write_text(text)
    assert load_competition(tiny.toml).blend.method == "best_alpha"
    tiny.toml.write_text(text + text[text.rindex("\n[[members]]") :].replace('"m1"', '"m2"'))
    with pytest.raises(
        CompetitionError, match="blend.method = 'best_alpha': requires two members, but there are 3"
    ):
        load_competition(tiny.toml)


def test_paths_in_a_bucket_stay_there(tiny: Tiny) -> None:
    tiny.toml.write_text(
        tiny.toml.read_text().replace(
            'source = "pixels"', 'source = "pixels"\nroot = "gs://bucket/data/"'
        )
    )
    loaded = load_competition(tiny.toml)
    assert loaded.data.train == "gs://bucket/data/train.csv"
    assert loaded.submission.sample == "gs://bucket/data/sample.csv"


def test_a_list_of_classes_can_be_taken_apart(tiny: Tiny) -> None:
    text = (
        tiny.toml.read_text()
        .replace('task = "multiclass"', 'task = "multilabel"')
        .replace("'9'", "'sea lion'")
    )
    tiny.toml.write_text(text)
    with pytest.raises(CompetitionError, match="submission.separator = ' ': occurs in 'sea lion'"):
        load_competition(tiny.toml)
    tiny.toml.write_text(
        text.replace('sample = "sample.csv"', 'sample = "sample.csv"\nseparator = ";"')
    )
    assert load_competition(tiny.toml).task == "multilabel"


def changed(tiny: Tiny, **values: str) -> Competition:
    """The competition with other values of metric, task, classes, and keys of [submission]."""
    text = tiny.toml.read_text()
    for key, value in values.items():
        line = next((one for one in text.splitlines() if one.startswith(f"{key} = ")), None)
        text = (
            text.replace("[submission]", f"[submission]\n{key} = {value}")
            if line is None
            else text.replace(line, f"{key} = {value}")
        )
    tiny.toml.write_text(text)
    return load_competition(tiny.toml)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "class"),
        ({"metric": '"log_loss"'}, "columns"),
        ({"metric": '"roc_auc"', "task": '"binary"', "classes": "['a', 'b']"}, "probability"),
        ({"metric": '"f1"', "task": '"binary"', "classes": "['a', 'b']"}, "class"),
        ({"metric": '"roc_auc"', "task": '"multilabel"'}, "columns"),
        ({"values": '"index"'}, "index"),
        ({"values": '"columns"'}, "columns"),
    ],
)
def test_the_metric_says_what_is_submitted(
    tiny: Tiny, values: dict[str, str], expected: str
) -> None:
    assert changed(tiny, **values).submission.values == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"metric": '"log_loss"', "values": '"class"'},
            "submission.values = 'class': log_loss scores probabilities: leave it out, or use 'col",
        ),
        (
            {"metric": '"log_loss"', "values": '"index"'},
            "submission.values = 'index': log_loss scores probabilities",
        ),
        (
            {"classes": "['1', '2', '3']", "values": '"index"'},
            "submission.values = 'index': writes the positions of the classes from 0, but these",
        ),
        (
            {"metric": '"log_loss"', "digits": "4"},
            "submission.digits = 4: after rounding, the 10 columns of a row sum to 1 only within"
            " 0.0005, which graders refuse: use at least 6",
        ),
        ({"metric": '"auc"'}, "did you mean 'roc_auc'?"),
        ({"metric": '"QWK"'}, "did you mean 'quadratic_kappa'?"),
    ],
)
def test_submissions_that_a_grader_refuses(tiny: Tiny, values: dict[str, str], words: str) -> None:
    with pytest.raises(CompetitionError) as caught:
        changed(tiny, **values)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "words"),
    [
        ("machine", 'spot = "yes"', "machine.spot = 'yes': must be true or false"),
        (
            "machine",
            'tpu = "v5e-8"\ngpu = "L4"',
            "machine.gpu = 'L4': cannot be combined with tpu",
        ),
        ("machine", "gpus = 2", "machine.gpus = 2: requires gpu"),
        (
            "machine",
            'tpu = "v5e-8"\ncpus = 4',
            "machine.cpus and memory_gib cannot be combined with tpu",
        ),
        ("machine", "hours = 0", "machine.hours = 0: must be a number from 0.1 to 168"),
    ],
)
def test_machines_that_cannot_be(tiny: Tiny, section: str, key: str, words: str) -> None:
    tiny.toml.write_text(f"{tiny.toml.read_text()}\n[{section}]\n{key}\n")
    with pytest.raises(CompetitionError) as caught:
        load_competition(tiny.toml)
    assert words in str(caught.value)


def test_a_monitor_fits_the_task(tiny: Tiny) -> None:
    text = (
        tiny.toml.read_text().replace('"accuracy"', '"f1"').replace('"multiclass"', '"multilabel"')
    )
    text = text.replace("batch_size = 16\n", 'batch_size = 16\nvalidation = "best"\n', 1)
    text = text.replace('method = "weights"', 'method = "mean"')
    tiny.toml.write_text(text)
    assert load_competition(tiny.toml).members[0].monitor == ""
    tiny.toml.write_text(text.replace('"best"', '"best"\nmonitor = "quadratic_kappa"'))
    with pytest.raises(
        CompetitionError, match=r"members\[0\].monitor = 'quadratic_kappa': requires"
    ):
        load_competition(tiny.toml)

"""Every kind of source, from a competition file to a submission."""

import csv
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simplejpeg
from PIL import Image

from components.records.verify import verify
from tests.support.in_process import run_in_process
from tests.support.paths import ROOT
from tests.support.tiny import digits, upload
from trainer.artifacts.manifest import read_manifest
from trainer.artifacts.records import encode_example, frame

TRAIN, TEST = 60, 12


def write_file(
    folder: Path,
    data: str,
    *,
    classes: list[str],
    sizes: list[int],
    more: str = "",
    folds: str = "",
) -> Path:
    """A competition file with a linear member, for whatever `data` says."""
    path = folder / "file.toml"
    path.write_text(f"""name = "sources"
task = "multiclass"
metric = "accuracy"
classes = {json.dumps(classes)}
seed = 3

[data]
root = "data"
{data}

[records]
sizes = {sizes}
shard_images = 25
{more}

[folds]
count = 2
{folds}

[train]
folds_per_task = 2

[blend]
method = "mean"

[submission]
sample = "sample.csv"

[[members]]
name = "m"
backbone = "linear"
""")
    return path


def write_sample(folder: Path, ids: list[str], label: str = "0") -> None:
    with open(folder / "data" / "sample.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("id", "label"), *((id_, label) for id_ in ids)])


def picture(number: int, size: int = 16) -> np.ndarray:
    """(size, size, 3): a digit, each time another, in a colour that its class decides."""
    images, labels = digits(number + 1)
    grey = np.asarray(Image.fromarray(images[number, :, :, 0]).resize((size, size)))
    return np.stack([grey, 255 - grey, np.full_like(grey, 25 * labels[number])], axis=2)


def label(number: int) -> int:
    return int(digits(number + 1)[1][number])


def put(path: Path, pixels: np.ndarray, kind: str = "JPEG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, kind)


def jpeg(pixels: np.ndarray) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=92))


def run(file: Path, ids: list[str]) -> dict[str, pd.DataFrame]:
    """Run the file in this process; its submission, out-of-fold predictions, folds and examples
    table, and the records verified."""
    outputs = run_in_process(file, file.parent / "out")
    return tables_of(
        outputs.submission, outputs.blended / "oof.csv", outputs.folds, outputs.records, ids
    ) | {"card": outputs.card.read_text()}


def tables_of(
    submission: Path, oof: Path, folds: Path, records: Path, ids: list[str]
) -> dict[str, Any]:
    tables = {
        name: pd.read_csv(path, dtype={"id": str})
        for name, path in (("submission", submission), ("oof", oof), ("folds", folds))
    }
    assert tables["submission"]["id"].tolist() == ids
    assert verify(str(records)).records > 0
    return {**tables, "examples": pd.read_parquet(records / "examples.parquet")}


def run_by_command(file: Path, ids: list[str]) -> dict[str, Any]:
    """The same by the installed command, checked first."""
    out = file.parent / "out"
    for arguments in (["check", str(file)], ["run", str(file), "--out", str(out)]):
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli.main", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert not (out / "pipeline_root" / "work").exists()
    assert "<svg" in (out / "data_card.html").read_text()
    (records,) = out.glob("pipeline_root/*/join/images")
    return tables_of(
        *(out / f"{name}.csv" for name in ("submission", "oof", "folds")), records, ids
    )


DIGITS = [str(digit) for digit in range(10)]


@pytest.mark.parametrize(
    "runner", [run, pytest.param(run_by_command, marks=pytest.mark.acceptance)]
)
def test_class_folders(
    tmp_path: Path, runner: Callable[[Path, list[str]], dict[str, pd.DataFrame]]
) -> None:
    for number in range(TRAIN):
        put(tmp_path / "data" / "train" / DIGITS[label(number)] / f"{number}.jpg", picture(number))
    for number in range(TEST):
        put(tmp_path / "data" / "test" / f"t{number}.png", picture(TRAIN + number), "PNG")
    ids = [f"t{number}" for number in reversed(range(TEST))]
    write_sample(tmp_path, ids)
    data = 'source = "files"\nimages = "train/{class}/{id}.*"\ntest_images = "test/{id}.png"'
    file = write_file(tmp_path, data, classes=DIGITS, sizes=[16, 24], more="parts = 2")
    found = runner(file, ids)
    assert set(found["oof"]["id"]) == {f"{label(n)}/{n}" for n in range(TRAIN)}
    assert all(row.id.split("/")[0] == str(row.target) for row in found["oof"].itertuples())


def test_person_folders_with_parts_of_a_label(tmp_path: Path) -> None:
    rows = ["id,gender,race,age,path"]
    files = ["mask1", "mask2", "incorrect_mask", "normal"]
    for person in range(20):
        name = f"{person:06}_x"
        rows.append(
            f"{person:06},{'male' if person % 2 else 'female'},Asian,"
            f"{(18, 40, 60)[person % 3]},{name}"
        )
        for number, file in enumerate(files):
            put(
                tmp_path
                / "data"
                / "train"
                / "images"
                / name
                / f"{file}.{('jpg', 'png')[number % 2]}",
                picture(person * 4 + number),
            )
    (tmp_path / "data" / "train" / "train.csv").write_text("\n".join(rows) + "\n")
    ids = [f"{number:040x}.jpg" for number in range(TEST)]
    for number, id_ in enumerate(ids):
        put(tmp_path / "data" / "eval" / id_, picture(90 + number))
    (tmp_path / "data" / "info.csv").write_text(
        "ImageID,ans\n" + "".join(f"{id_},0\n" for id_ in ids)
    )
    write_sample(tmp_path, ids)
    data = """source = "files"
train = "train/train.csv"
id = "path"
group = "path"
images = "train/images/{id}/{file}.*"
test_images = "eval/{id}"
categorical = ["race"]

[[data.target_parts]]
column = "{file}"
values = ["mask*", "incorrect_mask", "normal"]

[[data.target_parts]]
column = "gender"
values = ["male", "female"]

[[data.target_parts]]
column = "age"
bins = [30, 60]
"""
    file = write_file(
        tmp_path,
        data.replace('categorical = ["race"]\n', ""),
        classes=[str(n) for n in range(18)],
        sizes=[16],
    )
    found = run(file, ids)
    by_id = found["oof"].set_index("id")
    assert by_id.loc["000001_x/normal", "target"] == 2 * 6 + 0 * 3 + 1
    assert by_id.loc["000002_x/mask2", "target"] == 0 * 6 + 1 * 3 + 2
    # A person's images never stand in two folds.
    assert (by_id.groupby(by_id.index.str.split("/").str[0])["fold"].nunique() == 1).all()


def shard(path: Path, rows: list[dict[str, bytes | int | float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(frame(encode_example(row)) for row in rows))


def test_ready_records_of_two_sizes_with_validation(tmp_path: Path) -> None:
    for size in (16, 32):
        for split, numbers in (
            ("train", range(40)),
            ("val", range(40, TRAIN)),
            ("test", range(TRAIN, TRAIN + TEST)),
        ):
            rows: list[dict[str, bytes | int | float]] = [
                {
                    "image": jpeg(picture(n, size)),
                    "id": f"f{n}".encode(),
                    **({} if split == "test" else {"class": label(n)}),
                }
                for n in numbers
            ]
            shard(
                tmp_path
                / "data"
                / f"tfrecords-jpeg-{size}x{size}"
                / split
                / f"00-{size}x{size}-{len(rows)}.tfrec",
                rows,
            )
    ids = [f"f{n}" for n in range(TRAIN, TRAIN + TEST)]
    write_sample(tmp_path, ids)
    data = """source = "tfrecords"
images = "tfrecords-jpeg-{size}/train/*.tfrec"
validation_images = "tfrecords-jpeg-{size}/val/*.tfrec"
test_images = "tfrecords-jpeg-{size}/test/*.tfrec"
id = "id"
target = "class"
"""
    file = write_file(tmp_path, data, classes=DIGITS, sizes=[16, 32], more="parts = 3")
    file.write_text(file.read_text().replace('name = "m"', 'name = "m"\nsize = 32'))
    found = run(file, ids)
    assert sorted(found["oof"]["id"]) == sorted(f"f{n}" for n in range(TRAIN))
    assert not list((tmp_path / "out" / "images").rglob("*.tfrec"))


def melanoma(number: int, count: int, first: int) -> list[dict[str, bytes | int | float]]:
    return [
        {
            "image": jpeg(picture(n)),
            "image_name": f"ISIC_{n:07d}".encode(),
            "patient_id": n // 2,
            "sex": n % 2,
            "age_approx": 5 * (n % 9),
            "anatom_site_general_challenge": n % 4,
            "diagnosis": 0,
            "target": label(n) % 2,
            **({"width": 6000, "height": 4000} if number else {}),
        }
        for n in range(first, first + count)
    ]


def test_the_melanoma_schema_with_an_earlier_year(tmp_path: Path) -> None:
    shard(tmp_path / "data" / "melanoma-16x16" / "train00-30.tfrec", melanoma(0, 30, 0))
    shard(tmp_path / "data" / "melanoma-16x16" / "train01-30.tfrec", melanoma(1, 30, 30))
    shard(tmp_path / "data" / "isic2019-16x16" / "train00-20.tfrec", melanoma(1, 20, 100))
    keep = (
        "image",
        "image_name",
        "patient_id",
        "sex",
        "age_approx",
        "anatom_site_general_challenge",
    )
    tests = [{key: row[key] for key in keep} for row in melanoma(0, TEST, 200)]
    shard(tmp_path / "data" / "melanoma-16x16" / f"test00-{TEST}.tfrec", tests)
    ids = [f"ISIC_{n:07d}" for n in range(200, 200 + TEST)]
    write_sample(tmp_path, ids)
    data = """source = "tfrecords"
images = "melanoma-{size}/train*.tfrec"
test_images = "melanoma-{size}/test*.tfrec"
id = "image_name"
target = "target"
group = "patient_id"
numeric = ["age_approx"]
categorical = ["sex", "anatom_site_general_challenge"]

[[data.external]]
name = "2019"
images = "isic2019-{size}/train*.tfrec"
"""
    (tmp_path / "data" / "no.txt").write_text("ISIC_0000004\n")
    folds = 'strata = ["sex", "age_approx"]\nexclude_file = "no.txt"'
    found = run(write_file(tmp_path, data, classes=["0", "1"], sizes=[16], folds=folds), ids)
    fold_of = found["folds"].set_index("id")["fold"]
    # Those of the same patients are left out, the others train always and are never scored.
    assert set(fold_of[fold_of.index.str.startswith("2019/")]) <= {-1, -2}
    assert fold_of["ISIC_0000004"] == -1
    assert not found["oof"]["id"].str.startswith("2019/").any()
    assert len(found["oof"]) == 59
    assert found["examples"]["tabular_age_approx"].notna().all()


@pytest.mark.parametrize("kind", ["python", "binary"])
def test_cifar_batches(tmp_path: Path, kind: str) -> None:
    pixels = np.stack([picture(n, 32) for n in range(TRAIN + TEST)])
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), 3072)
    labels = [label(n) for n in range(len(pixels))]
    (tmp_path / "data").mkdir()
    for name, rows in (
        ("data_batch_1", slice(0, 30)),
        ("data_batch_2", slice(30, TRAIN)),
        ("test_batch", slice(TRAIN, None)),
    ):
        if kind == "python":
            batch = {b"data": planes[rows], b"labels": labels[rows]}
            (tmp_path / "data" / name).write_bytes(pickle.dumps(batch, protocol=2))
        else:
            values = np.concatenate(
                [np.array(labels[rows], np.uint8)[:, None], planes[rows]], axis=1
            )
            values.tofile(tmp_path / "data" / f"{name}.bin")
    ids = [str(n) for n in range(1, TEST + 1)]
    write_sample(tmp_path, ids, "c0")
    ending = ".bin" if kind == "binary" else ""
    data = f'source = "cifar10"\ntrain = "data_batch_*{ending}"\ntest = "test_batch{ending}"'
    found = run(write_file(tmp_path, data, classes=[f"c{n}" for n in range(10)], sizes=[32]), ids)
    assert found["oof"]["target"].tolist() == [f"c{value}" for value in labels[:TRAIN]]
    assert set(found["submission"]["label"]) <= {f"c{n}" for n in range(10)}


def test_files_of_a_bucket_and_records_published_to_it(tmp_path: Path, bucket: str) -> None:
    """Everything but the competition file lies in Cloud Storage."""
    lines = ["name,digit"]
    for number in range(TRAIN):
        put(tmp_path / "data" / "train" / f"part{number % 3}" / f"i{number}.jpg", picture(number))
        lines.append(f"i{number},{label(number)}")
    for number in range(TEST):
        put(tmp_path / "data" / "test" / f"t{number}.jpg", picture(TRAIN + number))
    (tmp_path / "data" / "train.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "data" / "drop.csv").write_text("id\ni7\n")
    ids = [f"t{number}" for number in range(TEST)]
    write_sample(tmp_path, ids)
    upload(tmp_path / "data", f"{bucket}/digits")
    data = 'source = "files"\ntrain = "train.csv"\nid = "name"\ntarget = "digit"\n'
    data += 'images = "train/**/{id}.jpg"\ntest_images = "test/{id}.jpg"'
    more = f'publish = "{bucket}/records/digits"\nparts = 2'
    file = write_file(
        tmp_path, data, classes=DIGITS, sizes=[16], more=more, folds='exclude_file = "drop.csv"'
    )
    file.write_text(file.read_text().replace('root = "data"', f'root = "{bucket}/digits"'))
    (tmp_path / "data").rename(tmp_path / "gone")
    found = run(file, ids)
    assert len(found["oof"]) == TRAIN - 1
    assert verify(f"{bucket}/records/digits").records == TRAIN + TEST
    # What was published is a source in its turn, used where it lies.
    ready = """source = "tfrecords"
images = "records/digits/{size}/train*.tfrec"
test_images = "records/digits/{size}/test*.tfrec"
id = "image_name"
target = "target"
"""
    other = tmp_path / "other"
    other.mkdir()
    again = write_file(other, ready, classes=DIGITS, sizes=[16], folds='exclude = ["i7"]')
    again.write_text(
        again.read_text()
        .replace('root = "data"', f'root = "{bucket}"')
        .replace('"sample.csv"', '"digits/sample.csv"')
    )
    second = run(again, ids)
    columns = ["id", "split", "target", "sum_c_16"]
    # Sums are of the pixels before and after JPEG, so only nearly the same.
    first_sums, second_sums = (
        np.array(table["examples"]["sum_c_16"].tolist()) for table in (found, second)
    )
    assert found["examples"][columns[:3]].equals(second["examples"][columns[:3]])
    np.testing.assert_allclose(first_sums, second_sums, rtol=0.05)
    assert read_manifest(other / "out" / "images")["root"] == bucket


def test_gzipped_pixels_and_an_earlier_year(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "data").mkdir()
    images, labels = digits(120)

    def table(rows: range, labelled: bool) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow((["label"] if labelled else []) + [f"pixel{n}" for n in range(64)])
        writer.writerows(
            ([labels[n]] if labelled else []) + images[n].ravel().tolist() for n in rows
        )
        return text.getvalue().encode()

    (tmp_path / "data" / "train.csv.gz").write_bytes(gzip.compress(table(range(TRAIN), True)))
    (tmp_path / "data" / "test.csv.gz").write_bytes(
        gzip.compress(table(range(TRAIN, TRAIN + TEST), False))
    )
    (tmp_path / "data" / "old.csv").write_bytes(table(range(80, 120), True))
    ids = [str(n) for n in range(1, TEST + 1)]
    write_sample(tmp_path, ids)
    data = 'source = "pixels"\ntrain = "train.csv.gz"\ntest = "test.csv.gz"\ntarget = "label"\n'
    data += '\n[[data.external]]\nname = "old"\nuse = "folds"\ntrain = "old.csv"\n'
    # Enlarged, as for a network that wants more than these have.
    found = run(write_file(tmp_path, data, classes=DIGITS, sizes=[16]), ids)
    assert sorted(found["oof"]["id"]) == sorted(
        [*(str(n) for n in range(1, TRAIN + 1)), *(f"old/{n}" for n in range(1, 41))]
    )
    old = found["folds"]["id"].str.startswith("old/")
    assert np.bincount(found["folds"]["fold"][old]).tolist() == [20, 20]


def test_images_of_several_classes(tmp_path: Path) -> None:
    """A table whose label names several classes, or none, to a submission that does."""
    lines = ["name,labels"]
    names = ["even", "small", "round"]

    def of(number: int) -> list[str]:
        digit = label(number)
        return [
            name
            for name, is_one in zip(
                names, (digit % 2 == 0, digit < 5, digit in (0, 6, 8, 9)), strict=True
            )
            if is_one
        ]

    train, test = range(TRAIN), range(TRAIN, TRAIN + TEST)
    assert [number for number in train if not of(number)]
    for number in train:
        put(tmp_path / "data" / "train" / f"i{number}.jpg", picture(number))
        lines.append(f"i{number},{'|'.join(of(number))}")
    for number in test:
        put(tmp_path / "data" / "test" / f"i{number}.jpg", picture(number))
    (tmp_path / "data" / "train.csv").write_text("\n".join(lines) + "\n")
    ids = [f"i{number}" for number in test]
    write_sample(tmp_path, ids, "even")
    data = (
        'source = "files"\ntrain = "train.csv"\nid = "name"\ntarget = "labels"\nseparator = "|"\n'
    )
    data += 'images = "train/{id}.jpg"\ntest_images = "test/{id}.jpg"'
    file = write_file(tmp_path, data, classes=names, sizes=[16])
    text = (
        file.read_text()
        .replace('task = "multiclass"', 'task = "multilabel"')
        .replace('"accuracy"', '"macro_f1"')
    )
    file.write_text(text)
    found = run(file, ids)
    targets = found["oof"].fillna("").set_index("id")["target"]
    assert targets.to_dict() == {f"i{number}": "|".join(of(number)) for number in train}
    submitted = found["submission"]["label"].fillna("")
    assert {name for row in submitted for name in row.split(" ")} <= {*names, ""}
    probabilities = found["oof"][names].to_numpy()
    truth = np.array([[name in row.split("|") for name in names] for row in targets])
    # Each class by itself: rows do not sum to 1, and it has learnt something.
    assert np.abs(probabilities.sum(axis=1) - 1).max() > 0.1
    assert ((probabilities >= 0.5) == truth).mean() > 0.6

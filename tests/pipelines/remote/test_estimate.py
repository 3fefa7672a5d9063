import dataclasses
import re
from pathlib import Path

import pytest

from components.records.source import SourceSummary
from pipelines.definitions.compilation import DEFAULTS
from pipelines.remote import estimate
from pipelines.targets import accelerators
from tests.support.paths import ROOT
from trainer.config.competition import Competition
from trainer.config.load import read
from trainer.config.load import read as read_any
from trainer.config.machine import Machine
from trainer.errors import CompetitionError

DEFAULT, GAN = DEFAULTS
FOUND = SourceSummary(10_000, [], [str(number) for number in range(2_000)])


def competition(machine: Machine, file: Path = DEFAULT) -> Competition:
    return dataclasses.replace(read(file), machine=machine)


@pytest.mark.parametrize("target", ["vertex", "kfp"])
@pytest.mark.parametrize("spot", [False, True])
def test_every_machine_has_a_price_and_spot_is_less(target: str, spot: bool) -> None:
    costs = estimate.prices(None)
    for machine in (
        *(Machine(tpu=name) for name in accelerators.TPUS),
        *(Machine(gpu=name, gpus=8) for name in accelerators.GPUS),
    ):
        hour = costs.training(dataclasses.replace(machine, spot=spot), target)
        assert 0.2 < hour < 200
        if spot:
            assert hour < costs.training(machine, target)
        if target == "vertex":
            assert hour > costs.training(dataclasses.replace(machine, spot=spot), "kfp")


def test_a_task_on_a_cpu_costs_what_its_machine_does() -> None:
    costs = estimate.prices(None)
    four = costs.training(Machine(spot=True), "vertex")
    # 200 GiB need an n1-standard-64 for its memory, and 33 vCPUs one for its vCPUs. 600 GiB, more
    # than any machine has, are priced by memory.
    assert costs.training(Machine(spot=True, memory_gib=200), "vertex") == pytest.approx(16 * four)
    assert costs.training(Machine(spot=True, cpus=33), "vertex") == pytest.approx(16 * four)
    plain = costs.training(Machine(), "vertex")
    assert costs.training(Machine(memory_gib=600), "vertex") == pytest.approx(600 / 16 * plain)
    assert costs.training(Machine(cpus=8, memory_gib=16), "kfp") == pytest.approx(
        2 * costs.training(Machine(), "kfp")
    )


@pytest.mark.parametrize(
    ("backbone", "size", "images", "seen"),
    [
        ("EfficientNetB5", 384, 26_000, 80),
        ("DenseNet201", 512, 16_465, 78),
        ("efficientnet/EfficientNetB7", 512, 16_465, 121),
    ],
)
def test_the_public_logs_that_it_rests_on(
    backbone: str, size: int, images: int, seen: float
) -> None:
    """Compare with the logged seconds per epoch on a TPU v3-8."""
    base = read(DEFAULT)
    member = dataclasses.replace(base.members[0], backbone=backbone, size=size, epochs=1, tta=1)
    folds = dataclasses.replace(base.folds, count=5)
    made = dataclasses.replace(base, machine=Machine(tpu="v3-8"), members=[member], folds=folds)
    assert seen / 2 < estimate._seconds(member, [0], made, images * 5 // 4, 0) < seen * 2


def test_more_images_epochs_and_views_take_longer() -> None:
    made = competition(Machine(gpu="L4"))
    member = made.members[0]
    least = estimate._seconds(member, [0], made, 1000, 100)
    assert estimate._seconds(member, [0, 1], made, 1000, 100) == pytest.approx(2 * least)
    assert estimate._seconds(member, [0], made, 2000, 200) == pytest.approx(2 * least)
    assert (
        estimate._seconds(
            dataclasses.replace(member, epochs=2 * member.epochs), [0], made, 1000, 100
        )
        > 1.5 * least
    )
    assert estimate._seconds(dataclasses.replace(member, tta=5), [0], made, 1000, 100) > least


def test_the_table_adds_up() -> None:
    text = estimate.table(
        competition(Machine(tpu="v5e-4", hours=10, retries=0)),
        FOUND,
        "vertex",
        estimate.prices(None),
    )
    rows = [re.split(r"\s{2,}", line) for line in text.partition("\n\n")[0].splitlines()]
    assert [row[0] for row in rows[1:]] == [
        "train cnn",
        "train cnn-deep",
        "other steps",
        "total",
    ]
    assert rows[1][1:3] == ["1", "ct5lp-hightpu-4t 2x2"]
    assert float(rows[-1][-1]) == pytest.approx(
        sum(float(row[-1]) for row in rows[1:-1]) + 0.03, abs=0.02
    )
    assert "Training costs at most USD 110" in text
    assert "prices of 2026-" in text


def test_what_is_not_known_is_stated() -> None:
    made = competition(Machine())
    text = estimate.table(made, SourceSummary(None, None, None), "kfp", estimate.prices(None))
    assert "?" in text.splitlines()[1]
    assert text.splitlines()[4].startswith("total")
    assert text.splitlines()[4].endswith("?")
    other = dataclasses.replace(
        made, members=[dataclasses.replace(made.members[0], backbone="my.code:network")]
    )
    assert "my.code:network: unknown network" in estimate.table(
        other, FOUND, "kfp", estimate.prices(None)
    )


def test_the_user_s_own_prices(tmp_path: Path) -> None:
    text = estimate.PRICES.read_text()
    own = tmp_path / "prices.toml"
    own.write_text(
        text.replace('"L4" = { on_demand = 0.854', '"L4" = { on_demand = 2.0').replace(
            '"USD"', '"EUR"'
        )
    )
    costs = estimate.prices(own)
    assert costs.training(Machine(gpu="L4"), "kfp") == 2.0
    assert "EUR per hour" in estimate.table(competition(Machine(gpu="L4")), FOUND, "kfp", costs)
    for old, new, words in (
        ("surcharge = 0.15", "", "surcharge"),
        ("light = 0.154", 'light = "much"', "much"),
        ("[cpu]", "[cpu", "prices.toml"),
        ("light = 0.154", "light = -1", "-1 is not a price"),
        ("light = 0.154", "light = nan", "nan is not a price"),
        ("spot = 0.341", "spot = inf", "inf is not a price"),
    ):
        own.write_text(text.replace(old, new))
        with pytest.raises(CompetitionError, match=words):
            estimate.prices(own)
    own.write_text(text.replace('"L4" = { on_demand = 0.854, spot = 0.341 }', ""))
    with pytest.raises(CompetitionError, match=r"\[gpu\] L4: requires on_demand and spot"):
        estimate.prices(own).training(Machine(gpu="L4"), "kfp")


def test_every_competition_of_the_project_has_an_estimate() -> None:
    for path in sorted((ROOT / "pipelines" / "competitions").glob("*.toml")):
        made = dataclasses.replace(read_any(path), machine=Machine(tpu="v5e-8"))
        assert "unknown network" not in estimate.table(made, FOUND, "vertex", estimate.prices(None))


def test_a_gan_and_its_judge_are_a_task_each() -> None:
    made = dataclasses.replace(read_any(GAN), machine=Machine(gpu="L4"))
    costs = estimate.prices(None)
    judge, gan, others = estimate.lines(made, FOUND, "vertex", costs)
    assert [(line.what, line.count) for line in (judge, gan, others)] == [
        ("train judge", 1),
        ("train gan", 1),
        ("other steps", 7),
    ]
    more = dataclasses.replace(made, gan=dataclasses.replace(made.gan, steps=4 * made.gan.steps))
    longer = estimate.lines(more, FOUND, "vertex", costs)[1]
    assert gan.hours is not None
    assert longer.hours is not None
    assert longer.hours - estimate.START == pytest.approx(4 * (gan.hours - estimate.START))


def test_a_linear_member_costs_the_start_of_its_job() -> None:
    made = competition(Machine())
    linear = dataclasses.replace(made.members[0], backbone="linear", epochs=0)
    assert estimate._seconds(linear, [0], made, 100_000, 10_000) == 0
    text = estimate.table(
        dataclasses.replace(made, members=[linear]), FOUND, "kfp", estimate.prices(None)
    )
    assert "unknown network" not in text


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine(tpu="v5e-8"), "custom_model_training_tpu_v5e): 80 TPU v5e chips for 10 training"),
        (Machine(tpu="v5e-8", at_once=3), "24 TPU v5e chips for 3 training jobs"),
        (
            Machine(gpu="A100-80GB", gpus=2, when="spot"),
            "custom_model_training_preemptible_nvidia_a100_80gb_gpus): 20 A100-80GB GPUs for 10",
        ),
    ],
)
def test_the_quota_that_a_run_needs(machine: Machine, words: str) -> None:
    made = competition(machine)
    made = dataclasses.replace(made, train=dataclasses.replace(made.train, folds_per_task=1))
    text = estimate.table(made, FOUND, "vertex", estimate.prices(None))
    assert words in text
    assert "machine.at_once bounds them" in text
    assert "Quota: " in estimate.table(made, FOUND, "kfp", estimate.prices(None))


def test_a_cpu_needs_no_quota_of_chips() -> None:
    text = estimate.table(competition(Machine()), FOUND, "vertex", estimate.prices(None))
    assert "Quota" not in text

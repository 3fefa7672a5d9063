"""Estimates a run before it is sent: its steps, machines, hours and cost.

The estimate is accurate to a factor of three. Training hours are counted operations, divided by the
speed at which machines were measured to train such networks. Public logs of three trainings on a
TPU v3-8 (melanoma.toml and flowers104.toml in pipelines/competitions name them) reach 3, 5 and 6 %
of its peak; this project's own demo does 28 GFLOP/s on a CPU core. The multiply-adds of a network
are those of its paper at the image side in the table, and grow with the square of the side.
"""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from components.records.source import SourceSummary
from components.training.plan import plan
from pipelines.definitions import registry
from pipelines.targets import accelerators, machines
from trainer.config.competition import Competition
from trainer.config.gan import HELD_OUT_FOLD, Gan
from trainer.config.known_backbones import LINEAR
from trainer.config.machine import Machine
from trainer.config.member import Member
from trainer.config.preparation import NO_FOLD
from trainer.errors import CompetitionError

File = TypeVar("File", bound=Competition | Gan)

PRICES = Path(__file__).with_name("prices.toml")
# (10⁹ multiply-adds of a forward pass, image side in pixels). EfficientNet: Tan and Le,
# arXiv:1905.11946, table 2. DenseNet: Huang et al., arXiv:1608.06993, figure 3. ResNet: He et al.,
# arXiv:1512.03385, table 1.
NETWORKS: Mapping[str, tuple[float, int]] = {
    "EfficientNetB0": (0.39, 224),
    "EfficientNetB1": (0.70, 240),
    "EfficientNetB2": (1.0, 260),
    "EfficientNetB3": (1.8, 300),
    "EfficientNetB4": (4.2, 380),
    "EfficientNetB5": (9.9, 456),
    "EfficientNetB6": (19.0, 528),
    "EfficientNetB7": (37.0, 600),
    "DenseNet121": (2.9, 224),
    "DenseNet169": (3.4, 224),
    "DenseNet201": (4.4, 224),
    "ResNet50": (3.8, 224),
    "ResNet101": (7.6, 224),
    "ResNet152": (11.3, 224),
}
# The network whose operations stand in for those of an unknown backbone.
OTHER = "ResNet50"
# Peaks in 10¹² half-precision operations per second: of a TPU chip
# (docs.cloud.google.com/tpu/docs/v3 and so on), of a GPU (its data sheet, without sparsity).
PEAKS: Mapping[str, float] = {"v3": 123, "v5e": 197, "v6e": 918} | {
    "T4": 65,
    "V100": 125,
    "L4": 121,
    "A100": 312,
    "A100-80GB": 312,
    "H100": 989,
}
# The share of the peak that training reaches.
SHARE = 0.04
# 10¹² operations per second of a vCPU, which is half a core.
CPU_TERA = 0.028 / 2
# Hours until a machine is allocated, has pulled the image and has started.
START = 0.1


@dataclass(frozen=True)
class CostLine:
    """Steps of the same kind.

    Attributes:
        what: what they do.
        count: how many of them there are.
        machine: the machine of each, as text.
        hours: the duration of each, in hours; None if the number of images is not known.
        hourly: the price of the machine per hour, in the currency of the price table.
    """

    what: str
    count: int
    machine: str
    hours: float | None
    hourly: float


@dataclass(frozen=True)
class Prices:
    """A price table.

    Attributes:
        table: the parsed file; its keys are those of prices.toml.
    """

    table: Mapping[str, Any]

    def training(self, machine: Machine, target: str) -> float:
        """The price of a training machine per hour, in the table's currency."""
        if machine.tpu or machine.gpu:
            kind, name = ("tpu", machine.tpu) if machine.tpu else ("gpu", machine.gpu)
            listed = self._of(kind, name)
            times = 1.0 if machine.tpu else float(machine.gpus)
        else:
            listed, times = self._of("cpu", ""), machines.paid_cpus(machine, target)
        base = times * float(listed["spot" if machine.preemptible else "on_demand"])
        # The fee of Vertex AI is a share of the on-demand price, whatever is paid for the machine.
        return base + (
            float(self.table["surcharge"]) * times * float(listed["on_demand"])
            if target == "vertex"
            else 0.0
        )

    def _of(self, kind: str, name: str) -> Mapping[str, Any]:
        try:
            entry: Mapping[str, Any] = self.table[kind][name] if name else self.table[kind]
        except KeyError:
            raise CompetitionError(
                f"prices: [{kind}] {name}: requires on_demand and spot"
            ) from None
        return entry


def with_price(file: File, target: str, costs: Prices) -> File:
    """Return a file with the price of its training machine, so that the report shows what training
    cost; a price in the file stays.

    Args:
        file: a competition or a GAN, with the machine to use.
        target: `vertex` or `kfp`.
        costs: the price table.
    """
    if file.train.hourly_price:
        return file
    hourly = round(costs.training(file.machine, target), 4)
    return dataclasses.replace(file, train=dataclasses.replace(file.train, hourly_price=hourly))


def prices(file: Path | None) -> Prices:
    """Read a price table.

    Args:
        file: the table; None for the project's own.

    Raises:
        CompetitionError: it cannot be read, or lacks a key.
    """
    path = file or PRICES
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        for key in ("run", "light", "surcharge"):
            _amount(table[key])
        for entry in [table["cpu"], *table["tpu"].values(), *table["gpu"].values()]:
            _amount(entry["on_demand"]), _amount(entry["spot"])
        str(table["date"]), str(table["currency"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CompetitionError(
            f"--prices {path}: cannot be read as a table like pipelines/remote/prices.toml:"
            f" {error!r}"
        ) from None
    return Prices(table)


def _amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is not a price")
    return float(value)


def lines(
    competition: Competition | Gan, summary: SourceSummary, target: str, costs: Prices
) -> list[CostLine]:
    """The lines of the estimate: one per member, one for a GAN, and one for all other steps.

    Args:
        competition: as loaded, with the training machine to use.
        summary: how many images there are.
        target: vertex or kfp.
        costs: the price table.
    """
    machine = competition.machine
    name = _machine(machine, target)
    hourly = costs.training(machine, target)
    members = registry.members(competition)
    jobs = plan(members, competition.folds, competition.train, competition.records)
    estimates = []
    for member in members:
        folds = [job["folds"] for job in jobs if job["member"]["name"] == member.name]
        if not isinstance(competition, Competition):
            folds = [[HELD_OUT_FOLD]]
        hours = None
        if summary.train is not None and summary.test_ids is not None:
            tests = len(summary.test_ids)
            seconds = _seconds(member, folds[0], competition, summary.train, tests)
            hours = START + seconds / 3600
        estimates.append(CostLine(f"train {member.name}", len(folds), name, hours, hourly))
    if not isinstance(competition, Competition):
        operations = competition.gan.operations(competition.records.sizes[0], channels=3)
        hours = START + competition.gan.steps * operations / _operations(machine) / 3600
        estimates.append(CostLine("train gan", 1, name, hours, hourly))
    images = (summary.train or 0) + len(summary.test_ids or [])
    light = START + images * 0.02 * len(competition.records.sizes) / 3600
    steps = (9 if isinstance(competition, Competition) else 6) + competition.records.parts
    plain = "e2-standard-4" if target == "vertex" else "a node"
    return [*estimates, CostLine("other steps", steps, plain, light, float(costs.table["light"]))]


def _machine(machine: Machine, target: str) -> str:
    """The training machine as text."""
    if target == "vertex" and (machine.tpu or machine.gpu or machine.preemptible):
        host = machines.on_vertex(machine)
        name = host.machine_type + (f" {host.topology}" if host.topology else "")
        name += (
            f" + {host.accelerator_count} {host.accelerator_type}" if host.accelerator_type else ""
        )
    elif machine.tpu or machine.gpu:
        node = machines.on_gke(machine)
        name = f"{node.count} {node.resource} ({machine.tpu or machine.gpu})"
    else:
        cpus, memory = machines.cpu_needs(machine)
        name = f"{cpus} vCPU, {memory} GiB"
    return name + (", spot" if machine.preemptible else ", flex" if machine.flexible else "")


def _seconds(
    member: Member, folds: list[int], competition: Competition | Gan, images: int, tests: int
) -> float:
    """The seconds of one training job.

    Training an image takes as long as three forward passes.

    Args:
        member: its recipe.
        folds: the folds of the job; [NO_FOLD] for one model of all images.
        competition: as loaded.
        images: how many labelled images there are.
        tests: how many test images there are.
    """
    size = member.augment.crop or member.size or competition.records.sizes[0]
    forward = 2e9 * _multiply_adds(member, size)
    held_out = 0 if folds == [NO_FOLD] else images / competition.folds.count
    trained = 3 * forward * (images - held_out) * member.epochs
    # Each epoch scores the held-out fold; at the end, that fold and the test images are predicted
    # in all views.
    predicted = forward * (held_out * member.epochs + (held_out + tests) * member.tta)
    return len(folds) * (trained + predicted) / _operations(competition.machine)


def _multiply_adds(member: Member, size: int) -> float:
    """10⁹ multiply-adds of a forward pass of one image; size: its side in pixels."""
    if member.backbone == LINEAR:
        # It trains in seconds: what counts is the start of its job.
        return 0.0
    if member.backbone == "cnn":
        side, channels, total = size, 3, 0.0
        for number, (filters, stride) in enumerate(
            zip(member.cnn.filters, member.cnn.strides, strict=True)
        ):
            side = math.ceil(side / stride)
            kernel = 3 if number else member.cnn.first_kernel
            total += side**2 * kernel**2 * channels * filters
            channels = filters
        return total / 1e9
    billions, side = NETWORKS.get(member.backbone.rpartition("/")[2], NETWORKS[OTHER])
    return billions * (size / side) ** 2


def _operations(machine: Machine) -> float:
    """The operations per second that a machine reaches in training."""
    if machine.tpu:
        peak = PEAKS[machine.tpu.partition("-")[0]] * accelerators.TPUS[machine.tpu].chips
        return SHARE * peak * 1e12
    if machine.gpu:
        return SHARE * PEAKS[machine.gpu] * machine.gpus * 1e12
    return CPU_TERA * machines.cpu_needs(machine)[0] * 1e12


def table(
    competition: Competition | Gan, summary: SourceSummary, target: str, costs: Prices
) -> str:
    """The estimate as text, with notes on how it was made; for the arguments see `lines`."""
    estimates = lines(competition, summary, target, costs)
    currency = str(costs.table["currency"])
    cells = [["", "steps", "machine", "hours each", f"{currency} per hour", currency]]
    total = float(costs.table["run"]) if target == "vertex" else 0.0
    unknown = False
    for line in estimates:
        cost = None if line.hours is None else line.count * line.hours * line.hourly
        unknown |= cost is None
        total += cost or 0.0
        hours = "?" if line.hours is None else f"{line.hours:.2f}"
        price = "?" if cost is None else f"{cost:.2f}"
        cells.append([line.what, str(line.count), line.machine, hours, f"{line.hourly:.3f}", price])
    cells.append(["total", "", "", "", "", "?" if unknown else f"{total:.2f}"])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    machine = competition.machine
    training = [line for line in estimates if line.what.startswith("train ")]
    most = (
        sum(line.count * line.hourly for line in training) * machine.hours * (1 + machine.restarts)
    )
    unlisted = [
        member.backbone
        for member in registry.members(competition)
        if member.backbone not in ("cnn", LINEAR)
        and member.backbone.rpartition("/")[2] not in NETWORKS
    ]
    notes = [
        (
            f"Estimated from counted operations at {SHARE:.0%} of an accelerator's peak, accurate"
            f" to a factor of three; prices of {costs.table['date']}."
        ),
    ]
    if target != "vertex" or machine.tpu or machine.gpu or machine.preemptible:
        notes.append(
            f"Training costs at most {currency} {most:.0f}: machine.hours = {machine.hours:g} per"
            f" training job, {1 + machine.restarts} attempts each."
        )
    if machine.tpu or machine.gpu:
        notes.append(machines.quota(machine, target, sum(line.count for line in training)))
    if unlisted:
        notes.append(f"{', '.join(unlisted)}: unknown network, counted as {OTHER}.")
    return "\n".join([*rows, "", *notes])

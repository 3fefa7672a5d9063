"""The flags of the commands for remote runs: where a run goes, and its launcher."""

import argparse

from pipelines.definitions import fingerprint, registry
from pipelines.remote.destination import TARGETS
from trainer import runtime
from trainer.config import known_backbones
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.errors import CompetitionError

_PLACE = ("project", "region", "root", "service_account", "host", "namespace")


def add_destination(parser: argparse.ArgumentParser, *, is_new: bool) -> None:
    """Add the flags that name a destination.

    Args:
        parser: of the command.
        is_new: whether the command does not look up the destination of a submitted run.
    """
    parser.add_argument(
        "--target",
        choices=TARGETS,
        default="vertex" if is_new else None,
        help="default: vertex, or the target that the run was submitted to",
    )
    parser.add_argument("--project", metavar="ID", help="Google Cloud project")
    parser.add_argument("--region", metavar="REGION", help="such as us-central1")
    parser.add_argument(
        "--bucket",
        dest="root",
        metavar="BUCKET",
        help="where the runs' artifacts go: a bucket's name, or gs://bucket/prefix",
    )
    parser.add_argument(
        "--service-account", metavar="EMAIL", help="the run's account (docs/security.md)"
    )
    parser.add_argument(
        "--host",
        metavar="URL",
        help=f"URL of a Kubeflow Pipelines server; {runtime.KFP_TOKEN} holds its token",
    )
    parser.add_argument(
        "--namespace", metavar="NAME", help="your namespace on a multi-user Kubeflow server"
    )


def destination_flags(options: argparse.Namespace) -> dict[str, str | None]:
    return {name: getattr(options, name) for name in _PLACE}


def own_code_warnings(competition: Competition | Gan) -> list[str]:
    """A warning for each backbone whose code the project's images lack."""
    return [
        f"{member.name}: backbone = {member.backbone!r}: is not part of the project's images: the"
        " training image must contain it as an importable module"
        for member in registry.members(competition)
        if known_backbones.of_package(member.backbone)
        or (
            known_backbones.is_function(member.backbone)
            and member.backbone.partition(".")[0] not in fingerprint.IN_IMAGES
        )
    ]


def parsed_labels(flags: list[str]) -> dict[str, str]:
    """Parse the values of --label, each KEY=VALUE."""
    pairs = [text.partition("=") for text in flags]
    for key, equals, _ in pairs:
        if not equals:
            raise CompetitionError(f"--label {key}: must be KEY=VALUE")
        if [other for other, *_ in pairs].count(key) > 1:
            raise CompetitionError(f"--label {key}: is given more than once")
    return {key: value for key, _, value in pairs}

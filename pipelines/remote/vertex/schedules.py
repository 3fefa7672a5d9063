"""Schedules of Vertex AI: list, pause, resume and delete."""

from collections.abc import Iterator, Mapping
from typing import Any

from components import retry
from pipelines.remote.launcher import SCHEDULE_TITLE, RemoteSchedule
from pipelines.remote.vertex.experiment import TIMEOUT, patiently

# Seconds that a deletion may take.
_DELETION_SECONDS = 120.0


class Schedules:
    """The schedules of a project and region."""

    def __init__(self, parent: str, options: Mapping[str, Any]) -> None:
        """
        Args:
            parent: `projects/PROJECT/locations/REGION`.
            options: arguments of Google's clients: endpoint, transport and credentials.
        """
        self.parent, self.options = parent, options

    def all(self) -> Iterator[RemoteSchedule]:
        """Yield the schedules that this project's commands created."""
        found = self._client().list_schedules(
            parent=self.parent, retry=retry.policy(retry.is_transient), timeout=TIMEOUT
        )
        for schedule in found:
            if schedule.display_name.startswith(SCHEDULE_TITLE):
                next_run = schedule.next_run_time
                yield RemoteSchedule(
                    name=schedule.name.rpartition("/")[2],
                    title=schedule.display_name.removeprefix(SCHEDULE_TITLE),
                    cron=schedule.cron,
                    state=schedule.state.name.lower(),
                    next_run=next_run.isoformat() if next_run else "",
                )

    def change(self, name: str, action: str) -> None:
        """Pause, resume or delete a schedule.

        Args:
            name: its id, or its full name.
            action: pause, resume or delete.
        """
        client = self._client()
        full = name if "/" in name else f"{self.parent}/schedules/{name}"
        if action == "delete":
            patiently(lambda **options: client.delete_schedule(name=full, **options)).result(
                timeout=_DELETION_SECONDS
            )
            return
        call = {"pause": client.pause_schedule, "resume": client.resume_schedule}[action]
        patiently(lambda **options: call(name=full, **options))

    def _client(self) -> Any:
        from google.cloud.aiplatform_v1.services.schedule_service import ScheduleServiceClient

        return ScheduleServiceClient(**self.options)

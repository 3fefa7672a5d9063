"""Experiments of Vertex AI: contexts in the project's metadata store, with runs as children."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from components import retry

# Seconds that one call may take, and that a new metadata store may take.
TIMEOUT, STORE_SECONDS = 60.0, 300.0


class Experiments:
    """The experiments of a project and region."""

    def __init__(self, parent: str, options: Mapping[str, Any]) -> None:
        """
        Args:
            parent: `projects/PROJECT/locations/REGION`.
            options: arguments of Google's clients: endpoint, transport and credentials.
        """
        self.parent, self.options = parent, options
        self.store = f"{parent}/metadataStores/default"

    def make(self, name: str) -> None:
        """Create an experiment in the form that the console compares, unless it exists."""
        from google.api_core.exceptions import Conflict, NotFound
        from google.cloud.aiplatform_v1.types import Context

        context = Context(
            display_name=name,
            schema_title="system.Experiment",
            schema_version="0.0.1",
            metadata={"experiment_deleted": False},
        )

        def create(**options: Any) -> Any:
            return self._client().create_context(
                parent=self.store, context_id=name, context=context, **options
            )

        with contextlib.suppress(Conflict):
            try:
                patiently(create)
            except NotFound:
                # A new project has no metadata store until something is stored in it.
                with contextlib.suppress(Conflict):
                    self._make_store()
                patiently(create)

    def join(self, name: str, run_context: str) -> None:
        """Add a run to an experiment.

        Args:
            name: the experiment.
            run_context: the context that the service created for the run.
        """
        patiently(
            lambda **options: self._client().add_context_children(
                context=f"{self.store}/contexts/{name}", child_contexts=[run_context], **options
            )
        )

    def _make_store(self) -> None:
        """Create the project's metadata store, and wait until it exists: some seconds."""
        from google.cloud.aiplatform_v1.types import MetadataStore

        patiently(
            lambda **options: self._client().create_metadata_store(
                parent=self.parent,
                metadata_store_id="default",
                metadata_store=MetadataStore(),
                **options,
            )
        ).result(timeout=STORE_SECONDS)

    def _client(self) -> Any:
        from google.cloud.aiplatform_v1.services.metadata_service import MetadataServiceClient

        return MetadataServiceClient(**self.options)


def patiently(call: Callable[..., Any]) -> Any:
    """Call a function of a client with a timeout, and retry it if it fails temporarily."""
    return retry.policy(retry.is_transient)(call)(timeout=TIMEOUT)

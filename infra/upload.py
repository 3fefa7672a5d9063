"""Upload compiled pipelines to Artifact Registry, where Vertex AI's console lists them: `upload.py
REPOSITORY FILE…`.

REPOSITORY is `https://REGION-kfp.pkg.dev/PROJECT/NAME`. The version is named by the code's digest,
and `latest` moves to it."""

import sys


def main(repository: str, *files: str) -> None:
    """Upload each, and print what the console's URL ends with."""
    from kfp.registry import RegistryClient

    from pipelines.definitions import fingerprint

    tags = [fingerprint.version().replace(".", "-"), "latest"]
    for file in files:
        print(*RegistryClient(host=repository).upload_pipeline(file_name=file, tags=tags))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Check the .tf files against the provider's schema: names, blocks, references and permissions.

Nothing here contacts Google.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
import pytest

from tests.support.paths import ROOT

FOLDER = ROOT / "infra" / "terraform"
SCHEMA: dict[str, Any] = json.loads(
    Path(__file__).with_name("google_schema.json").read_text(encoding="utf-8")
)
FILES = {file.name: file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.tf"))}

META = {"for_each", "count", "depends_on", "provider", "lifecycle"}
LIFECYCLE = {
    "create_before_destroy",
    "prevent_destroy",
    "ignore_changes",
    "replace_triggered_by",
    "precondition",
}
MARKS = {"__is_block__", "__comments__", "__inline_comments__"}

Block = dict[str, Any]


def bare(text: Any) -> str:
    return str(text).strip('"')


def is_blocks(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and "__is_block__" in item for item in value)
    )


@cache
def parsed(text: str) -> dict[str, Any]:
    return hcl2.loads(text)


def blocks(files: dict[str, str], kind: str) -> Iterator[tuple[list[str], Block]]:
    """Yield (labels, body) of each `kind "label" "label" { … }`."""
    for text in files.values():
        for block in parsed(text).get(kind, []):
            labels: list[str] = []
            while "__is_block__" not in block:
                [(label, block)] = (
                    (key, value) for key, value in block.items() if key not in MARKS
                )
                labels.append(bare(label))
            yield labels, block


def misfits(body: Block, schema: dict[str, Any], where: str, meta: set[str]) -> Iterator[str]:
    """Yield a message for each part of a block that the schema does not know or does not allow."""
    given: dict[str, list[Block] | None] = {}
    for key, value in body.items():
        if key in MARKS or key in meta:
            continue
        if key == "dynamic":
            for dynamic in value:
                [(label, content)] = ((bare(k), v) for k, v in dynamic.items() if k not in MARKS)
                if set(content) - MARKS - {"iterator", "labels"} != {"for_each", "content"}:
                    yield f"{where}.{label}: a dynamic block has for_each and content"
                given[label] = (given.get(label) or []) + content.get("content", [])
        else:
            given[key] = (given.get(key) or []) + value if is_blocks(value) else None
    for key, inner in given.items():
        known = schema.get(key)
        if known is None:
            yield f"{where}.{key}: there is no such argument"
        elif known.get("computed"):
            yield f"{where}.{key}: is made by the provider"
        elif (known["block"] is None) != (inner is None):
            yield f"{where}.{key}: is {'an argument' if inner else 'a block'}"
        elif inner is not None:
            if len(inner) > 1 and not known["many"]:
                yield f"{where}.{key}: stands once"
            for one in inner:
                yield from misfits(one, known["block"], f"{where}.{key}", set())
    for key, known in schema.items():
        if known["required"] and key not in given:
            yield f"{where}.{key}: is missing"


def without_comments(text: str) -> str:
    return re.sub(r"(^|\s)#.*", "", text)


def tables(files: dict[str, str]) -> Block:
    return {
        key: value
        for _, body in blocks(files, "locals")
        for key, value in body.items()
        if key not in MARKS
    }


def keys_of(body: Block, files: dict[str, str]) -> set[str] | None:
    """Return the instances of a resource with for_each over a table in the locals, or None."""
    table = re.fullmatch(r"\$\{local\.(\w+)\}", str(body.get("for_each")))
    found = tables(files).get(table[1]) if table else None
    return set(found) - MARKS if isinstance(found, dict) else None


def undeclared(files: dict[str, str], word: str, declared: set[str]) -> Iterator[str]:
    """Yield a message for each undeclared or unused var.x or local.x."""
    names = {
        file: set(re.findall(rf"(?<![\w.]){word}\.(\w+)", without_comments(text)))
        for file, text in files.items()
    }
    # A variable's own validation does not count as a use.
    used = {name for file, found in names.items() if file != "variables.tf" for name in found}
    yield from (
        f"{word}.{name}: is not declared"
        for name in sorted(set().union(*names.values()) - declared)
    )
    yield from (f"{word}.{name}: is not used" for name in sorted(declared - used))


def unknown_references(files: dict[str, str], kind: str) -> Iterator[str]:
    """Yield a message for each google_x.name or data.google_x.name that does not exist.

    This includes instances and attributes of resources.
    """
    bodies = {".".join(labels): body for labels, body in blocks(files, kind)}
    schemas = SCHEMA["data" if kind == "data" else "resources"]
    start = r"(?<![\w.])data\." if kind == "data" else r"(?<![\w.\"])"
    reference = re.compile(start + r"(google_\w+)\.(\w+)(\[(?:[^\]\[]|\[[^\]]*\])*\])?(?:\.(\w+))?")
    for text in files.values():
        for type_, name, index, attribute in reference.findall(without_comments(text)):
            at = f"{type_}.{name}"
            body = bodies.get(at)
            if body is None:
                yield f"{at}: is not declared"
                continue
            if attribute and attribute not in schemas.get(type_, {}):
                yield f"{at}.{attribute}: there is no such attribute"
            if attribute and bool(index) != bool({"count", "for_each"} & set(body)):
                yield (
                    f"{at}.{attribute}:"
                    f" {'is one, and has no index' if index else 'is several, and wants an index'}"
                )
            keys, key = keys_of(body, files), re.fullmatch(r'\["(\w+)"\]', index)
            if keys is not None and key and key[1] not in keys:
                yield f"{at}{index}: is not in its table"


def problems(files: dict[str, str]) -> list[str]:
    found: list[str] = []
    for _, body in blocks(files, "provider"):
        found += misfits(body, SCHEMA["configuration"], "provider", {"alias"})
    for kind, schemas in (("resource", SCHEMA["resources"]), ("data", SCHEMA["data"])):
        names = [".".join(labels) for labels, _ in blocks(files, kind)]
        found += [
            f"{name}: is declared twice"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        for (type_, name), body in blocks(files, kind):
            if type_ not in schemas:
                found.append(
                    f"{type_}.{name}: its type is not in google_schema.json; run extract_schema.py"
                )
                continue
            found += misfits(body, schemas[type_], f"{type_}.{name}", META)
            for rules in body.get("lifecycle", []):
                found += [
                    f"{type_}.{name}.lifecycle.{key}: there is no such rule"
                    for key in set(rules) - MARKS - LIFECYCLE
                ]
    for kind in ("variable", "output"):
        for [name], body in blocks(files, kind):
            wanted = {"description", "type"} if kind == "variable" else {"description", "value"}
            found += [
                f"{kind} {name}: has no {key}"
                for key in sorted(wanted)
                if len(bare(body.get(key, ""))) < 3
            ]
    found += undeclared(files, "var", {labels[0] for labels, _ in blocks(files, "variable")})
    found += undeclared(files, "local", set(tables(files)))
    return [*found, *unknown_references(files, "resource"), *unknown_references(files, "data")]


def grants() -> set[tuple[str, str, str]]:
    """Return (account, resource, role) for each entry of the tables in accounts.tf."""
    where = {"bucket_grants": "bucket", "registry_grants": "repository", "project_grants": ""}
    return {
        (
            bare(grant["account"]),
            bare(grant[column]) if column else "project",
            bare(grant["role"]).removeprefix("roles/"),
        )
        for table, column in where.items()
        for key, grant in tables(FILES)[table].items()
        if key not in MARKS
    }


def test_the_files_fit_the_schema() -> None:
    assert problems(FILES) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        (
            "storage.tf",
            "public_access_prevention",
            "public_access",
            ".public_access: there is no such argument",
        ),
        ("storage.tf", "  location ", "  # location ", "storage_bucket.this.location: is missing"),
        (
            "storage.tf",
            "default_kms_key_name",
            "kms_key_name",
            "encryption.kms_key_name: there is no such argument",
        ),
        ("storage.tf", "versioning {", "versioning = {", "versioning: is a block"),
        (
            "storage.tf",
            "age            =",
            "days           =",
            "lifecycle_rule.condition.days: there is no such argument",
        ),
        ("storage.tf", "    enabled = true", "    # enabled", "versioning.enabled: is missing"),
        (
            "storage.tf",
            "  versioning {",
            "  versioning {}\n  versioning {",
            "versioning: stands once",
        ),
        (
            "storage.tf",
            "this[0].member",
            "this.member",
            "this.member: is several, and wants an index",
        ),
        (
            "registry.tf",
            "immutable_tags",
            "immutable",
            "docker_config.immutable: there is no such argument",
        ),
        ("registry.tf", "var.keep_versions", "var.keep", "var.keep: is not declared"),
        ("registry.tf", "var.keep_versions", "10", "var.keep_versions: is not used"),
        (
            "registry.tf",
            "local.repositories",
            "local.registries",
            "local.registries: is not declared",
        ),
        (
            "accounts.tf",
            'this["run"].member',
            'this["run"].mail',
            "service_account.this.mail: there is no such attribute",
        ),
        (
            "accounts.tf",
            "bucket.this[each",
            "bucket.that[each",
            "google_storage_bucket.that: is not declared",
        ),
        (
            "accounts.tf",
            'this["run"].name',
            'this["ran"].name',
            'google_service_account.this["ran"]: is not in its table',
        ),
        ("federation.tf", "issuer_uri", "issuer", "oidc.issuer_uri: is missing"),
        (
            "secret.tf",
            "leaderboard.id",
            "leaderboard[0].id",
            "leaderboard.id: is one, and has no index",
        ),
        ("gke.tf", "ignore_changes", "ignore", "lifecycle.ignore: there is no such rule"),
        (
            "gke.tf",
            "tpu_topology =",
            "topology =",
            "placement_policy.topology: there is no such argument",
        ),
        (
            "variables.tf",
            '  description = "Prefix of the names of all resources"',
            "",
            "variable name: has no description",
        ),
        ("variables.tf", "  type        = bool", "", "variable ci_starts_builds: has no type"),
        (
            "versions.tf",
            "billing_project ",
            "quota_project ",
            "provider.quota_project: there is no such argument",
        ),
    ],
)
def test_a_mistake_is_found(file: str, old: str, new: str, complaint: str) -> None:
    assert old in FILES[file]
    changed = {**FILES, file: FILES[file].replace(old, new, 1)}
    assert any(complaint in problem for problem in problems(changed)), problems(changed)


def test_the_schema_is_of_the_version_that_is_asked_for() -> None:
    constraint = re.search(r'"~> (\d+\.\d+)"', FILES["versions.tf"])
    assert constraint is not None
    assert SCHEMA["version"].rsplit(".", 1)[0] == constraint[1]


def test_every_variable_that_can_be_wrong_is_validated() -> None:
    unchecked = [
        name
        for [name], body in blocks(FILES, "variable")
        if "validation" not in body and "bool" not in body["type"]
    ]
    assert unchecked == []


def test_the_example_sets_variables_that_exist() -> None:
    _, *lines = (FOLDER / "terraform.tfvars.example").read_text(encoding="utf-8").splitlines()
    example = hcl2.loads("\n".join(line.removeprefix("# ") for line in lines) + "\n")
    assert set(example) - MARKS - {labels[0] for labels, _ in blocks(FILES, "variable")} == set()


def test_checks_are_skipped_for_a_reason() -> None:
    skips = [
        line for text in FILES.values() for line in text.splitlines() if "checkov:skip" in line
    ]
    assert [
        line for line in skips if not re.search(r"#checkov:skip=CKV2?_GCP_\d+: \w.{20,}", line)
    ] == []


def test_submit_alone_reads_the_leaderboards_token() -> None:
    everything = "\n".join(without_comments(text) for text in FILES.values())
    assert everything.count("secretmanager.secretAccessor") == 1
    [body] = [
        body
        for labels, body in blocks(FILES, "resource")
        if labels[0].startswith("google_secret_manager_secret_iam")
    ]
    assert body["members"] == ['${google_service_account.this["submit"].member}']
    assert "google_secret_manager_secret_version" not in everything


def test_accounts_have_what_they_need_and_no_more() -> None:
    """docs/security.md explains why."""
    assert grants() == {
        ("run", "data", "storage.objectViewer"),
        ("run", "runs", "storage.objectUser"),
        ("run", "project", "aiplatform.user"),
        ("run", "project", "logging.logWriter"),
        ("submit", "data", "storage.objectViewer"),
        ("submit", "runs", "storage.objectViewer"),
        ("submit", "runs", "storage.bucketViewer"),
        ("submit", "docker", "artifactregistry.reader"),
        ("submit", "project", "aiplatform.user"),
        ("submit", "project", "logging.viewer"),
        ("build", "build", "storage.objectViewer"),
        ("build", "docker", "artifactregistry.writer"),
        ("build", "kfp", "artifactregistry.writer"),
        ("build", "project", "logging.logWriter"),
    }


# Every resource that grants a role, with the role; resources over a table take the role from it.
GRANTING = {
    ("google_storage_bucket_iam_member", "this", "${each.value.role}"),
    ("google_artifact_registry_repository_iam_member", "this", "${each.value.role}"),
    ("google_project_iam_member", "this", "${each.value.role}"),
    ("google_storage_bucket_iam_member", "publish", "roles/storage.objectUser"),
    ("google_service_account_iam_member", "submit_acts_as_run", "roles/iam.serviceAccountUser"),
    ("google_service_account_iam_member", "run_acts_as_itself", "roles/iam.serviceAccountUser"),
    ("google_project_iam_member", "starts_builds", "${each.key}"),
    ("google_storage_bucket_iam_member", "sends_sources", "${each.key}"),
    ("google_service_account_iam_member", "build_acts_as_itself", "roles/iam.serviceAccountUser"),
    ("google_service_account_iam_member", "github", "roles/iam.workloadIdentityUser"),
    ("google_project_iam_member", "nodes", "roles/container.defaultNodeServiceAccount"),
    ("google_artifact_registry_repository_iam_member", "nodes", "roles/artifactregistry.reader"),
    ("google_service_account_iam_member", "pods", "roles/iam.workloadIdentityUser"),
    (
        "google_secret_manager_secret_iam_binding",
        "leaderboard",
        "roles/secretmanager.secretAccessor",
    ),
    ("google_kms_crypto_key_iam_member", "storage", "roles/cloudkms.cryptoKeyEncrypterDecrypter"),
    ("google_kms_crypto_key_iam_member", "vertex", "roles/cloudkms.cryptoKeyEncrypterDecrypter"),
}


def test_nothing_else_grants_a_role() -> None:
    given = {
        (*labels, bare(body.get("role", "")))
        for labels, body in blocks(FILES, "resource")
        if re.search(r"_iam_(member|binding|policy)$", labels[0])
    }
    assert given == GRANTING


def test_no_role_is_a_wide_one() -> None:
    roles = [
        role
        for text in FILES.values()
        for role in re.findall(r"roles/([\w.]+)", without_comments(text))
    ]
    assert len(roles) > 15
    wide = re.compile(r"owner|editor|viewer|.*[aA]dmin|iam\.serviceAccountTokenCreator")
    assert [role for role in roles if wide.fullmatch(role)] == []
    assert "google_service_account_key" not in "".join(FILES.values())


def test_grants_name_what_there_is() -> None:
    have = tables(FILES)
    for table, column, names in (
        ("bucket_grants", "bucket", "buckets"),
        ("registry_grants", "repository", "repositories"),
        ("project_grants", "account", "accounts"),
    ):
        assert {
            bare(grant[column]) for key, grant in have[table].items() if key not in MARKS
        } <= set(have[names])
    assert {account for account, *_ in grants()} == set(have["accounts"]) - MARKS


def test_workflows_become_build_or_submit_of_one_repository() -> None:
    federated = [
        body
        for labels, body in blocks(FILES, "resource")
        if "principalSet" in str(body.get("member"))
    ]
    assert len(federated) == 1
    assert '["build", "submit"]' in federated[0]["for_each"]
    assert bare(federated[0]["member"]).endswith("/attribute.repository/${var.github_repository}")

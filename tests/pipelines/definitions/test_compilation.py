import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import yaml

from components.jobset.manifest import Request
from pipelines.definitions import registry
from pipelines.definitions.compilation import (
    DEFAULTS,
    TARGETS,
    compile_all,
    compile_pipeline,
    parameters,
    target,
)
from pipelines.targets import accelerators, machines
from pipelines.targets.base import NEEDS, ContainerImages, Target, replace_shell
from tests.support.paths import ROOT
from trainer.config.load import read
from trainer.config.machine import Machine, Vertex
from trainer.errors import CompetitionError

GOLDEN = ROOT / "tests" / "golden"
FILES = {registry.of(file): file for file in map(read, DEFAULTS)}
# One of each kind: all others differ by numbers of the same table.
SLICES = ("v3-8", "v5e-8", "v6e-16")
COMPILED = [f"{name}{ending}" for name in FILES for ending in TARGETS.values()]


def compiled(
    tmp_path: Path, kind: str, machine: Machine, images: ContainerImages | None = None
) -> list[dict[str, Any]]:
    """Compile the k-fold pipeline for a target and return the documents in its file."""
    return compiled_of(registry.KFOLD, tmp_path, kind, machine, images)


def compiled_of(
    name: str, tmp_path: Path, kind: str, machine: Machine, images: ContainerImages | None = None
) -> list[dict[str, Any]]:
    """Compile either pipeline for a target and return the documents in its file."""
    path = compile_pipeline(
        tmp_path / "k.yaml", name, parameters(FILES[name]), target(kind, machine, images)
    )
    return list(yaml.safe_load_all(path.read_text()))


def container(spec: dict[str, Any], task: str) -> dict[str, Any]:
    found: dict[str, Any] = spec["deploymentSpec"]["executors"][f"exec-{task}"]["container"]
    return found


def test_the_compiled_pipelines_are_the_golden_ones(tmp_path: Path) -> None:
    """After an intended change, recompile and read the diff.

    The command is `python pipelines/compile.py tests/golden --tpu v5e-8`.
    """
    files = [dataclasses.replace(file, machine=Machine(tpu="v5e-8")) for file in FILES.values()]
    made = {path.name: path for path in compile_all(tmp_path, files)}
    assert sorted(made) == sorted(path.name for path in GOLDEN.iterdir()) == sorted(COMPILED)
    assert [
        name for name, path in made.items() if path.read_text() != (GOLDEN / name).read_text()
    ] == []


def test_a_list_of_classes_that_no_form_holds_is_written_beside_the_pipelines(
    tmp_path: Path,
) -> None:
    file = dataclasses.replace(FILES["kfold"], classes=[f"class {n}" for n in range(5000)])
    listed, *made = compile_all(tmp_path, [file])
    assert listed.parent == tmp_path / "classes"
    assert listed.read_text().splitlines() == file.classes
    spec = next(yaml.safe_load_all(made[0].read_text()))
    given = spec["root"]["inputDefinitions"]["parameters"]["classes"]["defaultValue"]
    assert given == [f"file:{listed}"]


@pytest.mark.parametrize("kind", FILES)
def test_digests_of_the_code_stand_in_every_task(tmp_path: Path, kind: str) -> None:
    steps = registry.wiring(kind).STEPS
    marked = Target(environment={name: {"CODE": f"digest-of-{name}"} for name in steps})
    yaml_text = compile_pipeline(
        tmp_path / "k.yaml", kind, parameters(FILES[kind]), marked
    ).read_text()
    for name in steps:
        assert yaml_text.count(f"value: digest-of-{name}\n") == 1


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(("name", "count"), [("kfold", 14), ("gan", 10)])
def test_every_parameter_has_a_type_a_default_and_a_description(
    tmp_path: Path, kind: str, name: str, count: int
) -> None:
    spec, *_ = compiled_of(name, tmp_path, kind, Machine())
    given = spec["root"]["inputDefinitions"]["parameters"]
    assert len(given) == count
    for name, definition in given.items():
        assert definition["parameterType"], name
        assert "defaultValue" in definition, name
        assert len(definition["description"]) > 10, name


def test_the_defaults_are_those_of_the_competition_file_but_for_places_on_this_machine(
    tmp_path: Path,
) -> None:
    spec, *_ = compiled(tmp_path, "vertex", Machine())
    given = {
        name: one["defaultValue"]
        for name, one in spec["root"]["inputDefinitions"]["parameters"].items()
    }
    assert given["root"] == ""
    assert given["name"] == "digits"
    assert given["data"]["train"] == "train.csv"
    assert str(ROOT) not in json.dumps(spec)


def test_a_gan_and_its_judge_train_on_the_accelerator(tmp_path: Path) -> None:
    spec, *_ = compiled_of(
        "gan", tmp_path, "vertex", Machine(tpu="v5e-8"), ContainerImages("l@x", "t@y")
    )
    for task in ("train", "train-gan"):
        inputs = spec["components"][f"comp-{task}"]["inputDefinitions"]["parameters"]
        (pool,) = inputs["worker_pool_specs"]["defaultValue"]
        assert (
            pool["machine_spec"]["machine_type"] == accelerators.TPUS["v5e-8"].vertex.machine_type
        )
        assert pool["container_spec"]["image_uri"] == "t@y"
        assert inputs["display_name"]["defaultValue"] == f"foldline-{task}"
    assert container(spec, "gallery")["image"] == "l@x"
    spec, platform = compiled_of("gan", tmp_path, "gke", Machine(gpu="L4"))
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert {name for name, one in placed.items() if "nodeSelector" in one} == {
        "exec-train",
        "exec-train-gan",
    }
    spec, *_ = compiled_of("gan", tmp_path, "gke", Machine(tpu="v5e-8"))
    for task in ("train", "train-gan"):
        assert container(spec, task)["command"][2] == "components.jobset.launch"


@pytest.mark.parametrize("name", SLICES)
def test_a_tpu_on_vertex_is_a_custom_job(tmp_path: Path, name: str) -> None:
    spec, *_ = compiled(
        tmp_path,
        "vertex",
        Machine(tpu=name, spot=True, hours=2, disk_gb=300),
        ContainerImages("l@x", "t@y"),
    )
    inputs = spec["components"]["comp-train"]["inputDefinitions"]["parameters"]
    (pool,) = inputs["worker_pool_specs"]["defaultValue"]
    wanted = accelerators.TPUS[name].vertex
    machine = {"machine_type": wanted.machine_type}
    if wanted.topology:
        machine["tpu_topology"] = wanted.topology
    if wanted.accelerator_type:
        machine |= {
            "accelerator_type": wanted.accelerator_type,
            "accelerator_count": wanted.accelerator_count,
        }  # type: ignore[dict-item]
    assert pool["machine_spec"] == machine
    assert pool["container_spec"]["image_uri"] == "t@y"
    assert pool["disk_spec"]["boot_disk_size_gb"] == 300
    assert inputs["strategy"]["defaultValue"] == "SPOT"
    assert inputs["restart_job_on_worker_restart"]["defaultValue"] is True
    assert inputs["timeout"]["defaultValue"] == "7200s"
    assert inputs["service_account"]["defaultValue"] == "{{$.pipeline_service_account}}"
    assert container(spec, "records")["image"] == "l@x"
    # Vertex accepts a single document.
    assert len(compiled(tmp_path, "vertex", Machine(tpu=name))) == 1


@pytest.mark.parametrize(
    ("kind", "number"), [(k, n) for k, gpu in accelerators.GPUS.items() for n in gpu.machines]
)
def test_gpus(kind: str, number: int) -> None:
    machine = Machine(gpu=kind, gpus=number, when="spot" if kind == "H100" else "now")
    listed = accelerators.GPUS[kind]
    host = machines.on_vertex(machine)
    assert (host.machine_type, host.accelerator_type, host.accelerator_count) == (
        listed.machines[number][0],
        listed.vertex_type,
        number,
    )
    node = machines.on_gke(machine)
    assert (node.resource, node.count) == ("nvidia.com/gpu", number)
    assert node.selectors["cloud.google.com/gke-accelerator"] == listed.gke_accelerator


def test_gpus_are_in_the_compiled_files(tmp_path: Path) -> None:
    spec, *_ = compiled(tmp_path, "vertex", Machine(gpu="L4", gpus=2))
    (pool,) = spec["components"]["comp-train"]["inputDefinitions"]["parameters"][
        "worker_pool_specs"
    ]["defaultValue"]
    assert pool["machine_spec"] == {
        "machine_type": "g2-standard-24",
        "accelerator_type": "NVIDIA_L4",
        "accelerator_count": 2,
    }
    spec, platform = compiled(tmp_path, "gke", Machine(gpu="L4", gpus=2))
    accelerator = container(spec, "train")["resources"]["accelerator"]
    assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "2")
    executor = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    labels = executor["nodeSelector"]["labels"]
    assert labels["cloud.google.com/gke-accelerator"] == "nvidia-l4"


@pytest.mark.parametrize("name", SLICES)
def test_a_tpu_on_gke_is_a_jobset_that_a_light_step_waits_for(tmp_path: Path, name: str) -> None:
    machine = Machine(tpu=name, when="spot", hours=3, queue="tpus")
    spec, *platforms = compiled(tmp_path, "gke", machine, ContainerImages("l@x", "t@y"))
    wanted = accelerators.TPUS[name]
    step = container(spec, "train")
    assert step["image"] == "l@x"
    assert "accelerator" not in step["resources"]
    assert "env" not in step
    assert platforms == []
    assert step["command"][:3] == ["python3", "-m", "components.jobset.launch"]
    assert step["command"][4:6] == ["--", "sh"]
    asked = Request.of(step["command"][3])
    assert (asked.image, asked.resource) == ("t@y", "google.com/tpu")
    assert asked.chips * asked.hosts == wanted.chips
    assert asked.selectors == {
        "cloud.google.com/gke-spot": "true",
        "cloud.google.com/gke-tpu-accelerator": wanted.gke_accelerator,
        "cloud.google.com/gke-tpu-topology": wanted.gke_topology,
    }
    assert set(asked.tolerations) == {"google.com/tpu", "cloud.google.com/gke-spot"}
    assert (asked.seconds, asked.restarts, asked.queue) == (10_800, 5, "tpus")
    assert asked.environment == {"FOLDLINE_EXPECTS": f"tpu:{name.rpartition('-')[2]}"}


def test_a_reservation_or_a_flexible_start_on_gke_is_a_label_of_the_nodes(tmp_path: Path) -> None:
    named = "projects/my-project/zones/us-east5-a/reservations/mine"
    for machine, labels in (
        (Machine(gpu="L4", when="flex"), {"cloud.google.com/gke-flex-start": "true"}),
        (
            Machine(gpu="L4", reservation=named),
            {
                "cloud.google.com/reservation-name": "mine",
                "cloud.google.com/reservation-project": "my-project",
                "cloud.google.com/reservation-affinity": "specific",
            },
        ),
    ):
        _, platform = compiled(tmp_path, "gke", machine)
        executor = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
        assert executor["nodeSelector"]["labels"].items() >= labels.items()


def custom_job(
    tmp_path: Path, machine: Machine, vertex: Vertex | None = None
) -> dict[str, dict[str, Any]]:
    """The default values of the custom job of a training step on Vertex AI."""
    path = compile_pipeline(
        tmp_path / "k.yaml",
        "kfold",
        parameters(FILES["kfold"]),
        target("vertex", machine, None, vertex),
    )
    spec = yaml.safe_load(path.read_text())
    inputs = spec["components"]["comp-train"]["inputDefinitions"]["parameters"]
    return {name: one.get("defaultValue") for name, one in inputs.items()}


def test_a_flexible_start_on_vertex_waits_as_long_as_the_file_says(tmp_path: Path) -> None:
    job = custom_job(tmp_path, Machine(tpu="v6e-8", when="flex", wait_hours=2))
    assert (job["strategy"], job["max_wait_duration"]) == ("FLEX_START", "7200s")
    assert job["restart_job_on_worker_restart"] is False
    # A v6e does not boot from other disks.
    assert job["worker_pool_specs"][0]["disk_spec"]["boot_disk_type"] == "hyperdisk-balanced"
    job = custom_job(tmp_path, Machine(tpu="v5e-8"))
    assert (job["strategy"], job["max_wait_duration"]) == ("STANDARD", "86400s")
    assert job["worker_pool_specs"][0]["disk_spec"]["boot_disk_type"] == "pd-ssd"


def test_a_reservation_on_vertex(tmp_path: Path) -> None:
    name = "projects/my-project/zones/us-east5-a/reservations/mine"
    job = custom_job(tmp_path, Machine(gpu="A100", reservation=name))
    assert job["worker_pool_specs"][0]["machine_spec"]["reservation_affinity"] == {
        "reservation_affinity_type": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": [name],
    }


def test_a_slice_of_several_hosts_is_one_replica_on_vertex(tmp_path: Path) -> None:
    (pool,) = custom_job(tmp_path, Machine(tpu="v5e-16"))["worker_pool_specs"]
    assert pool["replica_count"] == 1
    assert pool["machine_spec"] == {"machine_type": "ct5lp-hightpu-4t", "tpu_topology": "4x4"}


@pytest.mark.parametrize(
    ("machine", "promised"),
    [
        (Machine(tpu="v3-8"), "tpu:8"),
        (Machine(tpu="v5e-16"), "tpu:16"),
        (Machine(gpu="L4", gpus=2), "gpu:2"),
        (Machine(when="spot"), "cpu"),
    ],
)
def test_a_training_job_knows_what_to_expect(
    tmp_path: Path, machine: Machine, promised: str
) -> None:
    (pool,) = custom_job(tmp_path, machine)["worker_pool_specs"]
    variables = {entry["name"]: entry["value"] for entry in pool["container_spec"]["env"]}
    assert variables == {"FOLDLINE_EXPECTS": promised, "FOLDLINE_RESTART_STATUS": "134"}
    if not machine.tpu:
        spec, *_ = compiled(tmp_path, "gke", machine)
        assert container(spec, "train")["env"] == [{"name": "FOLDLINE_EXPECTS", "value": promised}]
        assert "env" not in container(spec, "blend")


def test_a_plain_cpu_job_knows_so_too(tmp_path: Path) -> None:
    spec, *_ = compiled(tmp_path, "vertex", Machine())
    variables = {entry["name"]: entry["value"] for entry in container(spec, "train")["env"]}
    assert variables["FOLDLINE_EXPECTS"] == "cpu"
    spec, *_ = compiled(tmp_path, "local", Machine(gpu="L4"))
    assert "env" not in container(spec, "train")


def test_resources_of_the_project_are_passed_to_the_custom_job(tmp_path: Path) -> None:
    vertex = Vertex(
        network="projects/1/global/networks/n",
        encryption_key="projects/p/locations/us-central1/keyRings/r/cryptoKeys/k",
        tensorboard="projects/p/locations/us-central1/tensorboards/12",
        persistent_resource="my-gpus",
    )
    job = custom_job(tmp_path, Machine(gpu="L4"), vertex)
    assert job["network"] == vertex.network
    assert job["encryption_spec_key_name"] == vertex.encryption_key
    assert job["tensorboard"] == vertex.tensorboard
    assert job["base_output_directory"] == "{{$.pipeline_root}}"
    assert job["persistent_resource_id"] == "my-gpus"
    attachment = "projects/p/regions/us-central1/networkAttachments/a"
    job = custom_job(tmp_path, Machine(gpu="L4"), Vertex(network_attachment=attachment))
    assert job["psc_interface_config"] == {"network_attachment": attachment}
    plain = custom_job(tmp_path, Machine(gpu="L4"))
    assert (plain["network"], plain["tensorboard"], plain["psc_interface_config"]) == ("", "", None)


def test_at_once_bounds_the_loop_of_training(tmp_path: Path) -> None:
    def loops(machine: Machine) -> list[Any]:
        spec, *_ = compiled(tmp_path, "gke", machine)
        return [
            task.get("iteratorPolicy")
            for task in spec["root"]["dag"]["tasks"].values()
            if "parameterIterator" in task
        ]

    assert loops(Machine(at_once=3)) == [None, {"parallelismLimit": 3}]
    assert loops(Machine()) == [None, None]


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_python_replaces_the_shell_of_every_step(path: Path) -> None:
    """A shell that waits for it does not pass SIGTERM on."""
    text, steps = path.read_text(), registry.wiring(path.name.partition(".")[0]).STEPS
    assert text.count("python3 -m kfp.dsl.executor_main") == len(steps)
    assert text.count("exec python3 -m kfp.dsl.executor_main") == len(steps)


def test_a_command_of_another_form_is_not_run_as_it_is() -> None:
    class Container:
        command: ClassVar = ["sh", "-ec", "python3 -m kfp"]

    step = SimpleNamespace(
        component_spec=SimpleNamespace(implementation=SimpleNamespace(container=Container()))
    )
    with pytest.raises(RuntimeError, match="kfp starts Python in another way"):
        replace_shell([step])


def test_plain_tasks_ask_for_cpu_and_memory_on_a_cloud_and_not_here(tmp_path: Path) -> None:
    for kind in ("vertex", "gke"):
        spec, *_ = compiled(tmp_path, kind, Machine(cpus=8, memory_gib=30))
        there = {
            task: needs
            for task, needs in NEEDS.items()
            if task in registry.wiring(registry.KFOLD).STEPS
        }
        for task, (cpus, memory) in {**there, "check": (1, 4), "train": (8, 30)}.items():
            resources = container(spec, task)["resources"]
            assert (resources["resourceCpuLimit"], resources["resourceMemoryLimit"]) == (
                str(cpus),
                f"{memory}Gi",
            ), task
    spec, *rest = compiled(tmp_path, "local", Machine(tpu="v5e-8"))
    assert rest == []
    assert not any(
        "resources" in container(spec, task) for task in registry.wiring(registry.KFOLD).STEPS
    )


def test_a_spot_cpu_is_a_machine_as_large_as_asked(tmp_path: Path) -> None:
    for cpus, memory, name in (
        (4, 16, "n1-standard-4"),
        (4, 20, "n1-highmem-4"),
        (6, 30, "n1-standard-8"),
        (90, 8, "n1-standard-96"),
    ):
        assert (
            machines.on_vertex(Machine(spot=True, cpus=cpus, memory_gib=memory)).machine_type
            == name
        )
    with pytest.raises(CompetitionError, match="no spot machine has 96 vCPUs and 600 GiB"):
        machines.on_vertex(Machine(spot=True, cpus=96, memory_gib=600))


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine(gpu="L4", gpus=3), "machine.gpus = 3: must be one of 1, 2, 4, 8 for L4"),
        (
            Machine(gpu="L4", cpus=200),
            "machine.cpus = 200, memory_gib = 0: g2-standard-8 has only 8 vCPUs and 32 GiB",
        ),
        (Machine(cpus=128), "must be at most 96 vCPUs and 624 GiB"),
        (Machine(tpu="v4-8"), "Supported: v3-8, v5e-1"),
        (
            Machine(gpu="H100", gpus=2),
            "machine.gpus = 2: a3-highgpu-2g is offered only with when = 'spot' or when = 'flex'",
        ),
    ],
)
def test_machines_that_are_not_there(machine: Machine, words: str) -> None:
    with pytest.raises(CompetitionError, match=words):
        machines.check(machine)


def test_every_machine_names_its_pages() -> None:
    for one in (*accelerators.TPUS.values(), *accelerators.GPUS.values()):
        assert one.pages
        assert all(
            page.startswith(("cloud.google.com/", "docs.cloud.google.com/", "github.com/"))
            for page in one.pages
        )


def test_nothing_of_this_machine_stands_in_a_compiled_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (
        "KAGGLE_API_TOKEN",
        "FOLDLINE_KFP_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "AWS_SECRET_ACCESS_KEY",
    ):
        monkeypatch.setenv(name, "planted-secret")
    for path in compile_all(tmp_path, list(FILES.values())):
        text = path.read_text()
        assert "planted-secret" not in text
        assert str(Path.home()) not in text

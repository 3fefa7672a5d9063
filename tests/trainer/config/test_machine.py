import pytest

from trainer.config.machine import SPOT_RETRIES, Machine, Vertex


@pytest.mark.parametrize(
    ("machine", "key", "words"),
    [
        (Machine(tpu="v5e-8", gpu="L4"), "gpu", "cannot be combined with tpu"),
        (Machine(gpus=2), "gpus", "requires gpu"),
        (Machine(tpu="v5e-8", cpus=4), "cpus", "cannot be combined with tpu"),
        (
            Machine(gpu="L4", spot=True, when="flex"),
            "spot",
            "cannot be combined with when =",
        ),
        (Machine(when="flex"), "when", "requires tpu or gpu"),
        (Machine(gpu="L4", reservation="mine"), "reservation", "must be projects/PROJECT/zones"),
        (
            Machine(gpu="L4", when="spot", reservation="projects/p/zones/z/reservations/r"),
            "reservation",
            "cannot be combined with when",
        ),
        (
            Machine(reservation="projects/p/zones/z/reservations/r"),
            "reservation",
            "requires tpu or gpu",
        ),
        (Machine(tpu="v5e-8", queue="My Queue"), "queue", "must be the name of a local queue"),
    ],
)
def test_what_does_not_go_together(machine: Machine, key: str, words: str) -> None:
    (problem,) = machine.problems()
    assert problem.key == key
    assert words in problem.message


def test_two_ways_to_ask_for_spot_are_one() -> None:
    assert Machine(spot=True).preemptible
    assert Machine(when="spot").preemptible
    assert not Machine(gpu="L4", when="flex").preemptible
    assert list(Machine(spot=True, when="spot").problems()) == []


@pytest.mark.parametrize(
    ("machine", "restarts"),
    [
        (Machine(), 1),
        (Machine(when="spot"), SPOT_RETRIES),
        (Machine(when="spot", retries=0), 0),
        (Machine(when="spot", retries=7), 7),
        (Machine(retries=3), 3),
    ],
)
def test_a_spot_machine_that_is_taken_away_is_replaced_more_often(
    machine: Machine, restarts: int
) -> None:
    assert machine.restarts == restarts


@pytest.mark.parametrize(
    ("vertex", "key"),
    [
        (Vertex(network="my-network"), "network"),
        (Vertex(network="projects/my-project/global/networks/n"), "network"),
        (Vertex(network_attachment="a"), "network_attachment"),
        (Vertex(encryption_key="key"), "encryption_key"),
        (Vertex(tensorboard="projects/p/locations/l/tensorboards/name"), "tensorboard"),
        (Vertex(persistent_resource="My_GPUs"), "persistent_resource"),
        (
            Vertex(
                network="projects/1/global/networks/n",
                network_attachment="projects/p/regions/r/networkAttachments/a",
            ),
            "network_attachment",
        ),
    ],
)
def test_a_resource_has_its_full_name(vertex: Vertex, key: str) -> None:
    assert [problem.key for problem in vertex.problems()] == [key]


def test_full_names_pass() -> None:
    vertex = Vertex(
        network="projects/123/global/networks/my-net",
        encryption_key="projects/p:q.com/locations/us/keyRings/r_1/cryptoKeys/k-2",
        tensorboard="projects/p/locations/us-central1/tensorboards/123",
        persistent_resource="my-gpus",
    )
    assert list(vertex.problems()) == []

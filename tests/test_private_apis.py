"""Test what the project uses of other packages beyond their public API.

After an upgrade, look only here: each test names the module that uses the name, and checks what
the name must do.
"""

import importlib
import inspect
import os
import subprocess
import sys

import pytest

from components.check.component import check
from pipelines.local import step_client
from pipelines.targets.vertex import SERVICE_ACCOUNT
from trainer.models import pretrained


def test_kagglesdk_sends_requests_through_a_session_that_adapters_can_be_mounted_on() -> None:
    """components/submission/upload.py gives every request a timeout; there is no option for it."""
    client = pytest.importorskip("kagglesdk", reason="pip install '.[leaderboard]'")
    with client.KaggleClient(api_token="none") as kaggle:
        http = kaggle.http_client()
        http._init_session()
        assert callable(http._session.mount)
        assert "self._session.send(" in inspect.getsource(type(http).call)


def test_kfp_starts_a_step_by_a_module_and_names_its_function() -> None:
    """pipelines/local/step_client.py tells steps, and those that train, by these arguments."""
    container = check.component_spec.implementation.container
    assert container.command[:2] == ["sh", "-ec"]
    assert f"python3 -m {step_client.MODULE}" in container.command[2]
    assert container.args[-2:] == ["--function_to_execute", "check"]


def test_efficientnet_takes_its_activation_and_dropout_from_two_functions() -> None:
    """trainer/models/efficientnet_package.py replaces them while it builds a network."""
    pytest.importorskip("efficientnet", reason="pip install '.[efficientnet]'")
    package = importlib.import_module("efficientnet.model")
    source = inspect.getsource(package.EfficientNet)
    assert "get_swish(**kwargs)" in source
    assert "get_dropout(**kwargs)" in inspect.getsource(package)


def test_efficientnet_lists_the_digests_of_its_noisy_student_weights() -> None:
    """trainer/models/pretrained.py keeps its own copy of the table."""
    weights = pytest.importorskip("efficientnet.weights", reason="pip install '.[efficientnet]'")
    listed = {name: hashes[1] for name, hashes in weights.NS_WEIGHTS_HASHES.items()}
    assert {name: listed[name] for name in pretrained._NOISY_STUDENT_MD5} == (
        pretrained._NOISY_STUDENT_MD5
    )
    assert weights.NS_WEIGHTS_PATH == pretrained._NOISY_STUDENT_URL


def test_adam_keeps_its_moments_and_updates_a_variable_in_a_method_of_its_own() -> None:
    """trainer/backends/kernels.py replaces the method, and hands the moments to a kernel."""
    import keras

    variable = keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.AdamW(0.1)
    optimizer.build([variable])
    assert optimizer._get_variable_index(variable) == 0
    assert [one.shape for one in (*optimizer._momentums, *optimizer._velocities)] == [(2,), (2,)]
    updated = []
    optimizer.update_step = lambda gradient, variable, rate: updated.append(variable)
    optimizer.apply([keras.ops.ones(2)], [variable])
    assert len(updated) == 1


def test_google_s_components_name_the_service_account_of_a_run_as_we_do() -> None:
    """pipelines/targets/vertex.py writes the placeholder into compiled pipelines."""
    package = pytest.importorskip(
        "google_cloud_pipeline_components._placeholders", reason="pip install '.[vertex]'"
    )
    assert package.SERVICE_ACCOUNT_PLACEHOLDER == SERVICE_ACCOUNT


def test_jax_reports_each_compilation_with_the_name_of_its_function() -> None:
    """trainer/backends/jax.py uses these events to count the compilations of a step."""
    code = """
import jax, jax.monitoring, numpy
names = []
def listener(event, seconds, **values):
    if event == "/jax/core/compile/backend_compile_duration":
        names.append(values["fun_name"])
jax.monitoring.register_event_duration_secs_listener(listener)
def foldline_step_7(x):
    return x * 2
step = jax.jit(foldline_step_7)
for array in (numpy.ones(3), numpy.ones(3), numpy.ones(4)):
    step(array)
print(names.count("jit(foldline_step_7)"))
"""
    pytest.importorskip("jax", reason="pip install '.[cpu]'")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "2"


def test_kfp_replaces_python3_in_parameter_values_by_the_name_of_the_interpreter() -> None:
    """pipelines/local/runner.py calls the interpreter python3, so that nothing changes."""
    from kfp.local import subprocess_task_handler

    assert "sys.executable" in inspect.getsource(subprocess_task_handler)


def test_kfp_leaves_out_its_compiler_in_a_task() -> None:
    """infra/images/smoke.py sets the variable as a step's command does.

    Images contain neither the compiler nor its dependencies.
    """
    import kfp

    assert 'os.environ.get("_KFP_RUNTIME"' in inspect.getsource(kfp).replace("'", '"')


def test_the_compiler_of_kfp_writes_defaults_into_comments() -> None:
    """`compile_pipeline` removes the comments for dictionaries and lists, whose order changes."""
    from kfp.compiler import pipeline_spec_builder

    assert "Default: " in inspect.getsource(pipeline_spec_builder)

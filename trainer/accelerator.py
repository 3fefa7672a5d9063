"""The device that a task trains on, in one place. Called before anything else of TensorFlow or Keras is."""

import os

THREADS_VARIABLE = "FOLDLINE_THREADS"


def prepare() -> tuple[str, int]:
    """Set up Keras on TensorFlow for this process.

    A launcher that runs several tasks side by side sets FOLDLINE_THREADS, so that they share the cores instead of
    fighting for them: two tasks of one thread each do more on two cores than two of two. The number decides the last bits
    of the results, as sums are cut differently.

    Returns:
        the device's name for people, and the number of threads that TensorFlow and tf.data use.
    """
    threads = int(os.environ.get(THREADS_VARIABLE, "0")) or os.cpu_count() or 1
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow reads these when its first operation runs.
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[variable] = str(threads)
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    device = f"GPU ({tf.config.experimental.get_device_details(gpus[0])['device_name']})" if gpus else "CPU"
    return device, threads

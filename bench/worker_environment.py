"""The environment of the process that measures."""

from __future__ import annotations

from collections.abc import Mapping

from bench.runtimes import ENVIRONMENT_PREFIX
from latency_tables.setting import Setting

# Inherited variables that would change what is measured without being named in the setting.
_STRIPPED = (
    "OMP_",
    "KMP_",
    "GOMP_",
    "GLIBC_TUNABLES",
    "MKL_",
    "MALLOC_",
    "ORT_",
    "ATEN_",
    "ONEDNN_",
    "DNNL_",
    "CUBLAS",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_LAUNCH_BLOCKING",
    "CUDNN_",
    "NVIDIA_TF32_OVERRIDE",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "TORCHDYNAMO_",
    "TORCHINDUCTOR_",
    "TORCH_ALLOW_TF32_",
    "TORCH_BLAS_",
    "TORCH_COMPILE_",
    "TORCH_CUDNN_",
    "TRITON_INTERPRET",
)
# Of those what is passed on: where compiled networks are kept.
_HARMLESS = ("TORCHINDUCTOR_CACHE_DIR",)


def worker_environment(setting: Setting, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of the worker: what the setting names, and of the rest what cannot change a latency.

    Args:
        setting: its threads, and its options whose names begin with "env.".
        inherited: the parent's environment.

    Returns:
        All variables for the worker.
    """
    named = dict(setting.options)
    return {
        **{
            name: value
            for name, value in inherited.items()
            if name in _HARMLESS or not name.startswith(_STRIPPED)
        },
        "OMP_NUM_THREADS": str(setting.threads),
        "MKL_NUM_THREADS": str(setting.threads),
        **{
            name.removeprefix(ENVIRONMENT_PREFIX): value
            for name, value in named.items()
            if name.startswith(ENVIRONMENT_PREFIX)
        },
    }

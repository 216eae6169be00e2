"""Machine, packages, GPU, cache: each check is made to fail, and says what to do."""

import importlib.metadata
import platform
import shutil
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hcp_mer.doctor import machine


def test_an_old_python_is_wrong(monkeypatch):
    assert machine.check_python().state == "ok"
    monkeypatch.setattr(platform, "python_version", lambda: "3.10.4")
    verdict = machine.check_python()
    assert verdict.state == "wrong"
    assert "3.10.4" in verdict.found
    assert ">=3.11" in verdict.found


@pytest.fixture
def versions(monkeypatch):
    """versions(peft=None, datasets="3.9") pretends that peft is missing and datasets old."""
    real = importlib.metadata.version

    def pretend(**others):
        def version(name):
            found = others.get(name.replace("-", "_"), 0)
            if found is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return found or real(name)

        monkeypatch.setattr(importlib.metadata, "version", version)

    return pretend


def test_missing_and_old_packages_are_named_with_the_command_that_mends(versions):
    assert machine.check_packages().state == "ok"
    versions(peft=None, datasets="3.9.0", jinja2=None)
    state, found, advice = machine.check_packages()
    assert state == "wrong"
    assert "peft is missing" in found
    assert "jinja2 is missing" in found  # of the report, which every run writes
    assert "datasets is 3.9.0, not >=" in found
    assert advice.startswith("pip install 'jinja2>=") or "'peft>=" in advice
    assert "'datasets>=" in advice
    assert "torch" not in advice


def test_an_installation_without_metadata_is_wrong(monkeypatch):
    monkeypatch.setattr("hcp_mer.requirements.PACKAGE", "no_such_package_anywhere")
    assert machine.check_packages().state == "wrong"


def test_the_headless_opencv_serves_as_well(versions):
    versions(opencv_python=None, opencv_python_headless="5.0.0.93")
    assert machine.check_packages().state == "ok"
    assert "opencv-python-headless 5.0.0.93" in machine.check_opencv().found


def test_an_opencv_without_libgl_names_the_headless_build(monkeypatch):
    def fail(name):
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(machine.importlib, "import_module", fail)
    verdict = machine.check_opencv()
    assert verdict.state == "wrong"
    assert "opencv-python-headless" in verdict.advice


def test_two_wheels_of_opencv_are_worth_a_look(versions):
    versions(opencv_python="5.0.0.93", opencv_python_headless="5.0.0.93")
    assert machine.check_opencv().state == "look"


def test_more_threads_than_cores_are_worth_a_look(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    assert machine.check_threads().state == "look"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert machine.check_threads().state == "ok"


def test_without_a_gpu_an_unused_driver_is_worth_a_look(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert machine.check_gpu().state == "ok"
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert machine.check_gpu().state == "look"


@pytest.mark.parametrize(("error", "state"), [(1e-6, "ok"), (0.3, "wrong"), (np.nan, "wrong")])
def test_a_gpu_that_computes_something_else_is_wrong(monkeypatch, error, state):
    device = SimpleNamespace(name="NVIDIA X", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(machine, "matmul_error", lambda device, dtype: error)
    verdict = machine.check_gpu()
    assert verdict.state == state
    assert verdict.found.startswith("NVIDIA X, 80 GiB")


def test_the_matrix_product_is_measured_in_the_precision_asked_for():
    assert machine.matmul_error("cpu", torch.float32) < 1e-5
    assert 1e-4 < machine.matmul_error("cpu", torch.bfloat16) < 5e-2


@pytest.mark.gpu
def test_a_real_gpu_computes_what_the_cpu_does():
    assert machine.check_gpu().state == "ok"


def test_a_cache_that_cannot_be_written_is_wrong_and_a_full_disk_worth_a_look(
    monkeypatch, tmp_path
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert machine.check_cache().state == "ok"
    assert not (tmp_path / "hub").exists()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 10**6))
    assert machine.check_cache().state == "look"
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert machine.check_cache().state == "wrong"


def test_the_token_is_told_of_but_not_told(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_marker")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    verdict = machine.check_hub()
    assert verdict.state == "look"
    assert "there is a token" in verdict.found
    assert "hf_marker" not in repr(verdict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert machine.check_hub().state == "ok"

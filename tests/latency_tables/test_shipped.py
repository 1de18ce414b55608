"""The tables that come with lathe can be read, are small, and hold what they claim."""

from __future__ import annotations

import pytest

from latency_tables.context import coefficients
from latency_tables.exchange import read_archive
from latency_tables.shipped import FOLDER, shipped_skeleton, shipped_tables, skeleton_path

TABLES = sorted(shipped_tables().items())
#: What each of them must know.
NETWORKS = {
    *(f"cifar/{name}" for name in ("resnet20", "resnet32", "resnet56", "resnet8-mlperf")),
    *(f"timm/{name}" for name in ("resnet18", "resnet50", "mobilenetv2_100", "vit_tiny_patch16_224")),
}


def test_names_are_the_files() -> None:
    assert {path.parent for _, path in TABLES} == {FOLDER}
    assert {name.split("-fp32-")[0].split("-")[-1] for name, _ in TABLES} >= {"eager", "onnxruntime"}
    assert shipped_skeleton("no/such", 1) is None
    assert skeleton_path("timm/resnet18", 8).name == "timm-resnet18-b8.skeleton"


@pytest.mark.parametrize("name", [name for name, _ in TABLES])
def test_a_shipped_table_predicts_its_networks(name: str) -> None:
    path = shipped_tables()[name]
    assert path.stat().st_size < 2_000_000
    archive = read_archive(path)
    table = archive.table()
    networks = {entry.name for entry in archive.networks}
    assert networks >= NETWORKS
    for network in networks:
        skeleton = shipped_skeleton(network, archive.setting.batch)
        assert skeleton is not None, network
        fit = coefficients(skeleton, table)
        assert fit.freedom > 0
        assert table.measured_networks(skeleton, "closure"), f"{network} has no closure record"
        half = {g.name: -(-g.channels // 2) for g in skeleton.groups if g.frozen is None}
        assert 0 < fit.latency_s((), half) < fit.unpruned_s.value

"""The tables that come with lathe can be read, are small, and hold what they claim."""

from __future__ import annotations

from collections import Counter

import closure
import pytest
from shipped_tables import table_name

from bench.asked_networks import PASSES, wanted_networks
from latency_tables.archive import Archive
from latency_tables.context import coefficients
from latency_tables.exchange import read_archive
from latency_tables.shipped import FOLDER, shipped_skeleton, shipped_tables, skeleton_path
from latency_tables.skeleton import Skeleton

TABLES = sorted(shipped_tables().items())
#: What each of them knows.
NETWORKS = {
    *(f"cifar/{name}" for name in ("resnet20", "resnet32", "resnet56", "resnet8-mlperf")),
    *(f"timm/{name}" for name in ("resnet18", "resnet50", "mobilenetv2_100", "vit_tiny_patch16_224")),
}
#: Tables in which the held-out networks of `closure.py` were timed as well, each in two processes.
CLOSED = {f"amd-epyc-family-26-model-2-{runtime}-fp32-b1-t1" for runtime in ("eager", "onnxruntime")}


def known(archive: Archive) -> dict[str, Skeleton]:
    """The skeleton of each network in a table."""
    found = {}
    for name in {entry.name for entry in archive.networks}:
        skeleton = shipped_skeleton(name, archive.setting.batch)
        assert skeleton is not None, name
        found[name] = skeleton
    return found


def test_names_are_the_files() -> None:
    assert {path.parent for _, path in TABLES} == {FOLDER}
    assert {name.split("-fp32-")[0].split("-")[-1] for name, _ in TABLES} >= {"eager", "onnxruntime"}
    assert set(shipped_tables()) >= CLOSED
    assert shipped_skeleton("no/such", 1) is None
    assert skeleton_path("timm/resnet18", 8).name == "timm-resnet18-b8.skeleton"


@pytest.mark.parametrize("name", [name for name, _ in TABLES])
def test_a_shipped_table_is_what_its_name_says(name: str) -> None:
    archive = read_archive(shipped_tables()[name])
    assert table_name(archive.setting) == name
    networks = known(archive)
    assert set(networks) == NETWORKS
    for entry in archive.networks:
        assert entry.network.skeleton == networks[entry.name].digest, entry.name
    for network, skeleton in networks.items():
        assert skeleton.name == network
        assert {type_.shape[0] for type_ in skeleton.graph.inputs} == {archive.setting.batch}


@pytest.mark.parametrize("name", [name for name, _ in TABLES])
def test_every_network_of_a_shipped_table_was_timed(name: str) -> None:
    archive = read_archive(shipped_tables()[name])
    table = archive.table()
    for network, skeleton in known(archive).items():
        timed = Counter((n.cut, n.role) for n in table.networks if n.skeleton == skeleton.digest)
        asked = wanted_networks(skeleton)
        for cut, role in asked.items():
            passes = PASSES if role == "fit" and cut else 1
            assert timed[cut, role] >= passes, f"{network} {cut.words}"
        if network in closure.NETWORKS:
            plans = closure.held_out(skeleton, table, closure.PLANS["short"])
            seen = {timed[plan, "closure"] > 1 for plan in plans if plan not in asked}
            assert seen == {True} if name in CLOSED else len(seen) == 1, f"{network}: a pass is not whole"


@pytest.mark.parametrize("name", [name for name, _ in TABLES])
def test_a_shipped_table_predicts_its_networks(name: str) -> None:
    path = shipped_tables()[name]
    assert path.stat().st_size < 2_000_000
    archive = read_archive(path)
    table = archive.table()
    for skeleton in known(archive).values():
        fit = coefficients(skeleton, table)
        assert fit.freedom > 0
        half = {g.name: -(-g.channels // 2) for g in skeleton.groups if g.frozen is None}
        assert 0 < fit.latency_s((), half) < fit.unpruned_s.value

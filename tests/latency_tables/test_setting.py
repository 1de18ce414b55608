from __future__ import annotations

import re
from dataclasses import fields, replace

import made_up
import pytest
from made_up import setting

from latency_tables.errors import UserError, unknown
from latency_tables.setting import Device, Setting, labels


def test_json_round_trip_and_digest() -> None:
    one = setting(options=(("batch_norm", "folded"),))
    assert Setting.from_json(one.to_json()) == one
    assert one.digest == setting(options=(("batch_norm", "folded"),)).digest
    assert one.digest != setting().digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threads": 2}, "threads is 2 there and 1 here"),
        ({"versions": (("torch", "2.11.0"),)}, "versions.torch is '2.11.0' there and '2.13.0' here"),
        ({"options": (("spinning", "off"),)}, "options.spinning is 'off' there and None here"),
    ],
)
def test_a_mismatch_names_the_field_and_both_values(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        setting(**changes).require_equal(setting(), "the table")


DEVICE = made_up.DEVICE
EVERY_FIELD = {
    "device.kind": ({"device": replace(DEVICE, kind="cuda")}, "cuda", "cpu"),
    "device.name": ({"device": replace(DEVICE, name="Other CPU")}, "Other CPU", "Testing CPU"),
    "device.cores": ({"device": replace(DEVICE, cores=4)}, 4, 2),
    "device.memory_bytes": ({"device": replace(DEVICE, memory_bytes=2**35)}, 2**35, 2**34),
    "device.driver": ({"device": replace(DEVICE, driver="550")}, "550", ""),
    "device.features": ({"device": replace(DEVICE, features=())}, (), ("avx2",)),
    "runtime": ({"runtime": "onnxruntime"}, "onnxruntime", "eager"),
    "versions.torch": ({"versions": (("torch", "2.11.0"),)}, "2.11.0", "2.13.0"),
    "precision": ({"precision": "fp16"}, "fp16", "fp32"),
    "batch": ({"batch": 8}, 8, 1),
    "threads": ({"threads": 2}, 2, 1),
    "layout": ({"layout": "nhwc"}, "nhwc", "nchw"),
    "options.spinning": ({"options": (("spinning", "off"),)}, "off", None),
}


def test_every_field_is_among_those_tried() -> None:
    named = {name.partition(".")[0] for name in EVERY_FIELD}
    assert named == {field.name for field in fields(Setting)}
    of_device = {name.partition(".")[2] for name in EVERY_FIELD if name.startswith("device.")}
    assert of_device == {field.name for field in fields(Device)}


@pytest.mark.parametrize("field", EVERY_FIELD)
def test_each_field_is_refused_by_name_with_both_values(field: str) -> None:
    changes, there, here = EVERY_FIELD[field]
    other = setting(**changes)
    assert other.differences(setting()) == ((field, there, here),)
    message = re.escape(
        f"the table was measured in another setting: {field} is {there!r} there and {here!r} here."
    )
    with pytest.raises(UserError, match=message):
        other.require_equal(setting(), "the table")


def test_many_differences_are_named_from_the_weightiest_on() -> None:
    other = setting(
        device=replace(DEVICE, name="Other CPU", cores=4), threads=2, batch=8, runtime="onnxruntime"
    )
    with pytest.raises(
        UserError, match=r"setting: device.cores is .*device.name is .*runtime is .*, and 1 more"
    ):
        other.require_equal(setting(), "the table")


def test_equal_settings_pass() -> None:
    setting().require_equal(setting(), "the table")


def test_settings_of_one_label_are_told_apart_by_the_fields_that_differ() -> None:
    one, upgraded, other = setting(), setting(versions=(("torch", "2.14.0"),)), setting(threads=2)
    before, after = f"{one.label} (versions.torch '2.13.0')", f"{one.label} (versions.torch '2.14.0')"
    assert labels([one, other, upgraded, one]) == [before, other.label, after, before]
    assert labels([one, other, one]) == [one.label, other.label, one.label]
    restful = setting(options=(("spinning", "off"),))
    assert labels([one, upgraded, restful]) == [
        f"{one.label} (options.spinning None, versions.torch '2.13.0')",
        f"{one.label} (options.spinning None, versions.torch '2.14.0')",
        f"{one.label} (options.spinning 'off', versions.torch '2.13.0')",
    ]


def test_unknown_names_come_with_their_neighbours() -> None:
    text = str(unknown("runtime", "onnxruntim", ["eager", "onnxruntime"]))
    assert text == "unknown runtime 'onnxruntim'. Did you mean 'onnxruntime'? Known: eager, onnxruntime."


def test_on_a_gpu_the_label_tells_how_it_is_served() -> None:
    device = Device("cuda", "NVIDIA H100", 132, 2**36)
    options = (("builds", "1"), ("cache", "cold"), ("launch", "graph"))
    one = Setting(device, "eager", (), "fp16", 1, 1, layout="nhwc", options=options)
    assert one.label == "eager on NVIDIA H100, fp16, batch 1, 1 thread, nhwc, cache cold, launch graph"
    here = replace(one, device=replace(device, kind="cpu", name="EPYC"), layout="nchw")
    assert here.label == "eager on EPYC, fp16, batch 1, 1 thread"

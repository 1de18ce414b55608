from __future__ import annotations

import pytest
from made_up import setting

from latency_tables.errors import UserError, unknown
from latency_tables.setting import Setting


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


def test_equal_settings_pass() -> None:
    setting().require_equal(setting(), "the table")


def test_unknown_names_come_with_their_neighbours() -> None:
    text = str(unknown("runtime", "onnxruntim", ["eager", "onnxruntime"]))
    assert text == "unknown runtime 'onnxruntim'. Did you mean 'onnxruntime'? Known: eager, onnxruntime."

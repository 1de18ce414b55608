from __future__ import annotations

import json
import math
from pathlib import Path

import made_up_runs as made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.errors import UserError
from latency_tables.estimate import Estimate
from reports import codec
from reports.results import Facts, Point, Run
from reports.run_folder import FORMAT, read_run, write_point, write_run


def edit(path: Path, change) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made.write(tmp_path / "run", [made.point()])


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "points" / "ttmpd-0.7x-0.json"


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    points = [made.failed(), made.point(), made.unpruned()]
    folder = made.write(tmp_path / "run", points)
    assert read_run(folder) == (made.run(), points)
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "failed.json",
        "run.json",
        "ttmpd-0.7x-0.json",
        "unpruned-0.json",
    ]


def test_a_point_written_again_replaces_the_old_one(folder: Path) -> None:
    write_point(folder, made.failed(id="ttmpd-0.7x-0", reason="out of memory"))
    (point,) = read_run(folder)[1]
    assert (point.status, point.reason) == ("failed", "out of memory")


def test_a_run_that_has_just_begun_has_no_points(tmp_path: Path) -> None:
    write_run(tmp_path, made.run())
    assert read_run(tmp_path) == (made.run(), [])


def test_points_of_format_1_have_no_trace(folder: Path, file: Path) -> None:
    def older(data) -> None:
        data["format"] = 1
        del data["trace"], data["disturbance"], data["remarks"]

    edit(file, older)
    edit(folder / "run.json", lambda data: data.update(format=1))
    run, (point,) = read_run(folder)
    assert (run, point) == (made.run(), made.point(trace=None, disturbance=None))


def test_where_weights_are_from_is_unknown_of_format_4(folder: Path) -> None:
    def older(data) -> None:
        data["format"] = 4
        del data["weights"]

    edit(folder / "run.json", older)
    assert read_run(folder)[0] == made.run(weights="unknown")


def test_what_runtimes_told_is_read_back_and_unknown_of_format_5(tmp_path: Path) -> None:
    facts = {"s1": Facts({"why": 2}, {"MatMul": 24}, {"Other": ("/o1", "/o2")}, (1e-3, 1.1e-3), "full")}
    folder = made.write(tmp_path / "run", [made.point()], facts=facts)
    assert read_run(folder)[0] == made.run(facts=facts)

    def older(data) -> None:
        data["format"] = 5
        del data["facts"]

    edit(folder / "run.json", older)
    assert read_run(folder)[0] == made.run()


def test_why_launching_is_unknown_and_the_size_of_images_are_not_told_by_format_6(tmp_path: Path) -> None:
    facts = {"s1": Facts({"why": 2}, {}, {}, (), None)}
    folder = made.write(tmp_path / "run", [made.point()], facts=facts)

    def older(data) -> None:
        data["format"] = 6
        del data["facts"]["s1"]["launch_unknown"]
        del data["input"]

    edit(folder / "run.json", older)
    assert read_run(folder)[0] == made.run(facts=facts, input="unknown")
    edit(folder / "run.json", lambda data: data["facts"].update(s1=3))
    with pytest.raises(UserError, match=r"run\.facts\.s1: expected an object"):
        read_run(folder)


def test_what_a_runtime_said_of_a_pruned_network_is_read_back_and_not_told_by_format_7(
    tmp_path: Path,
) -> None:
    folder = made.write(tmp_path / "run", [made.point(remarks=("graph break: why (2 times)",))])
    assert read_run(folder)[1] == [made.point(remarks=("graph break: why (2 times)",))]

    def older(data) -> None:
        data["format"] = 7
        del data["remarks"]

    edit(next((folder / "points").iterdir()), older)
    assert read_run(folder)[1] == [made.point()]


def test_how_networks_were_trained_is_not_told_by_format_8(folder: Path) -> None:
    def older(data) -> None:
        data["format"] = 8
        del data["training"]

    edit(folder / "run.json", older)
    assert read_run(folder)[0] == made.run(training={})


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    numbers = st.floats(1e-9, 1)
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Estimate(value, *draw(st.sampled_from([(low, high), (-math.inf, high), (low, math.inf)])))


@given(
    accuracy=estimates() | st.none(),
    measured=estimates(),
    stages=st.dictionaries(st.text(), st.floats(0, 1e6)),
)
def test_points_survive_json(accuracy, measured, stages) -> None:
    point = made.point(accuracy=accuracy, measured_s=measured, stages_s=stages)
    text = json.dumps(codec.encode(point), allow_nan=False)
    assert codec.decode(Point, json.loads(text), "point") == point


def test_whole_numbers_are_read_where_numbers_are_expected(file: Path, folder: Path) -> None:
    edit(file, lambda data: data["stages_s"].update(score=31))
    seconds = read_run(folder)[1][0].stages_s["score"]
    assert seconds == 31.0
    assert isinstance(seconds, float)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(acuracy=None), ["unknown key 'acuracy'", "Did you mean 'accuracy'"]),
        (lambda d: d.pop("kl"), ["missing kl"]),
        (lambda d: d.update(seed="0"), ["point.seed", "a whole number", "'0'"]),
        (lambda d: d.update(seed=True), ["point.seed", "a whole number", "True"]),
        (lambda d: d.update(seed=0.5), ["point.seed", "0.5"]),
        (lambda d: d.update(met=1), ["point.met", "true or false"]),
        (lambda d: d.update(status="ok"), ["point.status", "done, failed", "'ok'"]),
        (lambda d: d.update(accuracy=0.8), ["point.accuracy", "[value, low, high]", "0.8"]),
        (lambda d: d.update(accuracy=["0.8", 0.7, 0.9]), ["point.accuracy", "numbers", "'0.8'"]),
        (lambda d: d.update(accuracy=[0.8, 0.9, 0.95]), ["point.accuracy", "low <= value <= high"]),
        (lambda d: d.update(accuracy=[81.2, 80.0, 82.0]), ["accuracy must be a fraction", "81.2"]),
        (lambda d: d["controls"].update(tuned=[84.0, 83, 85]), ["tuned must be a fraction", "84"]),
        (lambda d: d.update(measured_s=None), ["measured_s must be known"]),
        (lambda d: d.update(measured_s=[0, 0, 0]), ["measured_s must be above 0"]),
        (lambda d: d.update(reason="why not"), ["exactly if failed"]),
        (lambda d: d.update(status="failed"), ["exactly if failed"]),
        (lambda d: d["rounds"][1].pop("met"), ["point.rounds[1]", "missing met"]),
        (lambda d: d.pop("trace"), ["missing trace"]),
        (lambda d: d["trace"].update(pruned_s=[0.0]), ["point.trace", "above 0"]),
        (lambda d: d["trace"].update(unpruned_taken=1), ["point.trace", "at least the 60 kept"]),
        (lambda d: d["parts"][3].update(latency_s=-1), ["point.parts[3]", "at least 0"]),
        (lambda d: d.update(removed="stage1.0"), ["point.removed", "a list"]),
        (lambda d: d.update(stages_s=[]), ["point.stages_s", "an object"]),
        (lambda d: d["artefacts"].update(plan="../plan.json"), ["artefacts.plan", "run's folder"]),
        (lambda d: d["artefacts"].update(plan="/etc/plan.json"), ["artefacts.plan", "run's folder"]),
        (lambda d: d.update(created="yesterday"), ["ISO 8601", "yesterday"]),
        (lambda d: d.update(id="../x"), ["id must be"]),
        (lambda d: d.update(id="other"), ["'other'", "'ttmpd-0.7x-0'"]),
        (lambda d: d.update(setting="s9"), ["'s9'", "s1, s2"]),
        (lambda d: d.update(format=FORMAT + 1), ["newer", "Update lathe"]),
        (lambda d: d.pop("format"), ["'format'", "None"]),
        (lambda d: d.update(format=True), ["'format'", "True"]),
    ],
)
def test_an_edited_point_is_refused_by_name(folder: Path, file: Path, change, words) -> None:
    edit(file, change)
    with pytest.raises(UserError) as caught:
        read_run(folder)
    for word in [str(file), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", '{"format": 1, "seed": NaN}', "[]", "nonsense"])
def test_a_broken_file_is_named(folder: Path, file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(UserError, match=r"ttmpd-0\.7x-0\.json"):
        read_run(folder)


def test_a_truncated_file_is_told_from_a_wrong_one(folder: Path) -> None:
    path = folder / "run.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"run\.json is not JSON.*cut off or edited"):
        read_run(folder)


def test_binary_rubbish_is_a_users_mistake(file: Path, folder: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="is not JSON"):
        read_run(folder)


def test_a_missing_run_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run\.json does not exist; expected the folder of a run"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["settings"]["s1"].pop("label"), 'a text under "label"'),
        (lambda d: d["settings"].update(s1=3), "run.settings.s1: expected an object"),
        (lambda d: d["closure"][0].update(setting="s9"), "'s9'"),
        (lambda d: d["versions"].update(torch=2.13), "run.versions.torch: expected a text"),
    ],
)
def test_an_edited_run_is_refused(folder: Path, change, words: str) -> None:
    edit(folder / "run.json", change)
    with pytest.raises(UserError, match=r"run\.json") as caught:
        read_run(folder)
    assert words in str(caught.value)


def test_records_refuse_to_be_made_wrong() -> None:
    with pytest.raises(ValueError, match="id must be"):
        made.point(id="a/b")
    with pytest.raises(ValueError, match="label"):
        made.run(settings={"s1": {}}, closure=())


def test_the_format_is_written(folder: Path) -> None:
    data = json.loads((folder / "run.json").read_text())
    assert data["format"] == FORMAT
    assert set(data) == {"format", *Run.__dataclass_fields__}

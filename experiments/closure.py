"""How far are predictions from networks that were really timed?

    python experiments/closure.py [--scale short] [--settings 0,1] [--minutes M]

For each setting and network: a table over depth and width is profiled (at most five whole networks to fit on), then
random plans (blocks out, channels out, both; none of them fitted on) are predicted and timed twice, in two processes,
each in turns with the unpruned network. Prediction and truth are ratios to it. Beside the form in use the same tables
are read in simpler ones. Weights are random: they do not change what dense kernels cost. Writes
docs/results/closure.md after each setting, whose section says when and where; what the page has of other settings
stays. Nothing else may run meanwhile. Scale short: 40 plans for each, about 90 minutes a setting on 2 cores (batch 8:
3 hours); full: 100 plans, twice as long. Both resume, with the pass (of one network, of two) that was not whole.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from cells import origin, page_path, read_off
from closure_forms import Judged, judge
from closure_page import Condition, heading, section, sections_of
from node_times import node_times

from bench.profiler import compare
from bench.session import Session
from bench.stopping import Rule
from bench.tables import open_store
from bench.terminal import Terminal
from bench.width_profiler import profile_with_widths
from bench.workbench import NetworkChoice, SettingChoice, Subject
from latency_tables.files import write_atomically, write_json
from latency_tables.random_plans import draw_plans
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.slow_minutes import is_slow, quick_latency_s
from latency_tables.store import Store
from latency_tables.table import LatencyTable, NetworkMeasurement
from pruning.outline import Outline
from pruning.search import Progress

NETWORKS = (
    "timm/resnet18",
    "timm/resnet50",
    "timm/mobilenetv2_100",
    "timm/vit_tiny_patch16_224",
    "cifar/resnet56",
)
HELD_OUT_RULE = Rule(target=0.01, max_time_s=1.0)
RELOAD = 5
"""Plans timed in turns with the unpruned network before that is loaded anew."""
DRAW = 9
"""Seed of the held-out plans; profiles draw theirs from others, and the form was chosen on those of 7 and 8."""
RETRIES = 1
"""How often a timing is made again, after all others, that fell into a slow minute."""
CONDITIONS = (
    Condition(SettingChoice("onnxruntime", batch=1), 0.015, 0.97, 1.0),
    Condition(SettingChoice("onnxruntime", batch=8), 0.015, 0.97, 1.0),
    Condition(SettingChoice("eager", batch=1), 0.02, 0.95, 0.99),
    Condition(SettingChoice("onnxruntime", threads=2), 0.03, 0.9, 0.98),
    Condition(SettingChoice("eager", threads=2), 0.03, 0.9, 0.98),
)
PLANS = {"short": 40, "full": 100}


def measure(condition: Condition, network: str, count: int, folder: Path, until_s: float) -> bool:
    """Profiles and times what is not known yet; whether everything is known."""
    choice = condition.choice
    subject = Subject(NetworkChoice(network), choice.batch)
    outline, setting = subject.wide, choice.make()
    store = open_store(folder)
    terminal = Terminal()
    try:
        with (
            Session(setting, until_s=until_s) as session,
            terminal.progress(f"{network}, profile") as progress,
        ):
            done, over_widths = profile_with_widths(
                outline, session, store, deadline_s=until_s, progress=progress
            )
        if not (done.complete and over_widths.complete):
            return False
        plans = held_out(outline.skeleton, store.table(setting), count)
        for turn in range(2):
            seen = [n.cut for n in store.table(setting).measured_networks(outline.skeleton, "closure")]
            todo = [plan for plan in plans if seen.count(plan) <= turn]
            if not todo:
                continue
            title = f"{network}, pass {turn + 1}"
            with Session(setting, until_s=until_s) as session, terminal.progress(title) as progress:
                if not time_all(outline, session, store, todo, progress, until_s):
                    return False
        # What a quick minute is, is known better now: fitted networks of slow ones are timed again.
        with Session(setting, until_s=until_s) as session:
            done, _ = profile_with_widths(outline, session, store, deadline_s=until_s)
            if not done.complete:
                return False
        return True
    finally:
        store.close()


def time_all(
    outline: Outline, session: Session, store: Store, todo: Sequence[Cut], progress: Progress, until_s: float
) -> bool:
    """Times plans in turns with the unpruned network; whether there was time for all.

    What fell into a slow minute is timed again after all others, and the timing with the quickest unpruned network
    is kept.
    """
    skeleton, setting = outline.skeleton, session.setting
    unpruned = session.load(skeleton.graph, outline.weights)
    best: dict[Cut, NetworkMeasurement] = {}
    for attempt in range(1 + RETRIES):
        for number, plan in enumerate(todo):
            if number % RELOAD == RELOAD - 1:  # no pass rests on one load, which may be a slow one
                session.unload(unpruned)
                unpruned = session.load(skeleton.graph, outline.weights)
            if time.monotonic() >= until_s:
                return False
            progress(number, len(todo), plan.words)
            pruned = session.load(*outline.without(plan.removed, dict(plan.widths)))
            found = compare(session, unpruned, pruned, skeleton.digest, plan, "closure", HELD_OUT_RULE)
            session.unload(pruned)
            best[plan] = min(best.get(plan, found), found, key=lambda timed: timed.unpruned_s.value)
        level = quick_latency_s(skeleton, store.table(setting))
        slow = [plan for plan in todo if is_slow(best[plan], level)]
        for plan in todo:
            if plan not in slow or attempt == RETRIES:
                store.put_network(setting, skeleton.name, replace(best[plan], trace=None))
        todo = slow
    return True


def held_out(skeleton: Skeleton, table: LatencyTable, count: int) -> list[Cut]:
    """Plans that no fit has seen, always the same."""
    fitted = {network.cut for network in table.measured_networks(skeleton, "fit")}
    return [plan for plan in draw_plans(skeleton, count + len(fitted), DRAW) if plan not in fitted][:count]


def look(condition: Condition, network: str, count: int, folder: Path) -> Judged | None:
    """What the store holds of a network in a setting; None where something was not timed yet."""
    choice = condition.choice
    skeleton, setting = Subject(NetworkChoice(network), choice.batch).wide.skeleton, choice.make()
    store = open_store(folder)
    try:
        table = store.table(setting)
    finally:
        store.close()
    nodes = None
    if choice.runtime == "onnxruntime":
        path = folder / "nodes" / f"{skeleton.digest}-{setting.digest}.json"
        if not path.exists():
            write_json(path, node_times(skeleton, setting))
        nodes = np.array(json.loads(path.read_bytes()), dtype=np.float64)
    return judge(network, skeleton, table, held_out(skeleton, table, count), nodes)


READING = """
Reading. Two settings of five so far (ONNX Runtime and eager, one thread, batch 1), 200 held-out networks each, two networks of a third, anew, and four of a fourth, of batch 8, on a restless machine. By the deduction as defined, square root of
(squared prediction error less squared noise), noise being what the same networks timed again in another process differ by, both lie within target: ONNX Runtime has an excess error of
1.4 % (wanted: 1.5), 98 % within 5 % (97) and all within 10 %; eager of 1.6 % (2), 96 % (95) and all (99). What the parts say as they are is off by 4.7 % in ONNX Runtime and by
2.5 % in eager.

That difference holds the noise of both timings. With only one timing's share taken off (half of the square), the printed digits give about 1.5 to 1.6 % in ONNX Runtime, which is on the line, and 1.7 to
1.9 % in eager; the rms noise was not printed for these two and is taken to be 1 to 1.25 times the mean absolute one. No interval is given for an excess error, and the term for weights was chosen on
these plans (without it 1.5 and 1.9 %). So by excess error alone the simpler form without it would do in both settings.
Within 5 % that form keeps 96.5 % of the networks in ONNX Runtime (wanted: 97, so one of 200 is lacking) and 95 % in eager (95), within 10 % all and 99.5 % (99): what speaks for the term is that one network, and
MobileNetV2, while ResNet-50 reads a little worse with it in both. These shares are not in the tables below; they were read by hand, as the code is now, from the tables that come with lathe, which hold these timings.

- Slow minutes were most of the error. For seconds or minutes a neighbour on the same processor slows networks down, unequally: ResNet-56 in ONNX Runtime took 1.26 ms or 1.35 to 1.5, and
  ratios to it were up to 13 % lower in such a stretch. Since the unpruned network beside each timing tells this, and what was timed in such a stretch is timed again, its excess error is
  0.7 % (3.5 % on earlier draws without that), that of the vision transformer 0 (1.6 %). What stays slow in every attempt is counted in: a third of MobileNetV2's timings.
- Where parts stand. MobileNetV2's removable blocks weigh a fifth more in the network than alone, what is outside of them less; with one slope for all widths plans that take
  out both were predicted 5 % too low. A slope for widths inside of removable blocks and one outside, expected such that parts in context add up to the network, took its excess error
  from 4.4 to 2.0 %.
- Widths between two steps of the staircase. Alone a layer costs there what it costs at the next step; in ResNet-18 four channels less than a step throughout cost 3 % more than
  the step in ONNX Runtime. A slope for that is fitted on one network; it takes ResNet-18 from 2.7 to 2.1 %.
- Interpolation was off by 2 to 7 % a cell, low in the mean (by hand), as long as it rested on few anchors at multiples of 64, which are the cheap ones; with lines at every step, multiplied,
  ResNet-18's widths lost that.
- Weights. Alone a layer finds them in cache, in a network they come from memory. One slope for the share of the weights that goes, beyond that of the sum, takes MobileNetV2 from 2.0 to
  1.7 % in ONNX Runtime and from 3.5 to 2.3 % in eager. That there is such a term was decided on these very plans; what layers read, in
  its place, did a little better in eager (1.5 %) and worse in ONNX Runtime (1.7 %; both by hand).
- A weight for each kind of layer (convolutions told apart as depthwise, pointwise and others) is worse: five fitted networks do not tell so many weights.
- The runtime's own time of each node, in place of layers timed alone, is better: 1.0 % in ONNX Runtime. It is not in use: every runtime would need a reading of its own
  profile, and the simpler form is within its targets as they are defined.
- Several threads. Three things made single cells wrong on two threads, each found on the networks of this page. ONNX Runtime's other threads sleep between runs, so that they leave the cores to what is
  timed in turns; to wake them takes 5 to 10 us, which a network pays once and a part alone paid in each run: parts alone are timed with the threads awake. The host moves the two cores apart for seconds
  to minutes, and parts then take 21 % longer in the median (581 parts in both modes): whatever is timed waits for them to come near. And in some loads both threads lay on one core, and a part took
  60 % longer with a narrow interval: each is bound to a core of its own. ResNet-18 went from 4.1 % in quiet minutes to 2.6 % by the last two (within 5 %: 72 to 92 %), and parts as they are from 11.9 to 2.7 % (what came before was read by hand, from tables thrown away since). Before the
  last one all five networks together had 2.9 % (wanted: 3), 83 % within 5 % (90); that table is no longer in use. Half of the cells of MobileNetV2 then fell into slower minutes than the rest, and it read 7 % wrong: such
  cells are now timed again at the end. Two networks stand here as they are timed now; the others are to be measured.
- Batch 8 was begun on another machine (family 25), a restless one: by the second, networks took 1 to 1.2 times what they took in the quickest seconds. Four networks stand here, timed with a watch on the core
  (`core_watch.md`) and read with what each cell itself reorders; by the deduction all lie within target, though two timings of MobileNetV2 differ by 3.9 % (rms) and of the vision transformer by 3.8, which would hide an error of two or
  three; 92 % of the four are within 5 % (wanted over all: 97) and 99 % within 10 (all). ResNet-18 is off by 2.7 % (rms; its noise 2.5), within 5 % in 90 % of the cases and
  always within 10; on these plans, on which nothing was chosen, the slope for widths off the steps takes its excess error from 3.2 to 1.8 %, widths inside and outside of blocks apart to 1.3 and the term for weights to 1.2. The vision transformer's hour was the worst: of its 83 timings 66 are of a core that stayed slowed in every attempt, and most have six pairs of runs, since one takes a quarter of a second and the time for
  a timing is one. The other 17 are foreseen to 1.9 % (rms) and all within 5 %; those 59 of quick minutes, slowed or not, to 2.2 %, 98 % within 5 % and all within 10 % (by hand). An earlier run had neither the watch nor those shares: there 42 to 79 % of the timings of
  held-out networks were slow in every attempt (here 0, 4 and 30), 686 of 1254 cells were timed while the anchor moved (here none), MobileNetV2 was off by 9.5 % (rms; its noise 4.8), ResNet-56 by 1.5 (2.1) and the
  vision transformer by 3.8 (5.6). Both seem to have their share in that, though samples of parts became longer between the runs as well: the newer timings, read with the share at full width left out of every width as it was then, give 5.1 % for MobileNetV2 in place of
  3.5, the earlier ones read as now 8.0 in place of 9.5. What a part alone lays out anew (up to 0.7 of its time, in MobileNetV2) also hides the staircase: counted in, no step was seen over input channels; left out, one of 16 along
  both axes. MobileNetV2's cells were chosen before that was seen. Its two worst, 16 and 9 % off, are timings on a core that stayed slowed in every attempt, which say so themselves; of all 85 timings of its held-out
  networks, those that were made again and the profile's own counted in, 70 say nothing of the kind, and those are foreseen to 2.3 % (rms), 96 % within 5 % and all within 10 % (by hand).
- What is left lies in single layers: networks of random widths scatter by 1.5 to 3 % around the fit where uniform ones do not, and plans that take out both more than those that take
  out blocks. A fitted network that lacks both, in place of any other, was tried on these plans and told no more.
- Intervals hold all of the 200 networks in ONNX Runtime and 99 % in eager on one thread: they are a little wide there. (As the code is now it is 97 % in eager, of ResNet-50 88: read by hand
  as above.) What two processes differ by is no part of them, and on two threads they hold 85 % of ResNet-18's networks (wanted: 95).
- Another draw of 202 networks of these five, timed two hours before in ONNX Runtime, lies in the table that comes with lathe as well. The noise of that hour was twice as large (rms 2.1 % in place of 1.06). As the
  code is now they are predicted with a mean error of 1.9 % (1.2 here), 93 % within 5 % and 99 % within 10 %, an excess error of 1.8 %, and 94 % within their intervals: outside of target, ResNet-56 most (2.3 to
  2.6 %, all of it too high). Read by hand, as above; what the tables below show holds for quieter hours. Timings of slow minutes
  count in all of these; what `lathe table show` prints of the shipped tables leaves them out, and rests on fewer networks.
- With nothing fitted on a network (a family that the table has never seen), parts as they are are off by 1 to 3 %, but in ONNX Runtime MobileNetV2 by 7.7 % (wanted: 5 %): alone, its
  layers pay for laying out their inputs and outputs anew. Without that, which cells tell since, it is 2.5 % (`strangers.md`).
- Sections written after it was seen what excess error takes off will tell error and noise apart. Later ones will also tell what each form keeps within 5 and 10 %, among them the one planned at first (a
  line over layers weighted by kind and width; by hand: 2.6 % in ONNX Runtime, 1.6 % in eager), and the error of interpolation for each network: the one that each section below ends with is
  ResNet-56's alone. Of convolutions in ResNet-18, ResNet-50 and MobileNetV2 it is 5 to 8 % in ONNX Runtime and 7 to 15 % in eager (by hand).
- The plans are new ones (another seed of the draw than all that was tried before). That widths have two slopes was decided on the plans of ONNX Runtime, among twelve forms; those
  of eager had no say in it. There a form with one slope for all widths and none for weights would do a little better (1.5 %).
"""
"""What the run said, in plain words; goes to the top of the page."""


def main() -> None:
    """Measures what is not known yet and writes the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--scale", choices=tuple(PLANS), default="short")
    options.add_argument("--out", type=Path, default=Path("lathe-out"), help="workspace")
    options.add_argument("--networks", default=",".join(NETWORKS), help="separated by commas")
    options.add_argument(
        "--settings", default="0,1,2,3,4", help="numbers of settings, in their order on the page"
    )
    options.add_argument("--minutes", type=float, default=math.inf, help="begin nothing new after so many")
    words = options.parse_args()
    if words.scale == "full":
        print("expected: about 3 hours for each setting on 2 cores, more at batch 8")
    until_s = time.monotonic() + 60 * words.minutes
    folder = words.out / "experiments" / f"closure-{words.scale}"
    path = page_path("closure", words.scale)
    sections = sections_of(path.read_text(encoding="utf-8")) if path.exists() else {}
    for number in map(int, words.settings.split(",")):
        condition = CONDITIONS[number]
        for network in words.networks.split(","):
            measure(condition, network, PLANS[words.scale], folder, until_s)
        found = [
            look(condition, network, PLANS[words.scale], folder) for network in words.networks.split(",")
        ]
        judged = [one for one in found if one is not None]
        if judged:
            sections[heading(condition)] = section(condition, judged, origin("closure", words.scale))
            write_atomically(path, "\n".join(page(sections, words.scale)).encode())
            print(f"wrote {path}")


def page(sections: Mapping[str, list[str]], scale: str) -> list[str]:
    """The whole page: what was read off it, then the settings in their order."""
    lines = ["# Closure: predicted against measured", "", read_off(READING, scale), ""]
    for condition in CONDITIONS:
        lines += sections.get(heading(condition), [])
        lines += [] if lines[-1] == "" else [""]
    return lines


if __name__ == "__main__":
    main()

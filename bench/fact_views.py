"""What was told of whole networks: compiling, graph breaks, builds, launches, nodes left, the GPU meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from bench.terminal import Terminal, time_text
from latency_tables.measurement import GPU, LAUNCH_BOUND
from latency_tables.skeleton import Skeleton
from latency_tables.table import LatencyTable, NetworkMeasurement
from reports.results import Facts


def whole_networks(skeleton: Skeleton, table: LatencyTable) -> list[NetworkMeasurement]:
    """Every whole network cut from a skeleton, oldest first."""
    return [network for network in table.networks if network.skeleton == skeleton.digest]


def launch_cost(skeleton: Skeleton, table: LatencyTable) -> dict[str, float] | None:
    """What the unpruned network takes queued and as it is issued, seconds; None where that was not measured."""
    return _of_unpruned(skeleton, table).get("launch")


def facts_json(skeleton: Skeleton, table: LatencyTable) -> dict[str, Any]:
    """As plain values; what a runtime does not tell is empty or null."""
    unpruned = _of_unpruned(skeleton, table)
    return {
        "compile_s": _compile_s(skeleton, table, cached=False),
        "compile_cached_s": _compile_s(skeleton, table, cached=True),
        "unkept": unpruned.get("unkept"),
        "graph_breaks": unpruned.get("graph_breaks", {}),
        "builds_s": unpruned.get("builds_s", []),
        "launch": unpruned.get("launch"),
        "launch_unknown": unpruned.get("launch_unknown"),
        "ran_elsewhere": unpruned.get("ran_elsewhere", {}),
        "ran_in_floats": unpruned.get("ran_in_floats", {}),
        "run_by_pytorch": unpruned.get("run_by_pytorch", []),
        "gpu": unpruned.get(GPU),
    }


def facts_of(skeleton: Skeleton, table: LatencyTable) -> Facts | None:
    """What a report says of them; None where there is nothing to tell."""
    told = _of_unpruned(skeleton, table)
    builds_s = tuple(told.get("builds_s", ()))
    facts = Facts(
        graph_breaks=told.get("graph_breaks", {}),
        ran_in_floats=told.get("ran_in_floats", {}),
        ran_elsewhere={who: tuple(names) for who, names in told.get("ran_elsewhere", {}).items()},
        builds_s=builds_s if len(builds_s) > 1 else (),
        launch_unknown=told.get("launch_unknown"),
    )
    return None if facts == Facts({}, {}, {}, (), None) else facts


def remarks(pruned: NetworkMeasurement, table: LatencyTable) -> tuple[str, ...]:
    """What a runtime told of a pruned network and not of the unpruned one, in sentences.

    Pruning changes what a compiler or a provider takes: nodes that were fused may be left over, and what is left of
    the work may be less than launching it costs.

    Args:
        pruned: as it was timed.
        table: of the same setting; where the unpruned network is not in it, nothing can be said.
    """
    unpruned = [n for n in table.networks if n.skeleton == pruned.skeleton and not n.cut]
    if not unpruned:
        return ()
    news = _news(pruned.facts, unpruned[-1].facts)
    return tuple(" ".join(line.split()) for line in _told(news, "the pruned network", table))


def show_facts(terminal: Terminal, skeleton: Skeleton, table: LatencyTable) -> None:
    """In sentences among the results; nothing where there is nothing to tell."""
    for line in _fact_lines(skeleton, table):
        terminal.results.print(line)


def say_facts(terminal: Terminal, skeleton: Skeleton, table: LatencyTable) -> None:
    """The same as remarks, of one setting among several."""
    if lines := _fact_lines(skeleton, table):
        terminal.say(f"{skeleton.name} in {table.setting.label}:")
        for line in lines:
            terminal.say(f"  {line}")


def _fact_lines(skeleton: Skeleton, table: LatencyTable) -> list[str]:
    unpruned = _of_unpruned(skeleton, table)
    said = []
    if seconds := _compile_s(skeleton, table, cached=False):
        fewest, most = min(seconds), max(seconds)
        said.append(
            f"compiling a whole network took {fewest:.1f} to {most:.1f} s, which is no part of its latency"
        )
    if seconds := _compile_s(skeleton, table, cached=True):
        fewest, most = min(seconds), max(seconds)
        said.append(
            f"  out of the compiler's cache it took {fewest:.1f} to {most:.1f} s ({len(seconds)} times)"
        )
    if reason := unpruned.get("unkept"):
        said.append(
            f"engines of parts could not be kept, so each is built anew wherever it is loaded: {reason}; "
            "XDG_CACHE_HOME names another folder"
        )
    if len(unpruned.get("builds_s", [])) == 1:
        said.append(
            "each network was built once, so how far builds of it differ is in no interval; --option builds=3 tells"
        )
    said += _told(unpruned, "the unpruned network", table)
    if gpu := unpruned.get(GPU):
        if "unseen" in gpu:
            said.append(
                f"nobody watched the GPU, so throttling and others on it went unseen: {gpu['unseen']}"
            )
        else:
            if seen := _gpu_text(gpu):
                said.append(f"the GPU while the unpruned network was timed: {seen}")
            if gpu["throttled"] is None:
                said.append("whether the GPU was throttled is not known: it or its driver does not tell")
            if gpu["other_processes"] is None:
                said.append(
                    "whether others used the GPU is not known: its driver does not list this process, as in a "
                    "container; nvidia-smi on the host tells"
                )
    return said


def _told(facts: Mapping[str, Any], network: str, table: LatencyTable) -> list[str]:
    """What the runtime told of one network, in sentences.

    Args:
        facts: of it, as `Loaded.facts` have them.
        network: what the sentences call it.
        table: of the setting.
    """
    said = [
        f"  graph break: {reason} ({count} times)" for reason, count in facts.get("graph_breaks", {}).items()
    ]
    builds = facts.get("builds_s", [])
    if len(builds) > 1:
        spread = max(builds) / min(builds) - 1
        said.append(
            f"{len(builds)} builds of {network} are {spread:.1%} apart, {time_text(min(builds))} to "
            f"{time_text(max(builds))}; intervals hold for the middle one"
        )
    if launch := facts.get("launch"):
        issued, queued = time_text(launch["issued_s"]), time_text(launch["queued_s"])
        said.append(f"{network} takes {queued} of work, and {issued} as it is issued")
        if _is_launch_bound(launch):
            said.append(
                "  launching is what it costs, not work: served so, narrower layers will hardly make it faster at "
                f"batch {table.setting.batch}; fewer layers will, by their launches"
            )
    if reason := facts.get("launch_unknown"):
        said.append(f"what launching costs {network} is not known: {reason}")
    for provider, names in facts.get("ran_elsewhere", {}).items():
        said.append(f"  left to {provider}: {len(names)} nodes of {network}: {', '.join(names)}")
    if floats := facts.get("ran_in_floats"):
        kinds = ", ".join(f"{count} {kind}" for kind, count in floats.items())
        said.append(f"  computed in floats, not in integers, of {network}: {kinds}")
    if left := facts.get("run_by_pytorch"):
        said.append(f"  left to PyTorch, of {network}: {', '.join(left)}")
    return said


def _news(pruned: Mapping[str, Any], unpruned: Mapping[str, Any]) -> dict[str, Any]:
    """Of a pruned network's facts those that the unpruned one's do not tell already.

    Nodes are named by their place, which removals move, so there only their number counts.
    """
    news: dict[str, Any] = {}
    for what in ("graph_breaks", "ran_in_floats"):
        before = unpruned.get(what, {})
        news[what] = {
            name: count for name, count in pruned.get(what, {}).items() if count > before.get(name, 0)
        }
    elsewhere: Mapping[str, Sized] = unpruned.get("ran_elsewhere", {})
    news["ran_elsewhere"] = {
        provider: names
        for provider, names in pruned.get("ran_elsewhere", {}).items()
        if len(names) > len(elsewhere.get(provider, ()))
    }
    if len(left := pruned.get("run_by_pytorch", ())) > len(unpruned.get("run_by_pytorch", ())):
        news["run_by_pytorch"] = left
    news["builds_s"] = pruned.get("builds_s", ())
    launch, before = pruned.get("launch"), unpruned.get("launch")
    if launch and _is_launch_bound(launch) and not (before and _is_launch_bound(before)):
        news["launch"] = launch
    if "launch_unknown" not in unpruned:
        news["launch_unknown"] = pruned.get("launch_unknown")
    return news


def _is_launch_bound(launch: Mapping[str, float]) -> bool:
    return launch["issued_s"] > LAUNCH_BOUND * launch["queued_s"]


#: What NVML tells, as the records call it: its name here, its unit, and how many of the record's units that is.
_GPU_WORDS = {
    "sm_clock_hz": ("clock", "MHz", 1e6),
    "memory_clock_hz": ("memory clock", "MHz", 1e6),
    "temperature_c": ("chip", "°C", 1.0),
    "power_w": ("power", "W", 1.0),
}


def _gpu_text(gpu: dict[str, Any]) -> str:
    """Clocks, heat and power, each from its lowest to its highest; "" where nothing of it is told."""
    told = []
    for name, (words, unit, size) in _GPU_WORDS.items():
        if known := gpu.get(name):
            least, _, most = (f"{value / size:.0f}" for value in known)
            told.append(f"{words} {least} to {most} {unit}" if least != most else f"{words} {least} {unit}")
    return ", ".join(told)


def _compile_s(skeleton: Skeleton, table: LatencyTable, *, cached: bool) -> list[float]:
    """What compiling took, where it was all done anew or where the compiler had it in its cache."""
    told = [network.facts for network in whole_networks(skeleton, table)]
    return [
        facts["compile_s"] for facts in told if "compile_s" in facts and facts.get("cached", False) == cached
    ]


def _of_unpruned(skeleton: Skeleton, table: LatencyTable) -> dict[str, Any]:
    """What was told of the unpruned network when it was last timed."""
    found = [network for network in whole_networks(skeleton, table) if not network.cut]
    return dict(found[-1].facts) if found else {}

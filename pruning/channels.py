"""Channel groups of a network, and surgery on them: what may get narrower, and the narrower network.

Which channels hang together, through additions, depthwise convolutions, concatenations and gates, is found by
Torch-Pruning's dependency graph (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from latency_tables.errors import LatheError, UserError, unknown
from latency_tables.widths import ChannelGroup
from pruning.branches import told_apart

Keep = Mapping[str, Sequence[int]]
"""By group, the channels that stay, ascending."""

TOLERANCE = 1e-5
"""Largest difference between a narrower and a masked network, as a share of the outputs' largest value."""

LEAST = 4
"""Groups of fewer channels are left alone."""

_MAKERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
_MIXES = (nn.LayerNorm, nn.GroupNorm)
_FITS = "A plan fits only the network that it was made for: give the factory that made it."


def find_groups(model: nn.Module, example: Tensor) -> tuple[ChannelGroup, ...]:
    """The channel groups of a network.

    A group may change its width when the network without some of its channels computes what it computes with these
    channels masked, which is tried: a random half of each is taken out.

    Args:
        model: in evaluation mode; left as it is.
        example: what the network is run on, shape (n, channels, height, width).

    Returns:
        One group for each set of channels that must go together, in the order of the network's modules; those that
        must stay as they are carry the reason.

    Raises:
        UserError: the network cannot be traced, so that nothing is known of its channels.
    """
    model = told_apart(model)
    found = _Network(model, example).groups()
    drawn = torch.Generator().manual_seed(0)
    halves = {group.name: _half(group.channels, drawn) for group in found if group.frozen is None}
    reasons = {group.name: group.frozen for group in found}
    if halves and _difference(model, example, halves) is not None:
        # One of them spoils it: each is tried alone, and those that pass once more together.
        reasons |= {name: _difference(model, example, {name: half}) for name, half in halves.items()}
        passed = {name: half for name, half in halves.items() if reasons[name] is None}
        together = _difference(model, example, passed) if passed else None
        if together is not None:
            reasons |= dict.fromkeys(passed, f"together with others, {together}")
    return tuple(replace(group, frozen=reasons[group.name]) for group in found)


def narrow(model: nn.Module, example: Tensor, keep: Keep) -> nn.Module:
    """A physically narrower copy of a network.

    Args:
        model: the network; left as it is.
        example: shape (n, channels, height, width).
        keep: for some groups, by name, the channels that stay.

    Raises:
        LatheError: there is no such group, it lacks a channel that should stay, nothing would be left of it, or it
            may not get narrower.
    """
    smaller = copy.deepcopy(model)
    network = _Network(smaller, example)
    gone = _gone(model, network, keep)
    for name in gone:
        if reason := network.frozen(name):
            raise LatheError(
                f"the channels of group {name!r} in {type(model).__name__} must all stay, since {reason}. Leave "
                f"the group out. {_FITS}"
            )
    for name, channels in gone.items():
        network.group(name, channels).prune()
    return smaller.train(model.training)


@dataclass(frozen=True, slots=True)
class Strand:
    """Where the channels of a group lie in one weight.

    Attributes:
        weight: the parameter's name.
        dimension: 0 where the layer makes the channels, 1 where it reads them.
        places: positions along that dimension.
        channels: of the group, one for each place; a flattened channel has several places.
    """

    weight: str
    dimension: int
    places: tuple[int, ...]
    channels: tuple[int, ...]


def find_strands(
    model: nn.Module, example: Tensor, groups: Sequence[ChannelGroup]
) -> dict[str, tuple[Strand, ...]]:
    """By group, which entries of which weights go when a channel goes; norms and biases are left out.

    Args:
        model: the network; left as it is.
        example: shape (n, channels, height, width).
        groups: of this network.
    """
    network = _Network(model, example)
    names = {module: name for name, module in model.named_modules()}
    found: dict[str, tuple[Strand, ...]] = {}
    for group in groups:
        strands = []
        for item in network.group(group.name, range(group.channels)).items:
            module = item.dep.target.module
            if isinstance(module, _MAKERS):
                dimension = int("in_channels" in item.dep.handler.__name__)
                strands.append(
                    Strand(f"{names[module]}.weight", dimension, tuple(item.idxs), tuple(item.root_idxs))
                )
        found[group.name] = tuple(strands)
    return found


@contextmanager
def masked(model: nn.Module, example: Tensor, keep: Keep) -> Iterator[None]:
    """Hides channels from everything that reads them while the context is open: the same sums as without them.

    Args:
        model: the network, changed in place until the context closes.
        example: shape (n, channels, height, width).
        keep: for some groups, by name, the channels that stay.

    Raises:
        LatheError: there is no such group.
    """
    network = _Network(model, example)
    before: dict[nn.Parameter, Tensor] = {}
    try:
        for name, gone in _gone(model, network, keep).items():
            for dependency, places in network.group(name, gone):
                reader = dependency.target.module
                if _reads(dependency):
                    before.setdefault(reader.weight, reader.weight.detach().clone())
                    reader.weight.data[:, places] = 0.0
        yield
    finally:
        for weight, value in before.items():
            weight.data.copy_(value)


class _Network:
    """A network with its dependencies traced."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        import torch_pruning

        self._model = model
        fixed = [parameter for parameter in model.parameters() if not parameter.requires_grad]
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")  # about parameters outside of modules; what they lead to is tried
            for parameter in fixed:
                parameter.requires_grad_(True)  # the trace follows gradients
            try:
                self._graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example)
            except Exception as error:
                raise UserError(
                    f"Torch-Pruning cannot trace {type(model).__name__}, so it is not known which channels hang "
                    f"together ({type(error).__name__}: {str(error)[:200]}). Choose a method that takes out blocks "
                    "or single weights; for channels its forward must run with gradients, on one image."
                ) from error
            finally:
                for parameter in fixed:
                    parameter.requires_grad_(False)

    def group(self, name: str, channels: Sequence[int]) -> Any:
        """Torch-Pruning's group for some channels of the module of that name."""
        module = self._model.get_submodule(name)
        prune = self._graph.get_pruner_of_module(module).prune_out_channels
        return self._graph.get_pruning_group(module, prune, idxs=list(channels))

    def groups(self) -> list[ChannelGroup]:
        """All groups, in the order of the modules that name them; frozen where that can be seen at once."""
        found: list[ChannelGroup] = []
        covered: set[nn.Module] = set()
        for name, module in self._model.named_modules():
            if not isinstance(module, _MAKERS) or module in covered or module not in self._graph.module2node:
                continue
            channels = _channels(module)
            group = [(one, places) for one, places in self.group(name, range(channels))]
            makers = [one.target.module for one, _ in group if _makes(one)]
            if any(_channels(maker) < channels for maker in makers):
                continue  # its channels are those of several others, side by side, which are groups of their own
            covered |= {maker for maker in makers if _channels(maker) == channels}
            found.append(ChannelGroup(name, channels, self.frozen(name)))
        return found

    def frozen(self, name: str) -> str | None:
        """Why a group must stay as it is, as far as that can be seen at once."""
        channels = _channels(self._model.get_submodule(name))
        members = [one for one, _ in self.group(name, range(channels))]
        if not any(_reads(one) for one in members):
            return "no convolution and no linear layer inside the network reads these channels"
        if channels < LEAST:
            return f"it has fewer than {LEAST} channels"
        if any(isinstance(one.target.module, _MIXES) for one in members):
            return "a norm over channels mixes them"
        return None


def _channels(module: nn.Module) -> int:
    return int(module.out_features if isinstance(module, nn.Linear) else module.out_channels)  # type: ignore[arg-type]


def _gone(model: nn.Module, network: _Network, keep: Keep) -> dict[str, list[int]]:
    """By group, the channels that go; groups that lose none are left out."""
    modules = dict(model.named_modules())
    gone: dict[str, list[int]] = {}
    for name, kept in keep.items():
        if not isinstance(modules.get(name), _MAKERS):
            groups = [group.name for group in network.groups()]
            what = f"channel group of {type(model).__name__}"
            raise LatheError(f"{unknown(what, name, groups)} {_FITS}")
        channels = _channels(modules[name])
        if strange := sorted(set(kept) - set(range(channels))):
            raise LatheError(
                f"channel group {name!r} of {type(model).__name__} has channels 0 to {channels - 1}, and "
                f"{strange[0]} should stay. {_FITS}"
            )
        lost = sorted(set(range(channels)) - set(kept))
        if lost and not set(kept) - set(lost):
            raise LatheError(f"nothing would be left of channel group {name!r}; keep at least one channel")
        if lost:
            gone[name] = lost
    return gone


def _makes(dependency: Any) -> bool:
    return str(dependency.handler.__name__) == "prune_out_channels" and isinstance(
        dependency.target.module, _MAKERS
    )


def _reads(dependency: Any) -> bool:
    return str(dependency.handler.__name__) == "prune_in_channels" and isinstance(
        dependency.target.module, _MAKERS
    )


def _half(channels: int, drawn: torch.Generator) -> list[int]:
    """Half of the channels, at least one."""
    return sorted(torch.randperm(channels, generator=drawn)[: max(1, channels // 2)].tolist())


def _difference(model: nn.Module, example: Tensor, keep: Keep) -> str | None:
    """What speaks against these widths: None where the narrower network computes what the masked one does."""
    try:
        smaller = narrow(model, example, keep)
        with torch.no_grad():
            got = smaller(example)
            with masked(model, example, keep):
                wanted = model(example)
    except Exception as error:  # noqa: BLE001  whatever a network does with sizes that it does not expect
        return f"the network does not run without some of them ({type(error).__name__}: {str(error)[:200]})"
    if got.shape != wanted.shape:
        return f"the output would be {tuple(got.shape)} instead of {tuple(wanted.shape)}"
    distance = float((got - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))
    if not distance <= TOLERANCE:
        return f"the network without some of them is another one than with them masked (by {distance:.1g})"
    return None

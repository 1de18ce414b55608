"""What every plan's parts cost, timed alone: the sum that predictions rest on."""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from latency_tables.errors import LatheError, UserError
from latency_tables.family import Family, families
from latency_tables.part import Part
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.surfaces import failed_points, kind_of, surfaces
from latency_tables.table import LatencyTable
from latency_tables.widths import full_widths

WAYS = 5
"""Ways in which a plan frees latency, see `Costs.freed`."""
SUMMED = 3
"""So many of them are parts of the sum, the first ones."""


class Origin(enum.Enum):
    """Where a layer's latency comes from."""

    MEASURED = "measured"  #: at these widths, or at ones on the same step
    INTERPOLATED = "interpolated"  #: between cells of its family
    MISSING = "missing"  #: outside of what was measured; nothing is said


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What a layer costs.

    Attributes:
        name: dotted path of its module.
        alone_s: timed alone; where it is interpolated, without what a part alone only lays out anew; NaN where it
            is missing.
        scaled_s: the same, scaled so that the layers of a block add up to the block.
        origin: where it comes from.
        error: relative standard deviation of its interpolation, or of latencies on one step where its own width was
            not measured; 0 where it was.
    """

    name: str
    alone_s: float
    scaled_s: float
    origin: Origin
    error: float


class Costs:
    """Sums of parts timed alone, for any plan of one network in one setting.

    A block's own cell counts, not the sum of its layers: the layers are scaled by one factor for each block, the
    same at all widths. A layer at a width that was not measured is interpolated between cells of its family.

    Where the runtime told of every part for what share of its time alone tensors are only laid out anew, that share
    is left out, at each width its own: inside of a network nearly none of it is paid.

    Args:
        skeleton: the unpruned network.
        table: measured in the setting of interest.

    Attributes:
        blocks_s: each block's latency at full width.
        layers_s: each layer's at full width, scaled to its block.
        whole_s: their sum.
        inside: share of it that lies in removable blocks, 0 to 1.

    Raises:
        UserError: a part has no cell.
        LatheError: a part was tried and failed.
    """

    def __init__(self, skeleton: Skeleton, table: LatencyTable) -> None:
        self._skeleton, self._table = skeleton, table
        alone = [table.latency_s(layer.part).value for layer in skeleton.layers]
        stays = _not_reordering(skeleton, table)
        within: dict[str, float] = {}
        for layer, latency_s in zip(skeleton.layers, alone, strict=True):
            if layer.block is not None:
                within[layer.block] = within.get(layer.block, 0.0) + latency_s * stays[layer.part]
        self.blocks_s = {
            block.name: table.latency_s(block.part).value * stays[block.part] for block in skeleton.blocks
        }
        self._scale = [
            1.0 if layer.block is None else self.blocks_s[layer.block] / within[layer.block]
            for layer in skeleton.layers
        ]
        self._alone_s = tuple(alone)
        self.layers_s = tuple(
            latency_s * stays[layer.part] * scale
            for layer, latency_s, scale in zip(skeleton.layers, alone, self._scale, strict=True)
        )
        self.whole_s = math.fsum(self.layers_s)
        self._block_of = [layer.block for layer in skeleton.layers]
        self._removable = frozenset(skeleton.removable)
        self.inside = math.fsum(self.blocks_s[name] for name in self._removable) / self.whole_s
        self._places = {group.name: place for place, group in enumerate(skeleton.groups)}
        self._full = np.array([[group.channels for group in skeleton.groups]], dtype=np.int64)
        self._families = families(skeleton) if skeleton.sizes else ()
        self._surfaces = surfaces(skeleton, self._families, table)
        self._counts = [layer.part.graph.weight_count for layer in skeleton.layers]
        self._weights = np.array(self._counts) / max(1, sum(self._counts))

    def total_s(self, removed: Collection[str] = (), widths: Mapping[str, int] | None = None) -> float:
        """The sum over the parts that stay. Arguments and errors as for `freed`."""
        return self.whole_s * (1.0 - float(self.freed(removed, widths)[:SUMMED].sum()))

    def freed(
        self, removed: Collection[str] = (), widths: Mapping[str, int] | None = None
    ) -> NDArray[np.float64]:
        """What a plan frees of the sum, as shares of it, by how it does so.

        Args:
            removed: blocks that go.
            widths: of the groups that are narrower.

        Returns:
            Shape (`WAYS`,): what blocks free that go; what layers free that get narrower, those inside of
            removable blocks and then the others. The rest are no parts of the sum: below 0, what layers cost that
            come to stand between two steps of the staircase (alone such a layer costs what it does at the next
            step); and how much larger a share goes of the network's weights than of the sum (alone a layer finds
            its weights in cache, in a network they come from memory).

        Raises:
            UserError: no width of the network, or one at which a part was neither measured nor can be interpolated.
            LatheError: such a part was tried and failed.
        """
        gone = set(removed)
        every = full_widths(self._skeleton.groups, widths or {})
        row = np.array([list(every.values())], dtype=np.int64)
        shares: NDArray[np.float64] = self.freed_by_many([gone], row)[0]
        if np.isnan(shares).any():
            raise self._unknown(gone, row)
        return shares

    def knows(self, cut: Cut) -> bool:
        """Whether every part that stays is known at its width; a skeleton without groups knows no widths."""
        if not cut.widths:
            return True
        if not self._skeleton.groups:
            return False
        row = np.array([list(full_widths(self._skeleton.groups, dict(cut.widths)).values())], dtype=np.int64)
        return bool(np.isfinite(self.freed_by_many([set(cut.removed)], row)).all())

    def freed_by_many(
        self, removed: list[set[str]] | list[frozenset[str]], widths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """As `freed`, for many plans at once.

        Args:
            removed: the blocks that go, for each plan.
            widths: of every group in the skeleton's order, shape (plans, groups).

        Returns:
            Shape (plans, `WAYS`); NaN where a part that stays is not known at its width.
        """
        freed = np.zeros((WAYS, len(removed)))
        weights = np.zeros(len(removed))
        narrower = bool((widths != self._full).any())
        stays = {
            block.name: np.array([block.name not in gone for gone in removed], dtype=np.bool_)
            for block in self._skeleton.blocks
        }
        for name, kept in stays.items():
            freed[0] += np.where(kept, 0.0, self.blocks_s[name])
        for place, block in enumerate(self._block_of):
            if block is not None:
                weights += np.where(stays[block], 0.0, self._weights[place])
            saved = self._saved_s(place, widths) if narrower else None
            if saved is not None:
                lost = self._lost_weights(place, widths)
                freed += saved if block is None else np.where(stays[block], saved, 0.0)
                weights += lost if block is None else np.where(stays[block], lost, 0.0)
        freed /= self.whole_s
        freed[-1] = weights - freed[:SUMMED].sum(axis=0)
        return freed.T

    @property
    def weights_over_sum(self) -> NDArray[np.float64]:
        """By how much each layer's share of the weights is larger than its share of the sum, shape (layers,)."""
        return self._weights - np.array(self.layers_s) / self.whole_s

    def freed_by_layer(self, widths: Mapping[str, int]) -> NDArray[np.float64]:
        """What each layer frees by getting narrower, as a share of the sum, by how it does so.

        Returns:
            Shape (layers, `WAYS`), in the order of `freed`; NaN for a layer that is not known at its width.

        Raises:
            UserError: no width of the network.
        """
        every = full_widths(self._skeleton.groups, widths)
        row = np.array([list(every.values())], dtype=np.int64)
        freed = np.zeros((len(self._block_of), WAYS))
        for place in range(len(freed)):
            saved = self._saved_s(place, row)
            if saved is not None:
                freed[place] = saved[:, 0] / self.whole_s
                lost = float(self._lost_weights(place, row)[0])
                freed[place, -1] = lost - freed[place, :SUMMED].sum()
        return freed

    def layers_at(self, widths: Mapping[str, int] | None = None) -> tuple[LayerCost, ...]:
        """What each layer costs at some widths, in the skeleton's order.

        Raises:
            UserError: no width of the network.
        """
        every = full_widths(self._skeleton.groups, widths or {})
        row = np.array([list(every.values())], dtype=np.int64)
        found = []
        for place, layer in enumerate(self._skeleton.layers):
            latency_s = float(self._latencies_s(place, row)[0])
            error, alone_s = 0.0, self._alone_s[place]
            origin = Origin.MEASURED
            if math.isnan(latency_s):
                origin, alone_s = Origin.MISSING, math.nan
            elif self._families and self._families[place].axes:
                family = self._families[place]
                values, surface = np.array([family.values(every)]), self._surfaces[family.pattern]
                if family.values(every) != family.full:
                    alone_s = latency_s / self._scale[place]
                if not surface.measured(values)[0]:
                    origin, error = Origin.INTERPOLATED, self.interpolation_error[kind_of(family)[0]]
                elif not surface.exact(values)[0]:
                    error = self.step_error[kind_of(family)[0]]
            found.append(LayerCost(layer.name, alone_s, latency_s, origin, error))
        return tuple(found)

    @cached_property
    def interpolation_error(self) -> dict[str, float]:
        """By kind of part, the root mean square of the relative error of interpolation, where probes were measured.

        Infinite for a kind that is interpolated and has no probe.
        """
        return self._pooled({pattern: surface.checks for pattern, surface in self._surfaces.items()})

    @cached_property
    def step_error(self) -> dict[str, float]:
        """By kind of part, the root mean square of what widths on one step differ by from their median, relative.

        Infinite for a kind that was measured at one width a step only.
        """
        return self._pooled({pattern: surface.treads for pattern, surface in self._surfaces.items()})

    def _pooled(self, errors: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """By kind of part, the root mean square of its families' errors."""
        kinds = {family.pattern: kind_of(family)[0] for family in self._families if family.axes}
        pooled: dict[str, list[float]] = {kind: [] for kind in kinds.values()}
        for pattern, kind in kinds.items():
            pooled[kind] += errors.get(pattern, ())
        return {
            kind: math.sqrt(math.fsum(e * e for e in seen) / len(seen)) if seen else math.inf
            for kind, seen in pooled.items()
        }

    def interpolation_spread_s(self, removed: Collection[str], widths: Mapping[str, int]) -> float:
        """What interpolation leaves uncertain of `total_s`: a standard deviation.

        Layers of one family read the same cells, so that their errors add up; those of different families are
        taken as independent.
        """
        gone = set(removed)
        errors: dict[str, float] = {}
        for place, cost in enumerate(self.layers_at(widths)):
            if self._block_of[place] not in gone and cost.error > 0.0:
                pattern = self._families[place].pattern
                errors[pattern] = errors.get(pattern, 0.0) + cost.scaled_s * cost.error
        return math.sqrt(math.fsum(error * error for error in errors.values()))

    def _saved_s(self, place: int, widths: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What a layer saves by getting narrower, seconds of the sum, shape (`WAYS`, plans), its weights left out.

        None where its width does not change.
        """
        if not self._families or not self._families[place].axes:
            return None
        family, full = self._families[place], self.layers_s[place]
        latency = self._latencies_s(place, widths)
        surface = self._surfaces[family.pattern]
        off = surface.off_steps(self._values(family, widths)) * latency
        off_before = surface.off_steps(np.array([family.full]))[0] * full
        saved = np.zeros((WAYS, len(widths)))
        saved[1 if self._block_of[place] in self._removable else 2] = full - latency
        saved[3] = off_before - off
        return saved

    def _lost_weights(self, place: int, widths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of the network's weights that a layer loses by getting narrower, shape (plans,)."""
        full = self._counts[place]
        if not full:
            return np.zeros(len(widths))
        family = self._families[place]
        lost: NDArray[np.float64] = 1.0 - family.weight_counts(self._values(family, widths)) / full
        return lost * float(self._weights[place])

    def _latencies_s(self, place: int, widths: NDArray[np.int64]) -> NDArray[np.float64]:
        full = self.layers_s[place]
        if not self._families or not self._families[place].axes:
            return np.full(len(widths), full)
        family = self._families[place]
        values = self._values(family, widths)
        latency = self._surfaces[family.pattern].at(values) * self._scale[place]
        # At full width the cell itself counts, whatever else lies on its step.
        return np.where((values == np.array(family.full)).all(axis=1), full, latency)

    def _values(self, family: Family, widths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where plans lie on a family's axes, shape (plans, axes)."""
        return np.stack([self._axis(family, axis, widths) for axis in range(len(family.axes))], axis=1)

    def _axis(self, family: Family, axis: int, widths: NDArray[np.int64]) -> NDArray[np.int64]:
        value = np.full(len(widths), family.axes[axis].constant, dtype=np.int64)
        for group, coefficient in family.axes[axis].terms:
            value += coefficient * widths[:, self._places[group]]
        return value

    def _unknown(self, gone: set[str], row: NDArray[np.int64]) -> LatheError:
        """The error for layers that nothing is known of at these widths, with the reasons of what failed there."""
        lacking = [
            place
            for place, layer in enumerate(self._skeleton.layers)
            if layer.block not in gone and np.isnan(self._latencies_s(place, row)[0])
        ]
        names = [self._skeleton.layers[place].name for place in lacking]
        multiples = [surface.multiple for surface in self._surfaces.values()]
        multiple = max(multiples, default=1)
        kernels = (
            f" Widths that are no multiple of {multiple} run other kernels here, which are timed on their own."
            if multiple > 1 and (row % multiple)[row != self._full].any()
            else ""
        )
        unknown = (
            f"{len(names)} layers of {self._skeleton.name} were not measured near these widths "
            f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}), and a table does not guess beyond what "
            f"was measured.{kernels}"
        )
        here: dict[str, None] = {}
        elsewhere: dict[str, None] = {}
        every = [self._families[place] for place in lacking]
        failed = failed_points(every, self._table)
        for family in every:
            asked = tuple(self._values(family, row)[0].tolist())
            for values, reason in failed[family.pattern].items():
                told = f"{family.part.kind} at {'x'.join(map(str, values))}: {reason.rstrip('.')}"
                (here if values == asked else elsewhere)[told] = None
        reasons = [*here, *elsewhere]
        if not reasons:
            return UserError(
                f"{unknown} Run `lathe profile --widths` for it in this setting, or `lathe predict --fill`."
            )
        text = (
            f"{unknown} Tried and failed: {'; '.join(reasons[:3])}{'; ...' if len(reasons) > 3 else ''}. "
            "`lathe predict --fill` tries just these widths again, `lathe profile --widths --retry-failed` those "
            "that a profile asks for."
        )
        return LatheError(text) if here else UserError(text)


def _not_reordering(skeleton: Skeleton, table: LatencyTable) -> dict[Part, float]:
    """Of each part's time alone the share that counts; all of it where the runtime did not tell of every part."""
    if not table.tells_reordering(skeleton):
        return dict.fromkeys(skeleton.parts, 1.0)
    return {part: 1.0 - (table.reordering(part.key) or 0.0) for part in skeleton.parts}

"""Controls one by one: made, judged, and where one cannot be made, its reason in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import nn

from bench.failure import reason
from latency_tables.errors import StorageError
from latency_tables.estimate import Estimate
from pruning.search import Progress

if TYPE_CHECKING:
    from bench.shop import Shop

NO_LABELS = "the images that judge have no labels"


@dataclass(frozen=True, slots=True)
class Judged:
    """What a result must stand beside.

    Attributes:
        accuracies: by name.
        failed: why others could not be made, by name.
    """

    accuracies: dict[str, Estimate] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def beside(self, other: Judged) -> Judged:
        """Both together."""
        return Judged({**self.accuracies, **other.accuracies}, {**self.failed, **other.failed})


def judged(shop: Shop, makers: Mapping[str, Callable[[], nn.Module]], progress: Progress) -> Judged:
    """Makes and judges networks one after the other; one that fails costs itself alone.

    Args:
        shop: knows the report images.
        makers: what makes each network, by name.
        progress: told of the passes.

    Returns:
        Accuracies and reasons; where the report images have no labels nothing is made, and that is the reason.

    Raises:
        StorageError: nothing can be written any more.
    """
    if shop.images.report.labels is None:
        return Judged(failed=dict.fromkeys(makers, NO_LABELS))
    found = Judged()
    for name, make in makers.items():
        try:
            found.accuracies.update(shop.judge({name: make()}, progress))
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001  the result itself is whole, whatever became of its control
            found.failed[name] = reason(error)
    return found

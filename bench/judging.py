"""What became of the controls that a result stands beside."""

from __future__ import annotations

from dataclasses import dataclass, field

from latency_tables.estimate import Estimate

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

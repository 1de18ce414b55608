"""The one interface of all criteria: how much does losing these blocks hurt?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from latency_tables.errors import LatheError


class Criterion(Protocol):
    """Answers how much it hurts to lose a set of blocks.

    A set, and not a block: what blocks cost together is not the sum of what they cost alone.

    Attributes:
        name: the word for it in records and messages.
        needs_images: whether hurt is measured on images. Without them the number is an order of preference and
            says nothing about harm.
    """

    @property
    def name(self) -> str:
        """The word for it in records and messages."""
        ...

    @property
    def needs_images(self) -> bool:
        """Whether hurt is measured on images."""
        ...

    def expect(self, removed: frozenset[str]) -> None:
        """Hears that the next questions are about these blocks and one more; may prepare, changes no answer."""
        ...

    def hurt(self, removed: frozenset[str]) -> float:
        """Harm of removing these blocks together, without recovery; 0 for none, higher is worse."""
        ...


class Remembering:
    """A criterion that asks another one for each set only once, however often a search comes back to it.

    A search that runs again with a corrected latency then costs little: most of its sets were scored before.

    Args:
        criterion: the criterion that does the work.
    """

    def __init__(self, criterion: Criterion) -> None:
        self._criterion = criterion
        self._known: dict[frozenset[str], float] = {}
        self._expected: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """The name of the criterion behind it."""
        return self._criterion.name

    @property
    def needs_images(self) -> bool:
        """Whether the criterion behind it measures on images."""
        return self._criterion.needs_images

    @property
    def scored(self) -> int:
        """How many different sets were scored so far."""
        return len(self._known)

    def expect(self, removed: frozenset[str]) -> None:
        """Passed on when the first question comes that memory does not answer."""
        self._expected = removed

    def hurt(self, removed: frozenset[str]) -> float:
        """Harm of removing these blocks together, from memory where it is known.

        Raises:
            LatheError: the harm is not a finite number; the message names the blocks.
        """
        if removed not in self._known:
            if self._expected is not None:
                self._criterion.expect(self._expected)
                self._expected = None
            hurt = self._criterion.hurt(removed)
            if not math.isfinite(hurt):
                raise LatheError(
                    f"criterion {self.name!r} gives {hurt} for the network without "
                    f"{', '.join(sorted(removed)) or 'any block removed'}, which is no finite number: that "
                    "network's outputs are not finite, or what damage is a share of is zero, as where an image "
                    "moves no feature. Leave this block out of the candidates, or check the preprocessing of the "
                    "images."
                )
            self._known[removed] = hurt
        return self._known[removed]


class Joint:
    """Several criteria as one: the geometric mean of what they say, which no unit of theirs can unbalance.

    Args:
        name: the word for it in records and messages.
        criteria: at least one; each at least 0.
    """

    def __init__(self, name: str, criteria: Sequence[Criterion]) -> None:
        self.name = name
        self._criteria = tuple(criteria)
        self.needs_images = any(criterion.needs_images for criterion in criteria)

    def expect(self, removed: frozenset[str]) -> None:
        """Passed on to all."""
        for criterion in self._criteria:
            criterion.expect(removed)

    def hurt(self, removed: frozenset[str]) -> float:
        """0 where any criterion says 0."""
        said = [criterion.hurt(removed) for criterion in self._criteria]
        return math.prod(said) ** (1 / len(said))


class Additive:
    """Another criterion's harm of single blocks, added up: what a one-shot ranking goes by.

    What blocks cost together is not that sum, so this serves comparisons and programs that must be linear.

    Args:
        criterion: asked for single blocks only.
    """

    def __init__(self, criterion: Remembering) -> None:
        self._criterion = criterion
        self.name = f"{criterion.name}, one-shot"
        self.needs_images = criterion.needs_images

    def expect(self, removed: frozenset[str]) -> None:  # noqa: ARG002
        """Passed on as a question about single blocks, since only these are asked for."""
        self._criterion.expect(frozenset())

    def hurt(self, removed: frozenset[str]) -> float:
        """The sum over the blocks of what each alone hurts."""
        return math.fsum(self._criterion.hurt(frozenset({block})) for block in removed)

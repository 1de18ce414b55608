"""What a network must have for a sweep's methods, said before anything is measured."""

from __future__ import annotations

from bench.sweep_config import SweepConfig
from bench.workbench import Subject
from latency_tables.errors import UserError
from latency_tables.skeleton import Skeleton


def require_prunable(config: SweepConfig, subject: Subject) -> None:
    """Makes sure that every method finds something that may go.

    Raises:
        UserError: blocks are to go, and none may; or channels are, and all must stay, or cannot be traced.
    """
    if config.takes_blocks and not subject.outline.skeleton.removable:
        raise UserError(
            f"{config.network} has no block that can be removed: no module adds to its input unchanged. "
            "Methods that take channels out, as epsd-structured, work for this one, as do `lathe profile` and "
            "`lathe predict`."
        )
    if config.narrows:
        require_free_groups(subject.wide.skeleton)


def require_free_groups(skeleton: Skeleton) -> None:
    """Makes sure that some channels may go.

    Raises:
        UserError: none may; the message says why, group by group.
    """
    if any(group.frozen is None for group in skeleton.groups):
        return
    reasons = [f"{group.name}: {group.frozen}" for group in skeleton.groups[:3]]
    raise UserError(
        f"no channels of {skeleton.name} can be taken out ({'; '.join(reasons) or 'it has no channel groups'}"
        f"{'; ...' if len(skeleton.groups) > 3 else ''}). Choose a method that takes blocks out."
    )

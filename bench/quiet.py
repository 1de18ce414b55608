"""Whether now is a good moment to measure, said before it begins."""

from __future__ import annotations

from bench.host import HostState, Severity
from latency_tables.errors import UserError


def remarks(state: HostState, *, strict: bool) -> list[str]:
    """What speaks against measuring now, one sentence each.

    Args:
        state: the host, as just looked at.
        strict: whether a warning refuses the measurement.

    Raises:
        UserError: strict, and the host is not quiet.
    """
    said = [
        f"{finding.name} is {finding.value} (wanted: {finding.threshold}): {finding.remedy}"
        for finding in state.findings
        if finding.severity is Severity.WARNING
    ]
    if strict and said:
        raise UserError("the host is not quiet enough to measure (--strict). " + " ".join(said))
    return said

"""Rankings of channels are held against EPSD's over the seeds that both have, and what failed is said."""

from __future__ import annotations

import made_up_runs as made
from epsd_structured import BUDGETS, EPSD, METHODS, page

from latency_tables.estimate import Estimate
from reports.results import Point

SNIP, MAGNITUDE, CHANCE = METHODS[1:]
LESS = {EPSD: (0.0, 0.0, 0.0), SNIP: (0.01, 0.02, 0.03), MAGNITUDE: (-0.01, -0.03, -0.02)}


def point(method: str, budget: str, seed: int) -> Point:
    share = float(budget[:-1])
    name = f"{method}-{budget}-s{seed}"
    if (method, budget, seed) in ((MAGNITUDE, "0.6x", 2), (EPSD, "0.3x", 2)):
        return made.failed(id=name, method=method, budget=budget, seed=seed, reason=f"diverged at {budget}")
    met = (method, budget, seed) != (SNIP, "0.45x", 0)
    ratio = made.estimate(share - 0.01 * (seed - 1) if met else share + 0.02, 0.001)
    accuracy = Estimate(0.7 - LESS[method][seed], 0.5, 0.9)
    return made.point(
        id=name, method=method, budget=budget, seed=seed, accuracy=accuracy, ratio=ratio, met=met
    )


def rows(lines: list[str]) -> dict[str, list[str]]:
    split = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|"))
    return {cells[0]: cells[1:] for cells in split}


def test_differences_are_over_the_seeds_that_both_rankings_have() -> None:
    lines = page([point(method, budget, seed) for method in LESS for budget in BUDGETS for seed in range(3)])
    table = rows(lines)
    assert table.keys() == {"ranking", "---", *METHODS}
    assert {len(cells) for cells in table.values()} == {3 * len(BUDGETS)}
    assert table["ranking"][:3] == ["0.8x: accuracy", f"less {EPSD}", "measured"]
    assert table[EPSD][:3] == ["70.0% (3 seeds)", "", "0.800"]
    assert table[EPSD][9:] == ["70.0% (2 seeds)", "", "0.305"]
    # By hand: 1, 2 and 3 points; Student's 4.303 of two degrees of freedom, times 1 / sqrt(3).
    assert table[SNIP][:3] == ["68.0% (3 seeds)", "-2.0 (-4.5 to +0.5)", "0.800"]
    assert table[SNIP][8] == "0.453"  # 0.47, 0.45 and 0.44
    # Of two seeds, 1 and 2 points and 1 and 3: 12.706 of one degree, times 0.5 and times 1.
    assert table[SNIP][9:] == ["68.5% (2 seeds)", "-1.5 (-7.9 to +4.9)", "0.305"]
    assert table[MAGNITUDE][3:6] == ["72.0% (2 seeds)", "+2.0 (-10.7 to +14.7)", "0.605"]
    assert table[CHANCE] == ["none", "", ""] * len(BUDGETS)


def test_all_budgets_together_what_failed_and_what_was_missed_are_said() -> None:
    lines = page([point(method, budget, seed) for method in LESS for budget in BUDGETS for seed in range(3)])
    assert f"- {SNIP}: -1.5 (-7.9 to +4.9) points" in lines
    assert f"- {MAGNITUDE}: +2.0 (-10.7 to +14.7) points" in lines
    assert f"- {CHANCE}: none" in lines
    assert f"- {MAGNITUDE}-0.6x-s2 failed: diverged at 0.6x" in lines
    assert f"- {EPSD}-0.3x-s2 failed: diverged at 0.3x" in lines
    assert "Budgets met: 33 of 34." in lines

"""A date's tables do not depend on how many ranges its pots are worked in (design, What scales)."""

import pytest

from acme.domain import pot_ranges, rebalancing
from tests.scenarios.driver import D1, D2, Scenario

POTS = 16


def test_ranges_do_not_show(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = ("SPLIT", "FULL", "EQUITY", "HALF")
    pots = {f"P{n:02}": profiles[n % 4] for n in range(POTS)}
    canary = tuple(f"P{n:02}" for n in range(0, POTS, 5))
    scenario.reference(
        pots, {pot: {"EQ": f"{n}.5", "USD": "91.37"} for n, pot in enumerate(pots)}, canary=canary
    )
    for n, pot in enumerate(pots):
        scenario.order(pot, D1, pot, "contribution", amount=f"{n * 37 + 1}.11")
    scenario.order("w", D1, "P07", "withdrawal", amount="500.00")
    scenario.run(D1)
    scenario.prices(D1, EQ="11.37", BD="19.01")
    scenario.run(D2)
    written = {day: scenario.hashes(day, ("core", "stage")) for day in (D1, D2)}
    worked: list[int] = []
    whole = rebalancing.rebalance

    def counting(*arguments: object) -> rebalancing.Result:
        worked.append(1)
        return whole(*arguments)

    monkeypatch.setattr(rebalancing, "rebalance", counting)
    assert scenario.frame("rebalancing_trades", D1).height > POTS
    for parts in (4, 16):
        monkeypatch.setattr(pot_ranges, "POTS_PER_RANGE", POTS // parts)
        for day in (D1, D2):
            # A published date whose bytes would change is refused.
            worked.clear()
            scenario.run(day)
            assert len(worked) == parts
            assert scenario.hashes(day, ("core", "stage")) == written[day]

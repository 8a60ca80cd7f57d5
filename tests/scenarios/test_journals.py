"""Journals of other processes: files in, a run, figures out."""

import pytest
from tests.scenarios.driver import D1, D2, D3, Scenario, d

@pytest.fixture
def ledger(scenario: Scenario) -> Scenario:
    scenario.reference({"A": "SELF", "B": "SELF"}, {"A": {"EQ": "100", "USD": "50.00"}, "B": {"EQ": "10"}})
    scenario.land("journal_sources", "amc,charge,2024-01-01,,team:charges", "amc,reversal,2024-01-01,,team:charges")
    return scenario

def test_charge(ledger: Scenario) -> None:
    T = f"{D1}T08:00:00Z"
    ledger.land("journals",
        f"amc,1,1,live,charge,{T},pot/A,EQ,-1.5,,,AMC",
        f"amc,1,2,live,charge,{T},suspense/charges,EQ,1.5,,,AMC",
        f"amc,2,1,live,charge,{T},pot/A,EQ,-1.5,,,",
        f"amc,2,2,live,charge,{T},suspense/charges,EQ,1.4,,,")
    ledger.run(D1)
    print(ledger.frame("journal_requests", D1))
    ledger.prices(D1)
    ledger.land("journals", f"amc,r1,1,live,reversal,{D2}T08:00:00Z,,,,1,{D1},")
    ledger.run(D2)
    assert ledger.pot(D2, "A") == {("settled", "EQ"): d("98.5"), ("settled", "USD"): d("50.00")}
    print(ledger.frame("journal_requests", D2))
    ledger.prices(D2)
    ledger.run(D3)
    assert ledger.pot(D3, "A") == {("settled", "EQ"): d("100"), ("settled", "USD"): d("50.00")}
    assert ledger.frame("ledger_journals", D2).select("journal_id","kind","reference","reverses").rows() == 1

"""Four published dates: a late confirmation, a corrected price, a break that ends, a payment."""

from collections.abc import Iterator

import pytest

from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import D0, D1, D2, D3, D4, Scenario


@pytest.fixture(scope="session")
def told(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[Scenario]:
    """Return an installation with D1 to D4 published, on the whole lake."""
    with copy_of(postgres_url, template_database) as url:
        # Other tests of the session have homes of their own: the variables stand while it runs.
        with pytest.MonkeyPatch.context() as patch:
            for name in VARIABLES:
                patch.setenv(name, "")
            opened = Scenario(tmp_path_factory.mktemp("told") / "home", url, catalog=True)
            play(opened)
        yield opened
        opened.close()


def play(opened: Scenario) -> None:
    line = f"B-{D1}-live-NORTH-EQ-S-U"
    opened.reference(
        {"A": "SELF", "B": "SELF", "C": "SELF"},
        {"B": {"EQ": "100", "USD": "1000.00"}, "C": {"USD": "10.00"}},
        canary=["C"],
    )
    opened.order("sell", D1, "B", "sell", asset="EQ", units="40")
    opened.order("pay-in", D1, "A", "contribution", amount="33.33")
    opened.statement("N0", "NORTH", D0, "EQ,100", "USD,1000.00")
    opened.run(D1)
    opened.prices(D1)
    opened.executed("N-1", line, D1, "25", "10", "250.00")
    opened.statement("N1", "NORTH", D1, "EQ,100", "USD,1033.33")
    opened.run(D2)
    # What was executed on D1 and is told a day late; a statement that is a unit short.
    opened.prices(D2)
    opened.executed("N-2", line, D1, "15", "10", "150.00")
    opened.statement("N2", "NORTH", D2, "EQ,99", "USD,1033.33")
    opened.order("out", D3, "B", "withdrawal", amount="100.00")
    opened.run(D3)
    # Another price for D1, on which the batch was dealt; the statement is right again.
    opened.land("closing_prices", f"{D1},EQ,USD,10.005", f"{D3},EQ,USD,10", f"{D3},BD,USD,20")
    opened.settled("N-3", line, D3, "40", "400.00")
    opened.statement("N3", "NORTH", D3, "EQ,60", "USD,1333.33")
    opened.run(D4)

"""The closing price behind a crossed quantity and behind a trade of re-balancing."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from acme.domain.orders import order_id
from acme.evidence import explain
from tests.evidence.test_explain import books, of
from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import D0, D1, D2, Scenario

pytestmark = pytest.mark.xdist_group("evidence_prices")


@pytest.fixture
def crossed(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[Scenario]:
    """Return two dates: B sells 20 units, and the re-balancing of A buys 50 of the same."""
    with copy_of(postgres_url, template_database) as url:
        with pytest.MonkeyPatch.context() as patch:
            for name in VARIABLES:
                patch.setenv(name, "")
            opened = Scenario(
                tmp_path_factory.mktemp("crossed") / "home", url, catalog=True, engine=False
            )
            opened.reference({"A": "HALF", "B": "SELF"}, {"B": {"EQ": "60"}})
            opened.order("c", D1, "A", "contribution", amount="1000.00")
            opened.order("s", D1, "B", "sell", asset="EQ", units="20.0000")
            opened.run(D1)
            # A price that was on hold, then released by a later file: that one counts.
            opened.land("closing_prices", f"{D1},EQ,USD,10.01", f"{D1},EQ,USD,10.02")
            opened.prices(D1, EQ="10.03")
            opened.executed("1", f"B-{D1}-live-NORTH-EQ-B-U", D1, "30.0000", "10.03", "300.90")
            opened.run(D2)
        yield opened
        opened.close()


def test_prices_are_shown_with_their_file_and_row(crossed: Scenario) -> None:
    (trade,) = crossed.frame("rebalancing_trades", D1).filter(asset_id="EQ")["order_id"]
    with books(crossed, D2) as opened:
        nodes = [explain.explain_order(opened, name) for name in (order_id("T", "s"), trade)]
    for node in nodes:
        assert node.holds()
        (crossing,) = of(node, "crossing")
        assert crossing.facts["crossed"] == Decimal(20)
        assert crossing.facts["consideration"] == Decimal("200.60")
        (price,) = crossing.because
        assert (price.facts["closing_price"], price.facts["price_date"]) == ("10.030000", str(D1))
        (file,) = price.because
        row = crossed.frame("closing_prices", D2).filter(asset_id="EQ", status="accepted")
        assert (file.facts["file_sha256"], file.facts["row"]) == (row["file_sha256"][0], 2)
        assert file.facts["bytes"] == "verified"
    (decision,) = of(nodes[1], "rebalancing_decision")
    (price,) = decision.because
    assert (price.facts["closing_price"], price.facts["price_date"]) == ("10.000000", str(D0))

"""Re-balancing against the independent reference, and what must hold for any pots (`rules §5`)."""

from hypothesis import given
from pots import AS_OF, RUN_DATE, World, outcomes_of, run, trades_of, worlds
from rebalancing_reference import rebalance


@given(worlds())
def test_trades_and_outcomes_equal_the_reference(world: World) -> None:
    result = run(world)
    expected = {
        name: rebalance(pot, world.profiles, world.assets, RUN_DATE, AS_OF)
        for name, pot in world.pots.items()
    }
    open_pots = {n: o for n, (o, _) in expected.items() if o != "not open"}
    assert outcomes_of(result) == open_pots
    assert trades_of(result) == {n: trades for n, (_, trades) in expected.items() if trades}

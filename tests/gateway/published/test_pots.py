"""GET /v1/pots: exact figures of one published date, for those who are granted the pot."""

from decimal import Decimal
from urllib.parse import quote

import pytest

from tests.gateway.published.conftest import Keys, Served
from tests.scenarios.driver import D2, D3, d

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("published")]


async def test_a_pot_is_told_to_the_last_digit(served: Served, keys: Keys) -> None:
    async with served.client(keys.owner) as client:
        answer = await client.get("/v1/pots/B")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["published_date"], told["as_of"]) == (str(D3), str(D2))
    assert (told["pot_id"], told["book"], told["currency"]) == ("B", "live", "USD")
    held = served.world.pot(D3, "B")
    for position in told["positions"]:
        asset = position["asset_id"]
        for state in ("settled", "reserved", "in_flight"):
            assert Decimal(position[state]) == held.get((state, asset), 0)
        total = sum(u for (_, a), u in held.items() if a == asset)
        assert Decimal(position["total"]) == total
        price = {"EQ": "10.000000", "BD": "20.000000"}[asset]
        assert (position["price"], position["price_date"]) == (price, str(D2))
        value = (total * d(price)).quantize(d("0.01"), "ROUND_HALF_EVEN")
        assert position["value"] == f"{value}"
    assert [p["asset_id"] for p in told["positions"]] == ["BD", "EQ"]
    cash = {state: u for (state, asset), u in held.items() if asset == "USD"}
    assert Decimal(told["cash"]["total"]) == sum(cash.values())
    parts = [p["value"] for p in told["positions"]] + [told["cash"]["total"]]
    assert Decimal(told["value"]) == sum(map(Decimal, parts))


async def test_the_headers_say_how_to_cache(served: Served, keys: Keys) -> None:
    async with served.client(keys.owner) as client:
        answer = await client.get("/v1/pots/B")
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["vary"] == "Authorization"
    assert answer.headers["etag"].startswith('"')


async def test_an_answer_that_is_known_is_not_sent_again(served: Served, keys: Keys) -> None:
    async with served.client(keys.owner) as client:
        tag = (await client.get("/v1/pots/B")).headers["etag"]
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            again = await client.get("/v1/pots/B", headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
            assert again.headers["vary"] == "Authorization"
        for other in ('"x"', tag.strip('"'), ""):
            fresh = await client.get("/v1/pots/B", headers={"if-none-match": other})
            assert fresh.status_code == 200
        another = await client.get("/v1/pots/" + quote("a/b ü"), headers={"if-none-match": tag})
        assert another.status_code == 200
        assert another.json()["positions"] == []


@pytest.mark.parametrize("known", ["*", '"x"'])
async def test_no_tag_opens_a_pot_of_others(served: Served, keys: Keys, known: str) -> None:
    async with served.client(keys.owner, if_none_match=known) as client:
        assert (await client.get("/v1/pots/A")).status_code == 404
        assert (await client.get("/v1/pots/GHOST")).status_code == 404


async def test_pots_of_others_are_as_unknown_as_those_that_are_not(
    served: Served, keys: Keys
) -> None:
    async with served.client(keys.owner) as client:
        answers = [
            (await client.get(f"/v1/pots/{pot}")).json()
            for pot in ("A", "C", "NOBODY", "GHOST", "%00", "%F0%9F%92%A9", "x" * 500)
        ]
    assert {a["status"] for a in answers} == {404}
    for answer in answers:
        answer.pop("instance")
    assert answers.count(answers[0]) == len(answers)


async def test_who_may_read_which_pot(served: Served, keys: Keys) -> None:
    expected = {
        keys.owner: (404, 200, 404),
        keys.other: (200, 404, 404),
        keys.everything: (200, 200, 200),
        keys.compliance: (200, 200, 200),
        keys.submit_only: (403, 403, 403),
        "acme_0000000000000000_" + "A" * 43: (401, 401, 401),
    }
    for key, statuses in expected.items():
        async with served.client(key) as client:
            found = [(await client.get(f"/v1/pots/{pot}")).status_code for pot in "ABC"]
        assert tuple(found) == statuses

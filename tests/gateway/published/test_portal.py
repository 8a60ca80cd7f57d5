"""/portal: pages without script for compliance, everything in them escaped."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from acme.evidence.pack import html_page, html_table
from tests.gateway.published.conftest import EVIL, Keys, Served
from tests.scenarios.driver import D1, D2, D3

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("published")]


def basic(key: str, user: str = "compliance") -> dict[str, str]:
    token = base64.b64encode(f"{user}:{key}".encode()).decode()
    return {"authorization": f"Basic {token}"}


class Tags(HTMLParser):
    """Collects the tags of a page, and fails on one that is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_a_browser_is_asked_for_the_key(served: Served, keys: Keys) -> None:
    async with served.client() as client:
        for headers in (
            {},
            basic("nonsense"),
            {"authorization": "Basic ~"},
            {"authorization": "Basic"},
            basic("acme_0000000000000000_" + "A" * 43),
        ):
            answer = await client.get("/portal", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic realm=")
        refused = await client.get("/portal", headers=basic(keys.everything))
        assert refused.status_code == 403


async def test_basic_opens_the_portal_and_nothing_else(served: Served, keys: Keys) -> None:
    async with served.client() as client:
        head = basic(keys.compliance)
        assert (await client.get("/portal", headers=head)).status_code == 200
        for path in ("/v1/pots/B", f"/v1/batches/{D1}", f"/v1/evidence/{D1}.zip"):
            assert (await client.get(path, headers=head)).status_code == 401


async def test_every_link_leads_somewhere(served: Served, keys: Keys) -> None:
    async with served.client() as client:
        head = basic(keys.compliance)
        dates = Tags((await client.get("/portal", headers=head)).text).links
        assert dates == [f"/portal/{day}" for day in (D3, D2, D1)]
        for date in dates:
            page = await client.get(date, headers=head)
            tags = Tags(page.text)
            assert {"script", "form", "iframe"}.isdisjoint(tags.seen)
            for link in tags.links:
                found = await client.get(link, headers=head)
                assert found.status_code == 200


async def test_a_date_shows_batches_checks_and_breaks(served: Served, keys: Keys) -> None:
    async with served.client(keys.compliance) as client:
        page = (await client.get(f"/portal/{D3}")).text
    for text in (f"B-{D3}-live", f"B-{D3}-canary", "<caption>Checks", "<caption>Breaks"):
        assert text in page
    assert "quantity" in page


async def test_the_browser_may_run_nothing(served: Served, keys: Keys) -> None:
    async with served.client(keys.compliance) as client:
        answer = await client.get("/portal")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_everything_is_escaped() -> None:
    page = html_page(EVIL, html_table(EVIL, [EVIL], [[EVIL, None, 'a"b', "<&>"]]))
    assert EVIL not in page
    assert page.count("&lt;script&gt;") == 4
    Tags(page)
    assert EVIL not in html_table(EVIL, ["x"], [])

"""The ledger (rules §8): postings, balances, and the checks of its identities."""

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

from tests.reference.numbers import ZERO

Posting = tuple[str, str, str, Fraction]  # account, state, asset, quantity


class Ledger:
    """Balances by book and account; every journal is checked as it is posted."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, str], dict[tuple[str, str], Fraction]] = {}
        self.violations: list[str] = []

    def post(self, book: str, postings: Iterable[Posting]) -> list[Posting]:
        """Post a journal: per asset it sums to zero (rules §8.1)."""
        journal = [posting for posting in postings if posting[3]]
        sums: dict[str, Fraction] = defaultdict(Fraction)
        for account, state, asset, quantity in journal:
            sums[asset] += quantity
            balances = self.accounts.setdefault((book, account), {})
            balance = balances.get((state, asset), ZERO) + quantity
            if balance:
                balances[state, asset] = balance
            else:
                balances.pop((state, asset), None)
        self.violations += [f"1: {journal} leaves {s} {a}" for a, s in sums.items() if s]
        return journal

    def reverse(self, book: str, journal: list[Posting]) -> None:
        """Post the opposite of a journal (rules §7)."""
        self.post(book, [(account, state, asset, -q) for account, state, asset, q in journal])

    def of(self, book: str, account: str) -> dict[tuple[str, str], Fraction]:
        """The non-zero balances of an account, by state and asset."""
        return self.accounts.get((book, account), {})

    def balance(self, book: str, account: str, state: str, asset: str) -> Fraction:
        """One balance."""
        return self.of(book, account).get((state, asset), ZERO)

    def balances(self) -> dict[tuple[str, str, str, str], Fraction]:
        """Every non-zero balance."""
        return {
            (book, account, state, asset): quantity
            for (book, account), balances in self.accounts.items()
            for (state, asset), quantity in balances.items()
        }


def reservation(account: str, asset: str, quantity: Fraction) -> list[Posting]:
    """From `settled` to `reserved` within a pot (rules §4); a negative quantity goes back."""
    return [(account, "settled", asset, -quantity), (account, "reserved", asset, quantity)]


def identities(ledger: Ledger, currency: str) -> list[str]:
    """Identities 2, 3 (units and reserved cash) and 6 of rules §8."""
    found = []
    sums: dict[tuple[str, str, str], Fraction] = defaultdict(Fraction)
    for (book, account), balances in ledger.accounts.items():
        kind, _, name = account.partition("/")
        if balances and kind == "custodian" and (book == "canary") != (name == "CANARY"):
            found.append(f"6: book {book} stands on {account}")
        for (state, asset), quantity in balances.items():
            sums[book, asset, "in_flight" if state == "in_flight" else "held"] += quantity
            negative = quantity.numerator < 0 and kind == "pot" and state != "in_flight"
            if negative and (asset != currency or state == "reserved"):
                found.append(f"3: {book} {account} {state} {asset} is {quantity}")
    found += [f"2: {key} leaves {total}" for key, total in sums.items() if total]
    return found

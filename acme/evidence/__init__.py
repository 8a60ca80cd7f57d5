"""Seals, keys and proofs that the books can be checked by. No computation of a day."""

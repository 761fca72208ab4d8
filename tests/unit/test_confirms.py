"""The confirm ledger: multiple, returns, unknown tags, drain."""

from __future__ import annotations

from amqtask.broker.confirms import ConfirmLedger


def filled(items: str) -> ConfirmLedger[str]:
    ledger: ConfirmLedger[str] = ConfirmLedger()
    for item in items:
        ledger.published(item)
    return ledger


def test_sequence_numbers_start_at_one():
    ledger: ConfirmLedger[str] = ConfirmLedger()
    assert [ledger.published(item) for item in "ab"] == [1, 2]


def test_a_single_ack_takes_one_out_of_order():
    ledger = filled("abc")
    assert ledger.on_ack(2, multiple=False) == [("b", None)]
    assert ledger.items() == ["a", "c"]


def test_multiple_takes_everything_up_to_the_tag():
    ledger = filled("abcd")
    ledger.on_ack(2, multiple=False)
    assert ledger.on_ack(3, multiple=True) == [("a", None), ("c", None)]
    assert ledger.items() == ["d"]


def test_multiple_with_tag_zero_takes_everything():
    assert [item for item, _ in filled("abc").on_ack(0, multiple=True)] == ["a", "b", "c"]


def test_a_tag_that_was_never_published_yields_nothing():
    ledger = filled("a")
    assert ledger.on_ack(7, multiple=False) == []
    assert ledger.on_ack(1, multiple=False) == [("a", None)]
    assert ledger.on_ack(1, multiple=False) == []
    assert ledger.on_nack(1, multiple=True) == []


def test_a_return_is_told_with_the_ack_that_follows():
    ledger = filled("abc")
    assert ledger.on_return(lambda item: item == "b", "NO_ROUTE")
    assert ledger.on_ack(3, multiple=True) == [("a", None), ("b", "NO_ROUTE"), ("c", None)]


def test_the_oldest_of_equals_is_returned_first():
    ledger = filled("aa")
    ledger.on_return(lambda item: item == "a", "first")
    ledger.on_return(lambda item: item == "a", "second")
    assert ledger.on_ack(2, multiple=True) == [("a", "first"), ("a", "second")]


def test_a_return_that_matches_nothing_is_told():
    assert not filled("a").on_return(lambda item: item == "z", "NO_ROUTE")


def test_drain_gives_back_what_is_open_in_order_and_starts_anew():
    ledger = filled("abc")
    ledger.on_ack(1, multiple=False)
    ledger.on_return(lambda item: item == "c", "NO_ROUTE")
    assert ledger.drain() == [("b", None), ("c", "NO_ROUTE")]
    assert len(ledger) == 0
    assert ledger.published("d") == 1
    assert ledger.on_ack(1, multiple=False) == [("d", None)]


def test_a_forgotten_item_leaves_its_number_unused():
    ledger = filled("abc")
    assert ledger.forget(lambda item: item == "b") == ["b"]
    assert ledger.on_ack(2, multiple=False) == []
    assert [item for item, _ in ledger.on_ack(3, multiple=True)] == ["a", "c"]

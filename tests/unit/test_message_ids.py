"""Every publish can be told from every other one."""

from __future__ import annotations


def test_every_publish_has_a_message_id_of_its_own_even_when_the_task_id_is_given_twice(shop, transport):
    @shop.task(name="twice")
    def twice(): ...

    plain = twice.delay()
    for _ in range(2):
        twice.apply_async(task_id="mine")
    first, *same = [message.properties for message in transport.sent]
    assert first.message_id == plain.id
    assert [properties.correlation_id for properties in same] == ["mine", "mine"]
    assert same[0].message_id != same[1].message_id

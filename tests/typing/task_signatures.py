"""What a type checker must accept and what it must refuse; read by mypy, never run."""

from __future__ import annotations

from typing import Any, assert_type

from amqtask import Amqtask, AsyncResult, AsyncTask, EagerResult, Queue, Task
from amqtask.results.group import GroupResult

app = Amqtask("shop", broker="amqp://localhost", task_serializer="json")


@app.task
def add(a: int, b: int = 2) -> int:
    return a + b


@app.task(queue="emails", max_retries=None, retry=["5s", 30], autoretry_for=(OSError,), acks_late=True)
def send(to: str, *, subject: str) -> None: ...


@app.task(bind=True, priority=7)
def bound(self: Task[..., Any], order: int) -> str:
    assert_type(self.request.retries, int)
    if order:
        raise self.retry(exc=OSError(), countdown=5)
    return ""


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(bind=True)
async def fetch_bound(self: Task[..., Any], url: str) -> bytes:
    return url.encode()


assert_type(add(1, 2), int)
assert_type(add.delay(1), AsyncResult[int])
assert_type(add.delay(1, b=3), AsyncResult[int])
assert_type(add.delay_many([(1, 2), {"a": 1}]), list[AsyncResult[int]])
assert_type(add.apply_async((1,), countdown=5, queue="x"), AsyncResult[int])
assert_type(send.delay("me", subject="x"), AsyncResult[None])
assert_type(bound.delay(1), AsyncResult[str])
assert_type(bound(1), str)
assert_type(fetch.delay("x"), AsyncResult[bytes])
assert_type(fetch_bound.delay("x"), AsyncResult[bytes])
assert_type(app.send_task("other", (1,), priority=3), AsyncResult[Any])
assert_type(add.apply((1,), throw=True).get(), int)
assert_type(add.delay(1).get(timeout=5), int)
assert_type(fetch.delay("x").result, Any)
assert_type(GroupResult("g", [add.delay(1), add.delay(2)]).get(), list[Any])
assert_type(fetch.apply(("x",)), EagerResult[bytes])
outbox = app.outbox(object())
assert_type(outbox.delay(add, 1, b=3), AsyncResult[int])
assert_type(outbox.delay(bound, 1), AsyncResult[str])
assert_type(outbox.apply_async(fetch, ("x",), priority=3), AsyncResult[bytes])
assert_type(outbox.apply_async(add.s(1)), Any)


async def inside() -> None:
    assert_type(await add.adelay(1), AsyncResult[int])
    assert_type(await add.aapply_async((1,), priority=9), AsyncResult[int])
    assert_type(await fetch.adelay("x"), AsyncResult[bytes])
    assert_type(await fetch("x"), bytes)
    assert_type(await outbox.adelay(send, "me", subject="x"), AsyncResult[None])
    assert_type(await outbox.aapply_async(add, (1,)), AsyncResult[int])
    assert_type((await fetch.aapply(("x",))).get(), bytes)
    assert_type(await add.delay(1), int)
    assert_type(await (await fetch.adelay("x")).aget(timeout=5), bytes)
    async for ended in GroupResult("g", [add.delay(1)]):
        assert_type(ended, AsyncResult[Any])


def takes_any(task: Task[..., Any]) -> None: ...


takes_any(add)
takes_any(fetch)
takes_any(bound)
wide: AsyncTask[[str], bytes] = fetch
queue = Queue("emails", max_priority=9)

# Every line from here on is an error, of the kind in its comment.
add.delay("1")  # type: ignore[arg-type]
add.delay()  # type: ignore[call-arg]
add.delay(1, 2, 3)  # type: ignore[call-arg]
add.delay(1, c=3)  # type: ignore[call-arg]
add("1")  # type: ignore[arg-type]
send.delay("me", "subject")  # type: ignore[call-arg]
bound.delay("1")  # type: ignore[arg-type]
bound.delay(bound, 1)  # type: ignore[call-arg, arg-type]
fetch.delay(b"x")  # type: ignore[arg-type]
fetch_bound.delay()  # type: ignore[call-arg]
add.apply_async((1,), countdwn=5)  # type: ignore[call-arg]
add.apply_async((1,), priority="9")  # type: ignore[arg-type]
outbox.delay(add, "1")  # type: ignore[arg-type]
outbox.delay(send, "me")  # type: ignore[call-arg]
outbox.apply_async(add, (1,), countdwn=5)  # type: ignore[call-overload]
app.task(time_soft_limit=3)  # type: ignore[call-overload]
app.task(priority="9")  # type: ignore[call-overload]

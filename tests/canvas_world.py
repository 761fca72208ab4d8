"""A client, a broker and workers in memory: they do what is planned, at least once, in any order, with crashes."""

from __future__ import annotations

import json

from canvas_trees import FAILED, compute, failed, plain

from amqtask import Amqtask
from amqtask.canvas.after import (
    after_failure,
    after_success,
    chord_body,
    chord_context,
    chord_failed,
    context_of,
)
from amqtask.canvas.plan import CHAIN_MORE, CHAIN_OVER, CHAIN_SKIP, CHAIN_SKIPPED, PlanContext
from amqtask.canvas.planning import plan
from amqtask.canvas.replacing import more, position, replacement
from amqtask.canvas.shapes import ACCUMULATE, options
from amqtask.canvas.skipping import skipped, skips
from amqtask.canvas.starting import COMPOSED
from amqtask.execution.errbacks import errbacks_of
from amqtask.wire.message import TaskMessage


class Known(dict):
    """What a worker knows: the tasks that every app has, and errbacks, each tenth of which takes the exception."""

    def get(self, name, default=None):
        return super().get(name, default) if not name.startswith("err") else self[name[-1] == "0"]


app = Amqtask("world")
IN_PROCESS = errbacks_of(
    Known(
        {
            **{name: app.tasks.get(name) for name in (*COMPOSED, ACCUMULATE)},
            True: app.task(lambda request, error, traceback: None, name="direct"),
            False: app.task(lambda task_id: None, name="by_id"),
        }
    )
)


class Crash(Exception):
    """A worker is gone, somewhere between two deeds."""


class World:
    """Runs a signature.

    Args:
        rng: of random, for the order of things and their faults.
        register: what each task does.
        replacements: task name -> signature.
        trouble: how often things are delivered twice, retried, or end with a crash: 0 to 1.
        native_chords: of the backend.
        park_after: see PlanContext.
        reply_to: of the client.
    """

    def __init__(
        self, rng, register, replacements=None, *, trouble=0.0, native_chords=True, park_after=None, reply_to="client"
    ):
        self.rng, self.register, self.replacements, self.trouble = rng, register, replacements or {}, trouble
        self.context = PlanContext(native_chords=native_chords, reply_to=reply_to, park_after=park_after)
        self.parked: dict[str, list] = {}
        self.queue, self.later, self.records, self.calls = [], [], {}, {}
        self.chords: dict[str, dict] = {}
        self.ran, self.errbacks = set(), set()
        self.bodies: dict[str, int] = {}
        self.faults = 200
        self.largest = 0

    def run(self, sig):
        """Send it, and work until nothing is left; what came of it."""
        new = plan(sig, context=self.context)
        self.start(new)
        self.work_off()
        return self.value(new.tree)

    def work_off(self):
        """Deliver what there is, in any order, until nothing is left."""
        for _ in range(100_000):
            if not self.queue:
                self.queue, self.later = self.later, []
            if not self.queue:
                return
            self.deliver(self.queue.pop(self.rng.randrange(len(self.queue))))
        raise AssertionError("it never ends")

    def value(self, node):
        for ancestor in node.lineage():
            for task in ancestor.tasks():
                assert task.id in self.records, f"{task} has no result"
        if node.members is not None:
            return [self.value(member) for member in node.members]
        state, value = self.records[node.id]
        return value if state == "SUCCESS" else FAILED

    # ---- the broker

    def start(self, new):
        for chord in new.chords:
            self.begin(chord.group_id, chord.size)
        for parked in new.parked:
            numbered = enumerate(json.loads(json.dumps(parked.segments)), 1)
            self.largest = max(self.largest, *(len(json.dumps(segment)) for segment in parked.segments))
            self.parked.setdefault(parked.queue, list(numbered))
        for sent in new.sendings:
            self.send(sent)

    def begin(self, group_id, size):
        self.chords.setdefault(group_id, {"size": size, "parts": {}, "done": False})

    def send(self, sent):
        text = json.dumps([sent._asdict(), sent.id])
        self.largest = max(self.largest, len(text))
        (self.later if sent.options.get("countdown") else self.queue).append(text)

    def fault(self):
        if self.faults and self.rng.random() < self.trouble:
            self.faults -= 1
            return True
        return False

    def deliver(self, text):
        if self.fault():
            self.queue.append(text)  # twice
        sent, task_id = json.loads(text)
        if self.fault():
            self.queue.append(text)  # retried
            return
        message = TaskMessage(
            sent["task"],
            task_id,
            tuple(sent["args"]),
            sent["kwargs"],
            sent["embed"],
            root_id=sent["root_id"],
            parent_id=sent["parent_id"],
            group=sent["group"],
            group_index=sent["group_index"],
            replaced_task_nesting=sent["replaced_task_nesting"],
        )
        try:
            self.work(message, sent["options"].get("reply_to"))
        except Crash:
            self.queue.append(text)

    # ---- a worker

    def work(self, message, reply_to):
        alone = (CHAIN_SKIP, CHAIN_SKIPPED, CHAIN_OVER)
        assert reply_to == (None if message.task in alone else self.context.reply_to)
        context = context_of(message, self.context, reply_to)
        if message.task.startswith("err"):
            self.errbacks.add(message.task)
            self.end(message, compute(message.task, list(message.args)), context)
            return
        call = (message.task, repr(plain(message.args)))
        assert self.calls.setdefault((message.id, message.replaced_task_nesting), call) == call
        if message.task == CHAIN_OVER:
            self.parked.pop(message.kwargs["queue"], None)
            return
        if message.task in (CHAIN_MORE, CHAIN_SKIP):
            self.go_on(message, reply_to)
            return
        if message.task == CHAIN_SKIPPED:
            self.follow(after_failure(message, context), message.root_id)
            return
        if message.task == ACCUMULATE:
            value = message.args[message.kwargs["index"]]
        else:
            self.ran.add(call)
            value = compute(message.task, list(message.args))
            task = self.register.tasks[message.task]
            if message.task in self.replacements:
                again = context_of(message, self.context, reply_to, "replace")
                self.start(replacement(message, self.replacements[message.task], again))
                return
            if task.fails:
                value = FAILED
        self.end(message, value, context)

    def go_on(self, message, reply_to):
        queue, wanted = position(message)
        messages = self.parked[queue]
        while messages[0][0] < wanted:
            messages.pop(0)
            self.crash()
        number, steps = messages[0]
        if number != wanted:
            return
        if message.task == CHAIN_SKIP:
            self.start(skipped(message, steps, None, context_of(message, self.context, reply_to, "skip")))
        else:
            self.start(more(message, steps, None, context_of(message, self.context, reply_to, "replace")))
        self.crash()

    def end(self, message, value, context):
        if failed(value):
            follow = after_failure(message, context, IN_PROCESS)
            state, value = "FAILURE", None
        else:
            follow = after_success(message, value, context)
            state = "SUCCESS"
        self.follow(follow, message.root_id)
        self.crash()
        self.store(message.id, state, value)
        self.crash()
        if follow.member is not None:
            self.part(follow.member, message.id, state, value, message.root_id)
        self.crash()

    def crash(self):
        if self.fault():
            raise Crash

    def follow(self, follow, root_id):
        for call in follow.calls:
            self.errbacks.add(call.signature["task"])
        for new in [*follow.plans, *skips(follow.skipped, {}, None, lambda _: True)]:
            self.start(new)
            self.crash()
        for lost in follow.failed:
            self.store(lost.task_id, "FAILURE", None)
            if lost.member is not None:
                self.part(lost.member, lost.task_id, "FAILURE", None, root_id)
            self.crash()

    def store(self, task_id, state, value):
        before = self.records.get(task_id)
        assert before in (None, (state, value)), f"{task_id} was {before}, and is {state}"
        self.records[task_id] = (state, value)

    def part(self, member, task_id, state, value, root_id):
        chord = self.chords[member.group_id]
        if chord["done"]:
            return
        if not self.context.native_chords:
            assert options(member.chord)["amqtask_chord"]["size"] == chord["size"]
        chord["parts"][task_id] = (member.group_index, state, value)
        if len(chord["parts"]) < chord["size"]:
            return
        parts = sorted(chord["parts"].values(), key=lambda part: part[0])
        assert [index for index, _, _ in parts] == list(range(len(parts)))
        context = chord_context(member.chord, member.group_id, self.context, task_id)
        if all(state == "SUCCESS" for _, state, _ in parts):
            self.start(chord_body(member.chord, [value for _, _, value in parts], context))
        else:
            self.follow(chord_failed(member.chord, context, IN_PROCESS), root_id)
        self.crash()
        chord["done"] = True

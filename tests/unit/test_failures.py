"""Exceptions across processes: written whatever they are, read without running anything."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import types
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hostile_exceptions import HOSTILE, NeedsTwo

from amqtask import errors
from amqtask.errors import ChordError, MaxRetriesExceeded, Reject, RemoteError, TaskRevoked, UnknownTask
from amqtask.results.failures import named, to_document, to_exception
from amqtask.wire.codec import serializers


class CustomError(Exception):
    """Stands for one of the user's."""

    class Inner(Exception):
        """A name with a dot."""


def over(error: BaseException, **options) -> Exception:
    """Through JSON, as another process gets it."""
    return to_exception(json.loads(json.dumps(to_document(error, **options), allow_nan=False)))


def test_there_are_enough_hostile_classes():
    assert len(HOSTILE) >= 30


@pytest.mark.parametrize("which", HOSTILE)
def test_a_hostile_exception_becomes_a_small_document_and_an_exception_again(which):
    error = HOSTILE[which]()
    document = to_document(error)
    assert isinstance(document["exc_type"], str)
    assert isinstance(document["exc_message"], list)
    text = json.dumps(document, allow_nan=False)
    assert len(text) < 400_000
    json.loads(text.encode("utf-8"))
    again = to_exception(json.loads(text), "Traceback ...")
    assert isinstance(again, Exception)
    assert isinstance(str(again), str)
    with pytest.raises(type(again)):
        raise again


@pytest.mark.parametrize("which", HOSTILE)
@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
def test_every_serializer_takes_the_document_of_a_hostile_exception(which, serializer):
    document = to_document(HOSTILE[which]())
    found = serializers.get(serializer)
    assert isinstance(to_exception(found.loads(found.dumps(document))), Exception)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("boom"),
        KeyError("key", 3),
        CustomError("x", 3, [1, {"a": None}]),
        CustomError.Inner(True, 2.5),
        UnicodeDecodeError("utf-8", b"\xff\x00", 0, 1, "bad start"),
        ValueError(datetime(2026, 11, 21, tzinfo=UTC), Decimal("1.50"), UUID(int=5)),
        TaskRevoked("expired"),
        ChordError("Dependency x raised ValueError()"),
    ],
    ids=repr,
)
def test_a_known_exception_comes_back_equal(error):
    again = over(error)
    assert (type(again), again.args, str(again)) == (type(error), error.args, str(error))


def test_an_os_error_comes_back_with_its_number():
    again = over(OSError(2, "no such file", "a.txt"))
    assert (type(again), again.errno) == (FileNotFoundError, 2)


def test_reject_comes_back_with_reason_and_flag():
    again = over(Reject("bad", requeue=True))
    assert isinstance(again, Reject)
    assert (again.reason, again.requeue) == ("bad", True)


@pytest.mark.parametrize("which", ["no truth", "not comparable", "calls no super", "reduce raises", "repr raises"])
def test_a_hostile_class_that_can_be_made_again_is(which):
    error = HOSTILE[which]()
    assert type(over(error)) is type(error)


def test_a_constructor_that_changes_its_arguments_does_not_change_the_message():
    again = over(CustomText("disk"))
    assert str(again) == "problem: disk"


class CustomText(Exception):
    def __init__(self, what: str) -> None:
        super().__init__(f"problem: {what}")


def test_an_unknown_class_becomes_a_remote_error_of_its_name():
    again = to_exception({"exc_type": "MyErr", "exc_message": ["x", 3], "exc_module": "wtasks"})
    assert isinstance(again, RemoteError)
    assert (type(again).__name__, again.type_path, again.args) == ("MyErr", "wtasks.MyErr", ("x", 3))
    assert to_document(again)["exc_type"] == "MyErr"
    assert to_document(again)["exc_module"] == "wtasks"


def test_a_constructor_that_fails_gives_a_remote_error_that_is_of_the_class_too():
    for again in (over(NeedsTwo(1, 2)), pickle.loads(pickle.dumps(over(NeedsTwo(1, 2))))):
        assert isinstance(again, RemoteError)
        assert isinstance(again, NeedsTwo)
        assert (type(again).__name__, str(again), again.args) == ("NeedsTwo", "1 and 2", ("1 and 2",))
        assert again.type_path == "hostile_exceptions.NeedsTwo"
        assert to_document(again) == to_document(NeedsTwo(1, 2))


def test_a_remote_error_can_be_pickled_and_copied():
    error = to_exception({"exc_type": "MyErr", "exc_message": ["x"], "exc_module": "wtasks", "x-text": "said"})
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(again), again.args, str(again)) == (type(error), ("x",), "said")


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "print", "type"])
def test_only_ordinary_exceptions_are_made_again(name):
    again = to_exception({"exc_type": name, "exc_message": ["x"], "exc_module": "builtins"})
    assert isinstance(again, RemoteError)
    assert type(again).__name__ == name


def test_no_function_is_called_and_no_module_imported(tmp_path):
    mark = tmp_path / "mark"
    again = to_exception({"exc_type": "system", "exc_message": [f"touch {mark}"], "exc_module": "os"})
    assert isinstance(again, RemoteError)
    to_exception({"exc_type": "Error", "exc_message": [], "exc_module": "chunk_that_nobody_loaded"})
    code = (
        "import sys; from amqtask.results.failures import to_exception\n"
        "to_exception({'exc_type': 'DictWriter', 'exc_message': [], 'exc_module': 'this'})\n"
        "assert 'this' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert not mark.exists()


def test_attributes_of_modules_are_read_without_running_code(monkeypatch):
    ran = []
    module = types.ModuleType("lazy_module")
    module.__getattr__ = ran.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", module)
    monkeypatch.setitem(sys.modules, "no_module", ran)
    for name in ("lazy_module", "no_module"):
        assert isinstance(to_exception({"exc_type": "E", "exc_message": [], "exc_module": name}), RemoteError)
    assert ran == []


MALFORMED = [
    None, "boom", 5, [], {}, {"exc_type": None}, {"exc_type": 5, "exc_message": "x"}, {"exc_type": ""},
    {"exc_type": "ValueError"}, {"exc_type": "ValueError", "exc_module": 5, "exc_message": {"a": 1}},
    {"exc_type": "ValueError", "exc_module": "builtins", "exc_message": "a text"},
    {"exc_type": "Error", "exc_module": "", "exc_message": None},
    {"exc_type": "..", "exc_module": "builtins", "exc_message": []},
    {"exc_type": "ValueError", "exc_module": "builtins", "exc_message": ["x"], "x-cause": 5, "x-notes": {"a": 1}},
    {"exc_type": "ValueError", "exc_module": "builtins", "exc_message": ["x"], "x-cause": [5, None]},
    {"exc_type": "ExceptionGroup", "exc_module": "builtins", "exc_message": ["x"], "x-members": []},
    {"exc_type": "E" * 100_000, "exc_module": "m", "exc_message": []},
    {"exc_type": "E", "exc_module": "m", "exc_message": [{"__type__": "uuid", "__value__": {"int": "x"}}]},
]  # fmt: skip


@pytest.mark.parametrize("document", MALFORMED, ids=range(len(MALFORMED)))
def test_any_document_is_read_as_an_exception(document):
    again = to_exception(document, "trace")
    assert isinstance(again, Exception)
    assert str(again) is not None


def test_a_plain_text_is_kept_as_message():
    assert str(to_exception("boom")) == "boom"


def test_causes_notes_and_traceback_come_along():
    error = CustomError("outer")
    error.__cause__ = KeyError("inner")
    error.__cause__.__context__ = OSError("innermost")
    error.add_note("while testing")
    again = to_exception(to_document(error), "Traceback: line 5")
    assert type(again.__cause__) is KeyError
    assert type(again.__cause__.__cause__) is OSError
    assert again.__notes__ == ["while testing", "Raised by the task:\nTraceback: line 5"]


def test_a_group_comes_back_with_its_members():
    error = ExceptionGroup("many", [ValueError("a"), ExceptionGroup("inner", [CustomError(1)])])
    again = over(error)
    assert isinstance(again, ExceptionGroup)
    assert [type(inner) for inner in again.exceptions] == [ValueError, ExceptionGroup]
    assert str(again) == str(error)


def test_every_call_makes_a_new_exception():
    document = to_document(ValueError("x"))
    assert to_exception(document) is not to_exception(document)


CELERY = {
    "celery.exceptions.NotRegistered": UnknownTask("tasks.nosuch"),
    "celery.exceptions.MaxRetriesExceededError": MaxRetriesExceeded("no more"),
    "celery.exceptions.TaskRevokedError": TaskRevoked("revoked"),
    "celery.exceptions.ChordError": ChordError("Dependency x raised"),
    "celery.exceptions.Retry": errors.Retry("later"),
    "celery.exceptions.Reject": Reject("no", requeue=False),
    "celery.exceptions.Ignore": errors.Ignore(),
    "kombu.exceptions.ContentDisallowed": errors.ContentRefused("pickle"),
    "builtins.ValueError": ValueError("x"),
}


@pytest.mark.parametrize("path", CELERY)
def test_celerys_clients_find_their_own_classes(path):
    from celery import Celery

    document = to_document(CELERY[path], celery=True)
    assert f"{document['exc_module']}.{document['exc_type']}" == path
    theirs = Celery("x", set_as_current=False, backend="cache+memory://").backend.exception_to_python(document)
    assert f"{type(theirs).__module__}.{type(theirs).__name__}" == path
    assert type(to_exception(document)) is type(CELERY[path])


@pytest.mark.parametrize(
    "which", [name for name in HOSTILE if name != "new makes another"]
)  # there Celery returns what it made
def test_celerys_clients_read_the_document_of_any_exception(which):
    from celery import Celery

    backend = Celery("x", set_as_current=False, backend="cache+memory://").backend
    document = json.loads(json.dumps(to_document(HOSTILE[which](), celery=True)))
    assert isinstance(backend.exception_to_python(document), BaseException)


@pytest.mark.parametrize(
    "error", [ValueError("boom"), CustomError("x", 3), CustomError.Inner("y"), KeyError("k"), OSError(2, "x")], ids=repr
)
def test_the_document_is_the_one_that_celery_writes(error):
    from celery import Celery

    theirs = Celery("x", set_as_current=False, backend="cache+memory://").backend.prepare_exception(error, "json")
    ours = to_document(error)
    assert {key: ours[key] for key in theirs} == {**theirs, "exc_message": list(theirs["exc_message"])}


def test_the_document_of_what_was_never_raised_here():
    document = named("amqtask.errors.WorkerLost", "signal 9", celery=True)
    assert document == {
        "exc_type": "WorkerLostError", "exc_message": ["signal 9"], "exc_module": "billiard.exceptions",
    }  # fmt: skip
    assert isinstance(to_exception(document), Exception)
    assert named("ValueError", 1, text="one")["exc_module"] == "builtins"

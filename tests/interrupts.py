"""Signals that interrupt the main thread at a known place. For tests.

A timer would have to guess when that place is reached, and guesses wrong on a busy machine; here another thread sees
to it that the place is reached first. The timers and SIGALRM belong to pytest-timeout.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn


class Interrupt(BaseException):
    """Like KeyboardInterrupt."""


@contextmanager
def signalled(handler: Callable[[], object], when: Callable[[], bool]) -> Iterator[None]:
    """While the block runs, have the main thread call ``handler`` as signal handler, once, as soon as ``when()`` holds.

    Args:
        handler: may raise, which ends the block.
        when: asked again and again, in another thread.
    """
    main, over = threading.main_thread().ident, threading.Event()
    assert main is not None

    def watch() -> None:
        while not over.is_set():
            if when():
                signal.pthread_kill(main, signal.SIGUSR1)
                return
            over.wait(0.001)

    previous = signal.signal(signal.SIGUSR1, lambda *_: handler())
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        signal.signal(signal.SIGUSR1, previous)


@contextmanager
def interrupted(when: Callable[[], bool]) -> Iterator[None]:
    """The same with a handler that raises Interrupt, as Ctrl-C does; the block must not end without."""

    def interrupt() -> NoReturn:
        raise Interrupt

    try:
        with signalled(interrupt, when):
            yield
    except Interrupt:
        return
    raise AssertionError("it ended and was not interrupted")


def inside(*functions: Callable[..., Any]) -> Callable[[], bool]:
    """A condition: the main thread is inside each of these Python functions."""
    wanted = {function.__code__ for function in functions}
    main = threading.main_thread().ident

    def is_inside() -> bool:
        found = set()
        frame: FrameType | None = sys._current_frames().get(main)
        while frame is not None:
            found.add(frame.f_code)
            frame = frame.f_back
        return wanted <= found

    return is_inside

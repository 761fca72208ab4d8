"""The monitor's pages with a broker and a worker: every link leads somewhere, every form works without JavaScript."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from starlette.testclient import TestClient
from waiting import wait_for
from watched_shop import make_shop

from amqtask.monitor import actions, dead, live
from amqtask.monitor.options import Options
from amqtask.monitor.server import monitoring
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

NODE = "w1@here"
HOSTILE = "<script>alert(1)</script>"
BASE = "http://127.0.0.1:5555"
VOID = {"meta", "link", "input", "wbr", "rect", "line", "br"}


class Page(HTMLParser):
    """A page: its links, its forms, and what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[str] = []
        self.wrong: list[str] = []
        self.count: Counter[str] = Counter()
        self._open: list[str] = []
        self._ids: set[str] = set()
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.count[tag] += 1
        self.wrong += [f"{name}= in <{tag}>" for name in given if name == "style" or name.startswith("on")]
        if (found := given.get("id")) is not None:
            self.wrong += [f"id {found} twice"] if found in self._ids else []
            self._ids.add(found)
        if tag == "a":
            self.links.append(given["href"])
        if tag == "form" and given.get("method") == "post":
            self.forms.append(given.get("action", ""))
        if tag == "script" and "src" not in given:
            self.wrong.append("a script in the page")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> is misplaced")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)


def worker_of(app):
    asked = Requested(pool="threads", hostname=NODE, queues=("work",))
    return EmbeddedWorker(app, resolve(asked, app.topology, app.settings))


def opened(asgi):
    return TestClient(asgi, base_url=BASE, follow_redirects=True)


def crawl(client, start="/"):
    """Every page that can be reached from the first, checked: path -> text."""
    texts, ahead = {}, [start]
    while ahead:
        path = ahead.pop()
        if path in texts:
            continue
        answer = client.get(path)
        assert answer.status_code == 200, path
        texts[path] = answer.text
        page = Page(answer.text)
        assert (page.wrong, page.count["h1"]) == ([], 1), path
        ahead += [urljoin(path, link) for link in page.links if not link.startswith("#")]
    return texts


@pytest.fixture
def app(vhost_url):
    made = make_shop(vhost_url)
    yield made
    made.close()


def test_every_link_leads_to_a_page_that_shows_hostile_texts_as_texts(app):
    with worker_of(app), monitoring(app, Options(url_prefix="/m", target="shop")) as asgi:
        client = opened(asgi)
        good, bad = app.tasks["add"].delay(1, y=2), app.tasks[HOSTILE].delay()
        wait_for(lambda: "SUCCESS" in client.get(f"/m/task/{good.id}").text)
        wait_for(lambda: "Traceback" in client.get(f"/m/task/{bad.id}").text)
        wait_for(lambda: "1 dead letter of work" in client.get("/m/").text)
        wait_for(lambda: NODE in client.get("/m/workers").text)
        wait_for(lambda: {good.id, bad.id} <= set(re.findall(r"[0-9a-f-]{36}", client.get("/m/tasks").text)))
        texts = crawl(client, "/m/")
        reached = {path.split("?")[0] for path in texts}
        assert {f"/m/task/{good.id}", f"/m/task/{bad.id}", f"/m/worker/{NODE}", "/m/queue/work"} <= reached
        assert {"/m/dead/work", "/m/schedules", "/m/tasks", "/m/workers", "/m/queues"} <= reached
        whole = "".join(texts.values())
        assert HOSTILE not in whole
        assert "<b>no</b>" not in whole
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in texts["/m/dead/work"]
        assert "Traceback" in texts[f"/m/task/{bad.id}"]
        assert "No task matches" in client.get("/m/tasks", params={"state": "SUCCESS", "search": "zzz"}).text
        for missing in ("task/unknown", "worker/x@y", "queue/<b>", "dead/zzz", "nowhere"):
            assert client.get(f"/m/{missing}").status_code == 404
        for file in re.findall(r'(?:href|src)="(/m/static/[^"]+)"', texts["/m/"]):
            assert client.get(file).status_code == 200


def test_forms_work_without_javascript_and_ask_before_what_can_not_be_undone(app, monkeypatch):
    with monitoring(app, Options(target="shop")) as asgi:
        client = opened(asgi)

        def do(deed, **fields):
            return client.post(f"/do/{deed}", data=fields)

        with worker_of(app):
            app.tasks[HOSTILE].delay()
            (letter,) = wait_for(lambda: re.findall(r'name="id" value="([^"]+)"', client.get("/dead").text))
            wait_for(lambda: NODE in client.get("/workers").text)
            wait_for(lambda: 'class="notice good"' in do("pool-grow", worker=NODE, n="1").text)
            asked = do("worker-shutdown", worker=NODE)
            assert "amqtask control shutdown -d w1@here -A shop" in asked.text
            wait_for(lambda: "alive" in client.get(f"/worker/{NODE}").text)
        monkeypatch.setattr(actions, "_TIMEOUT", 0.1)
        assert "Not done: w1@here does not answer" in do("worker-shutdown", worker=NODE, confirmed="yes").text
        assert "queue/work" in str(do("queue-pause", queue="work").url)
        assert "It is paused" in client.get("/queue/work").text
        assert "Nothing was selected" in do("dead-retry", queue="work", scope="selected").text
        assert letter in client.get("/dead/work").text
        asked = do("dead-drop", queue="work", scope="all", seen="1")
        assert "Delete all dead letters of work?" in asked.text
        assert "1 was there a moment ago." in asked.text
        assert client.get("/dead/work", headers={"Accept-Encoding": "gzip"}).headers["content-encoding"] == "gzip"
        back = do("dead-retry", queue="work", scope="selected", id=letter)
        assert "1 message put back into work" in back.text
        assert 'name="id"' not in back.text
        asked = do("queue-purge", queue="work")
        assert "Purge work?" in asked.text
        assert "amqtask purge work -A shop" in asked.text
        assert "<dd>1</dd>" in client.get("/queue/work").text
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', asked.text))
        assert "1 message purged from work" in do("queue-purge", **hidden).text
        assert "Pause" in do("queue-resume", queue="work").text
        assert "Resume" in do("schedule-pause", name="nightly").text
        assert do("no-such-deed").status_code == 404
        assert "Not done" in do("queue-pause", queue="elsewhere").text


def test_dead_letters_are_taken_from_the_broker_again_only_when_their_number_has_changed(app, monkeypatch):
    monkeypatch.setattr(dead, "REST", 0)
    desk = dead.DeadDesk(app)
    with worker_of(app):
        first = app.tasks[HOSTILE].delay().id
        rows, _ = wait_for(lambda: found if (found := desk.look("work"))[1] else None)
        assert desk.look("work")[0] is rows
        second = app.tasks[HOSTILE].delay().id
        wait_for(lambda: [row.id for row in desk.look("work")[0]] == [first, second])
    assert desk.drop("work", [first]) == [first]
    assert [row.id for row in desk.look("work")[0]] == [second]


def test_a_read_only_monitor_has_no_forms(app):
    with monitoring(app, Options(read_only=True)) as asgi:
        client = opened(asgi)
        for path in ("/queues", "/queue/work", "/dead/work", "/schedules"):
            assert Page(client.get(path).text).forms == [], path
        assert client.post("/do/queue-pause", data={"queue": "work"}).status_code == 403
        assert "It is paused" not in client.get("/queue/work").text


def test_an_empty_cluster_says_what_to_do_next(app):
    with monitoring(app, Options(target="shop")) as asgi:
        client = opened(asgi)
        wait_for(lambda: "amqtask worker -A shop -E" in client.get("/").text)
        assert "amqtask worker -A shop -E" in client.get("/workers").text
        assert "amqtask worker -A shop -E" in client.get("/tasks").text
        assert "There are no dead letters" in client.get("/dead").text


def test_pages_without_a_broker_say_so():
    lost = make_shop("amqp://127.0.0.1:1/")
    with monitoring(lost, Options()) as asgi:
        client = opened(asgi)
        wait_for(lambda: "No events from" in client.get("/").text)
        assert "127.0.0.1:1" in client.get("/").text
        for path in ("/queues", "/dead", "/schedules", "/workers", "/tasks"):
            assert client.get(path).status_code == 200
        assert "does not answer" in client.get("/queues").text
    lost.close()


class Changing:
    """A source whose version is what the test says."""

    number = 0

    def version(self):
        return self.number


class Asking:
    """As much of a request as news need."""

    def __init__(self, stopping):
        self.app = type("App", (), {"state": type("State", (), {"stopping": stopping})})

    async def is_disconnected(self):
        return False


def test_news_come_when_something_changes_and_end_with_the_server(monkeypatch):
    monkeypatch.setattr(live, "LOOK", 0.01)
    monkeypatch.setattr(live, "EVERY", 1e9)
    monkeypatch.setattr(live, "MAX_LISTENERS", 1)

    async def listen():
        source, stopping = Changing(), asyncio.Event()
        made = live.Live(source)
        answer = await made.listen(Asking(stopping))
        lines = answer.body_iterator
        assert await anext(lines) == "retry: 3000\n\n"
        assert (await made.listen(Asking(stopping))).status_code == 503
        source.number = 7
        assert await anext(lines) == "event: news\ndata: 7\n\n"
        stopping.set()
        assert [line async for line in lines] == []
        assert (await made.listen(Asking(stopping))).status_code == 200

    asyncio.run(listen())

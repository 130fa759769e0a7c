"""A recheck finds that what is live answers worse than when it was approved, and when it does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lockgate.domain.release import Attempt, Settlement
from lockgate.errors import InfrastructureFailed, Interrupted, Refused, StaleGeneration
from lockgate.loop.deployment import origin_records
from lockgate.upkeep.recheck import Rechecked, recheck
from lockgate.upkeep.rollback import find_way_back, roll_back
from tests.loop.world import STAGING, SYSTEM, World, rules_text

ON_CALL = "on-call"

ASKS_A_MODEL = '''\
"""Asks a model that somebody else hosts, by its name."""

import json
from urllib.request import Request, urlopen


def answer(input, settings):
    body = json.dumps({{"model": settings["model"]["name"], "n": input["n"]}}).encode()
    with urlopen(Request("http://127.0.0.1:{port}", body), timeout=5) as reply:
        return json.load(reply)["queue"]
'''


class Hosted:
    """A model behind an endpoint on this machine; whoever runs it may change it."""

    def __init__(self) -> None:
        self.right = 18
        """How many of the 20 cases it answers rightly."""
        self.is_down = False
        hosted = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                queue = "billing" if asked["n"] <= hosted.right else "other"
                body = json.dumps({"queue": queue}).encode()
                self.send_response(503 if hosted.is_down else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.server_address[1])

    def close(self) -> None:
        """Stop it."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hosted() -> Iterator[Hosted]:
    """A hosted model that answers 18 of 20 cases rightly."""
    made = Hosted()
    yield made
    made.close()


@pytest.fixture
def served(world: World, hosted: Hosted) -> World:
    """A system that asks the hosted model is live in staging."""
    world.apply_policy(STAGING)
    world.write()
    (world.folder / "answer.py").write_text(ASKS_A_MODEL.format(port=hosted.port))
    version = world.register()
    world.evaluate(version, open_runner=world.real(4))
    world.promote(version, "staging", world.decide(version))
    return world


def rechecking(
    world: World, environment: str = "staging", *, is_real: bool = False
) -> Generator[object, None, None]:
    """Begin a recheck, for a test that walks it."""
    opener = world.real(4) if is_real else world.quick()
    steps = recheck(world.registry, SYSTEM, environment, world.policy, opener, actor=ON_CALL)
    assert isinstance(steps, Generator)
    return steps


def rechecked(world: World, environment: str = "staging", *, is_real: bool = False) -> Rechecked:
    """Recheck to the end."""
    *_, last = rechecking(world, environment, is_real=is_real)
    assert isinstance(last, Rechecked)
    return last


def finding(done: Rechecked, rule: str) -> tuple[str, str]:
    """Return outcome and reason of a finding."""
    return next((f.outcome, f.reason) for f in done.record.findings if f.rule == rule)


class TestAModelThatChangesBehindItsName:
    """Nothing of ours changed, and what is live answers worse."""

    def test_is_found(self, served: World, hosted: Hosted) -> None:
        """The fall is significant, recorded, and told with its numbers."""
        hosted.right = 8
        done = rechecked(served, is_real=True)
        assert done.record.outcome == "fell"
        assert finding(done, "triage accuracy") == (
            "fail",
            ".400, -.500 [-.698 -.220]; better 0, worse 10, same 10 of the cases that approved it",
        )
        assert served.registry.upkeep.rechecks(SYSTEM, "staging") == [done.record]

    def test_says_that_a_rollback_may_not_help(self, served: World, hosted: Hosted) -> None:
        """The version before asks the same model; where it asks another one, that is said."""
        first = served.registry.versions.named(SYSTEM, "v1")
        served.write(16, prompt="Sort the ticket well.\n")
        (served.folder / "answer.py").write_text(ASKS_A_MODEL.format(port=hosted.port))
        second = served.register()
        served.evaluate(second, open_runner=served.real(4))
        served.promote(second, "staging", served.decide(second))
        hosted.right = 8
        done = rechecked(served, is_real=True)
        outcome, reason = finding(done, "a rollback")
        assert reason.startswith(f"would not help by itself: {first.label} asks the same model")
        assert done.hint.startswith("pin the model or change what asks it")

    def test_voids_what_was_compared_with_it(self, served: World, hosted: Hosted) -> None:
        """A decision that passed against the better answers counts no more."""
        served.write(16, prompt="Sort the ticket well.\n")
        (served.folder / "answer.py").write_text(ASKS_A_MODEL.format(port=hosted.port))
        candidate = served.register()
        served.evaluate(candidate, open_runner=served.real(4))
        decision = served.decide(candidate)
        assert decision.promotable
        hosted.right = 8
        done = rechecked(served, is_real=True)
        # The decision that let in what is live was void before: it is live since.
        assert [(one.decision.id, one.label) for one in done.voided] == [(decision.id, "v2")]
        assert served.registry.releases.is_void(decision) == "a newer run was completed"
        with pytest.raises(Refused, match="cannot be promoted"):
            served.promote(candidate, "staging", decision)

    def test_that_is_down_is_no_score(self, served: World, hosted: Hosted) -> None:
        """Nothing is recorded; when it is back, the recheck goes on with the same run."""
        hosted.is_down = True
        with pytest.raises(InfrastructureFailed):
            rechecked(served, is_real=True)
        assert served.registry.upkeep.rechecks(SYSTEM, "staging") == []
        hosted.is_down = False
        assert rechecked(served, is_real=True).record.outcome == "held"
        v1 = served.registry.versions.named(SYSTEM, "v1")
        assert len(served.registry.runs.of_version(v1.id)) == 2

    def test_a_change_that_no_score_shows_is_counted(self, served: World, hosted: Hosted) -> None:
        """One other answer is no significant fall, and still told."""
        hosted.right = 17
        done = rechecked(served, is_real=True)
        assert done.record.outcome == "held"
        outcome, reason = finding(done, "triage answers")
        assert reason.startswith("1 of 20 are not the same")


class TestHeld:
    """Nothing significant was seen; how small a fall could have been is told."""

    def test_tells_the_smallest_fall_it_could_have_seen(self, world: World) -> None:
        """A pass is worth as much as the cases there are."""
        world.apply_policy(STAGING)
        world.make_live(16)
        done = rechecked(world)
        assert done.record.outcome == "held"
        assert "a fall of about" in finding(done, "triage accuracy")[1]
        assert finding(done, "triage p95_ms") == ("skipped", "29 ms, was 29 ms; not judged")
        assert done.hint == ""

    def test_earlier_rechecks_do_not_soften_it(self, world: World) -> None:
        """It is held against the runs that approved it, not against the pool."""
        world.apply_policy(STAGING)
        world.make_live(16)
        before = len(world.asked)
        rechecked(world)
        rechecked(world)
        assert len(world.asked) == before + 2 * 20
        world.answers = lambda question, settings: "billing" if question.input["n"] < 8 else "x"
        assert rechecked(world).record.outcome == "fell"

    def test_a_latency_is_judged_where_a_rule_is_about_it(self, world: World) -> None:
        """The limit is the rule's."""
        world.apply_policy(
            rules_text(
                'suite = "triage", metric = "accuracy", min = 0.5',
                'suite = "triage", metric = "p95_ms", max = 100',
            )
        )
        world.make_live(16)
        assert finding(rechecked(world), "triage p95_ms")[0] == "pass"

    def test_after_a_rollback_the_decision_that_let_it_in_counts(self, world: World) -> None:
        """What is live again was approved by its own promotion."""
        world.apply_policy(STAGING)
        first = world.make_live(15)
        world.make_live(16)
        for _ in roll_back(
            world.registry, find_way_back(world.registry, SYSTEM, "staging"), actor=ON_CALL
        ):
            pass
        done = rechecked(world)
        assert (done.version.id, done.record.outcome) == (first.id, "held")
        assert finding(done, "approved by")[0] == "pass"

    def test_the_cases_that_approved_it_are_asked(self, world: World) -> None:
        """Another suite is applied since: it is said, and the old cases count."""
        world.apply_policy(STAGING)
        world.make_live(16)
        world.apply_suite(cases=25)
        world.apply_suite("other")
        world.asked.clear()
        done = rechecked(world)
        assert done.record.outcome == "held"
        assert len(world.asked) == 20
        assert "another one is applied since" in finding(done, "triage suite")[1]
        assert "no run on it approved" in finding(done, "other suite")[1]


class TestNothingToHoldItAgainst:
    """What no gate let in has no approving run."""

    def broken_in(self, world: World, *, is_evaluated: bool) -> None:
        """Make a version live past the gate, as an emergency does."""
        world.apply_policy(STAGING)
        version = world.version(16)
        if is_evaluated:
            world.evaluate(version)
        attempt = Attempt(
            SYSTEM, "staging", 1, "break_glass", version.id, None, None, "INC-1", "fire", ON_CALL
        )
        with world.registry.write() as writing:
            for record in origin_records(SYSTEM, "staging", ON_CALL):
                writing.append(record)
            writing.append(attempt)
            writing.append(Settlement(SYSTEM, "staging", 1, "live", None, ON_CALL))

    def test_earlier_runs_stand_in(self, world: World) -> None:
        """It is said that no gate let it in."""
        self.broken_in(world, is_evaluated=True)
        done = rechecked(world)
        assert done.record.outcome == "held"
        assert finding(done, "approved by") == (
            "skipped",
            "no gate let v1 in (generation 1); held against earlier runs",
        )

    def test_without_a_run_nothing_is_known(self, world: World) -> None:
        """This one is the first; the next recheck has something to go by."""
        self.broken_in(world, is_evaluated=False)
        done = rechecked(world)
        assert done.record.outcome == "inconclusive"
        assert "this is its first run" in finding(done, "approved by")[1]
        assert rechecked(world).record.outcome == "held"


class TestRefused:
    """Where a recheck means nothing, nothing is asked."""

    def test_where_nothing_is_live(self, world: World) -> None:
        """There is nothing to recheck."""
        world.apply_policy(STAGING)
        world.evaluated(16)
        with pytest.raises(Refused, match="nothing of support-desk is live in staging") as caught:
            rechecked(world)
        assert "lockgate status" in caught.value.hint

    def test_when_something_else_goes_live_meanwhile(self, world: World) -> None:
        """The runs stay; they say nothing about what is live now."""
        world.apply_policy(STAGING)
        world.make_live(15)
        steps = rechecking(world)
        next(steps)
        world.make_live(16)
        with pytest.raises(StaleGeneration, match="something else went live") as caught:
            list(steps)
        assert "lockgate recheck staging" in caught.value.hint
        assert world.registry.upkeep.rechecks(SYSTEM, "staging") == []

    def test_when_a_person_stops_it(self, world: World) -> None:
        """What was answered is kept, and the next recheck goes on with it."""
        world.apply_policy(STAGING)
        version = world.make_live(16)
        steps = rechecking(world)
        next(steps)
        with pytest.raises(Interrupted, match="are kept"):
            steps.throw(KeyboardInterrupt())
        assert rechecked(world).record.outcome == "held"
        assert len(world.registry.runs.of_version(version.id)) == 2


def test_a_recheck_is_no_release_step(world: World) -> None:
    """What is live stays live, whatever is found."""
    world.apply_policy(STAGING)
    version = world.make_live(16)
    world.answers = lambda question, settings: "x"
    assert rechecked(world).record.outcome == "fell"
    assert world.live() == version.id
    assert world.registry.releases.holds(SYSTEM) == []

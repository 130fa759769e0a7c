"""Serve support-desk over HTTP, and only what the gate let through: copy this and make it yours.

    python serve/serve.py --root published/production

    POST /answer     one input as JSON, such as {"ticket": "..."}; answered by the live version
    GET  /version    {"version", "label", "generation", "state", "why"}

- What is live is what `lockgate.resolve` says: signed, whole to the byte, and never older than what
  was served before. The state file remembers that when this program is started again.
- What does not hold changes nothing: the last good version goes on answering, `state` turns from
  `ok` to `holding`, and `why` says what is wrong.
- A new version takes over only once it has answered a first question. Each runs in a process of
  its own, begun as the evals begin it: what was judged is what serves, and no two share a module.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lockgate

SYSTEM = "support-desk"
WORKER = Path(lockgate.__file__).parent / "runners" / "worker.py"
LOOK_EVERY_S = 1.0  # at the receipt; a new one is served about that long after it was published
ANSWER_WITHIN_S = 30.0
FIRST_QUESTION = {"ticket": "Hello?"}
MAX_QUESTION_BYTES = 1 << 20


class Broken(Exception):
    """A version's process does not answer."""


class Assistant:
    """A version that answers, in a process of its own."""

    def __init__(self, live: lockgate.Resolved) -> None:
        self.live = live
        parts = live.receipt["components"]
        settings = {name: part["settings"] for name, part in parts.items()}
        target = settings["code"]["run"]["target"]
        self._turn = threading.Lock()
        # -B, because compiled modules in the folder would be files that its receipt does not name.
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-B", WORKER, str(os.getpid()), "python", target],
            cwd=live.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            ready = self._exchange({"start": {"settings": settings, "seed": 0}})
            # What it reads when it is first asked has to be the bytes that were just verified.
            first = self.answer(FIRST_QUESTION) if ready["ready"] else ready
            if "error" in first:
                raise Broken(first["error"])
        except Broken:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def answer(self, question: Any) -> dict[str, Any]:
        """Return `{"output": ...}`, or `{"error": ...}` where the version itself failed.

        Raises:
            Broken: Its process has ended, was replaced, or took too long and was ended.
        """
        reply = self._exchange({"id": "", "input": question, "seed": 0})
        return {name: reply[name] for name in ("output", "error") if name in reply}

    def close(self) -> None:
        """End the process, after the question that it is at."""
        with self._turn:
            self._process.communicate()

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        with self._turn:
            limit = threading.Timer(ANSWER_WITHIN_S, self._process.kill)
            limit.start()
            try:
                self._process.stdin.write(json.dumps(message).encode() + b"\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except (OSError, ValueError):  # it has ended, or was closed
                line = b""
            finally:
                limit.cancel()
        if not line:
            raise Broken("its process has ended")
        return json.loads(line)


class Desk:
    """What answers now, and whether that is what is published."""

    def __init__(self, environment: str, root: str, state: str, trust: str | None) -> None:
        self._where = {"root": root, "state": state, "trust": trust}
        self._environment = environment
        self._receipt = Path(root, SYSTEM, "receipt.json")
        self._look_now = threading.Event()
        self._seen: tuple[int, int, int] | None = None
        self._looked_at = 0.0
        self._assistant: Assistant | None = None
        self._why: str | None = None
        self._said: dict[str, Any] | None = None

    def watch(self, verify_every_s: float) -> None:
        """Follow the receipt for ever, and hash what it names again every now and then.

        One thread looks and starts processes: the kernel ends them with the thread that did.
        """
        while True:
            self._look_now.wait(min(LOOK_EVERY_S, verify_every_s))
            is_due = time.monotonic() - self._looked_at >= verify_every_s
            if is_due or self._look_now.is_set() or self._receipt_mark() != self._seen:
                self._look_now.clear()
                self.look()

    def _receipt_mark(self) -> tuple[int, int, int] | None:
        try:
            state = self._receipt.stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_ino, state.st_size

    def look(self) -> None:
        """Serve what is published now if it holds; else go on with what is served."""
        self._seen, self._looked_at = self._receipt_mark(), time.monotonic()
        try:
            live = lockgate.resolve(SYSTEM, self._environment, **self._where)
        except lockgate.ResolveError as error:
            self._tell("; ".join([error.what, *error.problems]))
            return
        try:
            if not self._is_served(live):
                before, self._assistant = self._assistant, Assistant(live)
                self._said = None
                if before:
                    before.close()
            self._tell(live.stale, live.note)
        except Broken as error:
            self._tell(f"{live.label} does not start: {error}")

    def _is_served(self, live: lockgate.Resolved) -> bool:
        served = self._assistant
        return (
            served is not None
            and served.is_alive
            and (served.live.generation, served.live.folder) == (live.generation, live.folder)
        )

    def _tell(self, why: str | None, note: str | None = None) -> None:
        self._why = why
        said = {**self.version(), "note": note}
        if said != self._said:
            print(json.dumps(said), file=sys.stderr, flush=True)
        self._said = said

    def version(self) -> dict[str, Any]:
        """Return what `GET /version` says."""
        live = self._assistant.live if self._assistant else None
        return {
            "version": live and live.version,
            "label": live and live.label,
            "generation": live and live.generation,
            "state": "holding" if self._why else "ok",
            "why": self._why,
        }

    def answer(self, question: Any) -> tuple[int, dict[str, Any]]:
        """Return an HTTP status, and the answer together with the version that gave it."""
        trouble = self._why
        for _ in range(2):  # a version may be replaced just before its turn comes
            served = self._assistant
            if served is None:
                break
            try:
                reply = served.answer(question)
            except Broken as error:
                trouble = str(error)
                continue
            about = {"version": served.live.version, "label": served.live.label}
            return 500 if "error" in reply else 200, {**reply, **about}
        self._look_now.set()
        return 503, {"error": f"nothing can answer: {trouble}"}


class Handler(BaseHTTPRequestHandler):
    """The two addresses."""

    def do_GET(self) -> None:  # noqa: N802 - http.server asks for this name
        if self.path != "/version":
            self._say(404, {"error": "GET /version or POST /answer"})
            return
        said = self.server.desk.version()
        self._say(200 if said["version"] else 503, said)

    def do_POST(self) -> None:  # noqa: N802
        if self.path != "/answer":
            self._say(404, {"error": "GET /version or POST /answer"})
            return
        try:
            size = int(self.headers["Content-Length"])
            if size > MAX_QUESTION_BYTES:
                raise ValueError("too long")
            question = json.loads(self.rfile.read(size))
        except (TypeError, ValueError) as error:
            self._say(400, {"error": f"one JSON value is needed: {error}"})
            return
        self._say(*self.server.desk.answer(question))

    def _say(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Say nothing of each request."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve what is live of support-desk.")
    parser.add_argument("--environment", default="production")
    parser.add_argument("--root", default="published/production", help="what it publishes")
    parser.add_argument("--state", default="serve.state.json", help="keeps the newest generation")
    parser.add_argument("--trust", help="the registry host's .lockgate/host_key.pub")
    parser.add_argument("--port", type=int, default=8321, help="0 takes a free one")
    parser.add_argument("--verify-every", type=float, default=60.0, metavar="SECONDS")
    options = parser.parse_args()
    desk = Desk(options.environment, options.root, options.state, options.trust)
    desk.look()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.desk = desk
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    desk.watch(options.verify_every)


if __name__ == "__main__":
    main()

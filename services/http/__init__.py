"""How every service speaks HTTP: a WSGI application (this project uses bottle) behind gevent's server and limits.

To write a service:

    app = application()                         # a bottle.Bottle() whose errors are JSON, or pages for browsers
    streams = Streams()                         # only a service that sends events needs it

    @app.get("/numbers")
    def numbers() -> Answered:
        return json_answer(200, blocking(store.numbers))     # a query, in a thread: other requests are not blocked

    @app.get("/events")
    def events() -> Answered:
        return streams.answer([("state", document)])         # text/event-stream; these first, then published events

    stopped = threading.Event()
    serve(app, "tmatic-monitor", port=settings.monitor_port, beside=[lambda: subscriber.run(stopped)],
          ending=[stopped.set, streams.end])

* `serve(app, name, *, host, port, limits, allowed, base_path, insecure, beside, ending, ready)` binds (loopback by
  default; elsewhere only with `insecure`), serves until SIGTERM or SIGINT, and returns when the requests in progress
  have ended. It must be called in the main thread. Each function in `beside` runs in a real thread; if one fails or
  returns, the server stops, and `serve` raises its error. Those in `ending` are called at shutdown, and must not block.
  `ready(url)` is called once requests are accepted. `Server` is the same without signals, for tests:
  `Server(app, ...)`, `.open()`, and `.run()` in one thread, `.stop()` from any.
* Nothing is monkey-patched: a request is a greenlet of one thread, so a blocking call (a database, a file,
  `time.sleep`, a lock) must go through `blocking(function, *arguments)`, which runs it in one of ten threads and
  returns its result or raises its error. SQLite connections belong in a `threading.local`. Requests to one backend that
  may be slow (a master, an index) go through their own `Turns`, so that they do not occupy all ten threads.
* `Streams` holds the open event streams: `publish(event, data)` may be called from any thread; `data` is text (for
  instance JSON). A client that cannot keep up is disconnected, reconnects, and gets the first events again. More than
  `most` streams are refused with 503. A comment every 15 s detects clients that have gone.
* `json_answer(status, document)` and `failure(status, sentence)` make responses for bottle to return or raise; a
  failure is JSON for programs and a page for browsers (which send `Accept: text/html`).
* The whole body has arrived before the application is called (`request.body`, at most `Limits.body_bytes`); a client
  that sends more, or too slowly, gets 413 or 408 and is disconnected. Do not read `request.json`, which has its own
  limit: call `json_body()`, which answers 400 with an error message.
* Every response has the headers that `guard.HEADERS` lists, unless the application set them; the policy is
  `default-src 'self'`, so no inline script and no inline style works: serve files.
* `Host` must name this machine (against DNS rebinding): loopback, the bound address, or one of `allowed`. A request
  that changes something (not GET, HEAD, OPTIONS) and comes from a page of another site is refused with 403.
* With `base_path` every route is also served under that path, as a reverse proxy may forward it (`prefix`); the links
  of a page begin with `base_of(request.environ)`.
* No request is logged at level info. Refused and failed ones are: one line each.
"""

from services.http.answers import Answered, application, failure, json_answer, json_body, says_json
from services.http.limits import Limits
from services.http.names import Names
from services.http.prefix import base_of
from services.http.server import Server, serve
from services.http.streams import Streams
from services.http.threads import CrowdedError, Turns, blocking

__all__ = [
    "Answered",
    "CrowdedError",
    "Limits",
    "Names",
    "Server",
    "Streams",
    "Turns",
    "application",
    "base_of",
    "blocking",
    "failure",
    "json_answer",
    "json_body",
    "says_json",
    "serve",
]

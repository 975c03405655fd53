"""How every service speaks HTTP: a WSGI application (the house's choice is bottle) behind gevent's server and limits.

For whoever writes a service:

    app = application()                         # a bottle.Bottle() whose errors are JSON, or pages for browsers
    streams = Streams()                         # only who sends events needs it

    @app.get("/numbers")
    def numbers() -> Answered:
        return json_answer(200, blocking(store.numbers))     # a query, in a thread: others are answered meanwhile

    @app.get("/events")
    def events() -> Answered:
        return streams.answer([("state", document)])         # text/event-stream; first these, then what is published

    stopped = threading.Event()
    serve(app, "tmatic-monitor", port=settings.monitor_port, beside=[lambda: subscriber.run(stopped)],
          ending=[stopped.set, streams.end])

* `serve(app, name, *, host, port, limits, allowed, base_path, insecure, beside, ending, ready)` binds (loopback by
  default; elsewhere only with `insecure`), answers until SIGTERM or SIGINT, and returns when what was under way has
  ended. It must be called in the main thread. Each function of `beside` runs in a real thread; if one fails or returns,
  serving ends, and `serve` raises its error. Those of `ending` are called once it is to end, and must not wait.
  `ready(url)` is called once requests are taken. `Server` is the same without signals, for tests: `Server(app, ...)`,
  `.open()`, and `.run()` in one thread, `.stop()` from any.
* Nothing is patched: a request is a greenlet of one thread, so whatever waits (a database, a file, `time.sleep`, a
  lock) must go through `blocking(function, *arguments)`, which calls it in one of ten threads and returns its answer or
  raises its error. Connections of SQLite belong in a `threading.local`. Questions to somebody who may be slow for all
  (a master, an index) go through a `Turns` of their own, so that they do not take all ten.
* `Streams` holds the open event streams: `publish(event, data)` may be called from any thread, `data` being text (JSON,
  say). Who cannot keep up is cut, connects again, and is told the first events anew. More than `most` are refused with
  503. A comment every 15 s finds out who has gone.
* `json_answer(status, document)` and `failure(status, sentence)` make answers for bottle to return or raise; a
  failure is JSON for programs and a page for browsers (who say `Accept: text/html`).
* The whole body has arrived before the application is called (`request.body`, at most `Limits.body_bytes`); who sends
  more, or too slowly, is answered 413 or 408 and cut. So do not read `request.json`, which has a limit of its own: ask
  `json_body()`, which answers 400 in words.
* Every answer has the headers that `guard.HEADERS` lists, unless the application set them; the policy is
  `default-src 'self'`, so no inline script and no inline style works: serve files.
* A request must name this machine in `Host` (against DNS rebinding): loopback, the bound address, or one of `allowed`.
  One that changes something (not GET, HEAD, OPTIONS) and comes from another site's page is refused with 403.
* With `base_path` every route is there under that path too, as a reverse proxy may hand it on (`prefix`); what a page
  refers to begins with `base_of(request.environ)`.
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

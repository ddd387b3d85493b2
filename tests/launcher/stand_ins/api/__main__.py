"""``python -m api --fd N``"""

import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from jobs import FAULTS, live


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        ready = FAULTS.get("api") != "unready" and "dies" not in FAULTS.values()
        worker = {"ok": ready, "detail": "1 alive" if ready else "none is alive", "required": True}
        well = FAULTS.get("api") != "unpredictable"
        inference = {"ok": well, "detail": "answers" if well else "nobody answers", "required": False}
        body = json.dumps({"ready": ready, "checks": {"worker": worker, "inference": inference}}).encode()
        self.send_response(200 if ready else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(sys.argv[2]))
threading.Thread(target=server.serve_forever, daemon=True).start()
live("api")

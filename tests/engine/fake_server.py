"""A stand-in for a model server, run as a program: PORT LOADS [BEHAVIOUR]. Every start adds its pid to the file LOADS.

Behaviours: `slow` answers its first request only once LOADS.go exists; `broken` ends with code 3; `dead` listens and
never answers; `refusing` answers 404; `stubborn` ignores SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, LOADS = int(sys.argv[1]), Path(sys.argv[2])
BEHAVIOUR = sys.argv[3] if len(sys.argv) > 3 else ""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        while BEHAVIOUR == "dead" or (BEHAVIOUR == "slow" and not LOADS.with_suffix(".go").exists()):
            time.sleep(0.02)
        self.send_response(404 if BEHAVIOUR == "refusing" else 200)
        self.end_headers()
        self.wfile.write(b"no chat template" if BEHAVIOUR == "refusing" else b"{}")


with LOADS.open("a") as loads:
    loads.write(f"{os.getpid()}\n")
print("loading the model", flush=True)
if BEHAVIOUR == "broken":
    print("ValueError: weights do not fit", flush=True)
    sys.exit(3)
if BEHAVIOUR == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()

"""How long an editor waits: the answers to a burst of purges at an inbound listener, each on a connection of its own, while
the proxy serves its own traffic. `benches/inbound.py BINARY [BURST] [ROUNDS]`; needs Varnish."""

import http.client
import http.server
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TOKEN = "a-token-for-the-bench"
ROOT = Path(__file__).resolve().parents[1]


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Connections that end are no news."""


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def call(port: int, method: str, path: str, headers: dict[str, str]) -> tuple[int, float]:
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status, (time.perf_counter() - started) * 1000


def burst(port: int, size: int, salt: int) -> list[float]:
    """Milliseconds to each answer."""
    took: list[float] = []
    ready = threading.Barrier(size)

    def one(number: int) -> None:
        ready.wait()
        status, ms = call(port, "POST", f"/service/www/purge/product-{salt}-{number}", {"Fastly-Key": TOKEN})
        assert status == 200, status
        took.append(ms)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def main() -> None:
    binary, size, rounds = sys.argv[1], int((sys.argv[2:] or [300])[0]), int((sys.argv[3:] or [5])[0])
    origin = Server(("127.0.0.1", 0), Origin)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    listen, admin, varnish, inbound = free(), free(), free(), free()
    with tempfile.TemporaryDirectory(prefix="inbound-") as name:
        folder = Path(name)
        (folder / "shim.toml").write_text(f"""
[server]
listen = ["127.0.0.1:{listen}"]
[admin]
listen = "127.0.0.1:{admin}"
[[admin.tokens]]
name = "bench"
token = "literal:{TOKEN}"
scopes = ["read", "purge", "purge-everything"]
[store]
url = "sqlite:{folder}/store.db"
[[inbound]]
listen = ["127.0.0.1:{inbound}"]
protocol = "fastly"
[[sites]]
name = "www"
hosts = ["127.0.0.1"]
origin = "http://127.0.0.1:{origin.server_port}"
[[sites.cdns]]
type = "varnish"
hosts = ["www.example.com"]
api_urls = ["http://127.0.0.1:{varnish}"]
""")
        cache = subprocess.Popen(["varnishd", "-F", "-j", "none", "-n", f"{folder}/varnish", "-a",
                                  f"127.0.0.1:{varnish}", "-f", str(ROOT / "config/varnish.vcl")],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shim = subprocess.Popen([binary, "serve", "--config", str(folder / "shim.toml")],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for port in (inbound, varnish):
                while socket.socket().connect_ex(("127.0.0.1", port)):
                    time.sleep(0.05)
            time.sleep(2)
            stop = threading.Event()

            def traffic() -> None:
                while not stop.is_set():
                    call(listen, "GET", "/", {})
                    time.sleep(0.005)

            threading.Thread(target=traffic, daemon=True).start()
            burst(inbound, size, 0)
            took = [ms for number in range(rounds) for ms in burst(inbound, size, number + 1)]
            stop.set()
            took.sort()
            at = lambda share: took[int(share * (len(took) - 1))]
            print(f"{rounds} bursts of {size}: median {statistics.median(took):.1f} ms, p99 {at(0.99):.1f} ms, "
                  f"longest {took[-1]:.1f} ms")
        finally:
            shim.terminate()
            cache.terminate()
            shim.wait()
            cache.wait()


main()

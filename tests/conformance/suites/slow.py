"""slowhttptest: a thousand clients that send heads, send bodies or read answers as slowly as they can."""

import http.client
import subprocess
import threading
import time

from running import Run, memory, need

CLIENTS = 1000
SECONDS = 60
PER_SECOND = 100
ALLOWED_GROWTH_KIB = 64 * 1024

MODES = {
    "header": ["-H", "-i", "5"],
    "body": ["-B", "-i", "5", "-s", "100000"],
    # A small window, read a few bytes at a time, of several large answers.
    "read": ["-X", "-n", "5", "-w", "512", "-y", "1024", "-z", "32", "-k", "3"],
}


class Good(threading.Thread):
    """Asks at a steady pace over a few kept connections."""

    def __init__(self, port):
        super().__init__()
        self.port, self.asked, self.answered, self.ended = port, 0, 0, threading.Event()

    def run(self):
        started, clients = time.monotonic(), [None] * 4
        while not self.ended.is_set():
            time.sleep(max(0, started + self.asked / PER_SECOND - time.monotonic()))
            turn = self.asked % len(clients)
            client = clients[turn] or http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            self.asked += 1
            try:
                client.request("GET", "/")
                response = client.getresponse()
                ok = response.read() == b"whole" and response.status == 200
            except (OSError, http.client.HTTPException):
                ok = False
            self.answered += ok
            if not ok:
                client.close()
            clients[turn] = client if ok else None


def run():
    tool = need("slowhttptest", "apt-get install slowhttptest")
    return all([held(tool, mode) for mode in MODES])


def held(tool, mode):
    """Whether good traffic goes on in this mode, and the memory stays."""
    with Run() as run:
        shim, ports = run.shim(run.origin())
        good = Good(ports["plain"])
        good.start()
        time.sleep(3)
        before = memory(shim)[0]
        path = "large" if mode == "read" else ""
        command = [tool, "-c", str(CLIENTS), "-r", "500", "-l", str(SECONDS), "-x", "24", "-p", "10", "-v", "1"]
        command += MODES[mode] + ["-u", f"http://127.0.0.1:{ports['plain']}/{path}"]
        crowd = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        connected = 0
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and crowd.poll() is None:
            connected = max(connected, open_connections(ports["admin"]))
            time.sleep(1)
        # It ends early when all its clients have been thrown out; the good ones go on for as long.
        time.sleep(max(0, deadline - time.monotonic()))
        if crowd.poll() is None:
            crowd.terminate()
        crowd.communicate()
        good.ended.set()
        good.join()
        growth = memory(shim)[1] - before
        share = good.answered / good.asked
        passed = share >= 0.999 and growth < ALLOWED_GROWTH_KIB and connected >= CLIENTS * 0.9
        print(f"slow {mode}: {good.answered} of {good.asked} good requests answered ({share:.2%}), up to {connected} "
              f"connections, memory grew by {growth} KiB at most: {'ok' if passed else 'FAILED'}", flush=True)
        return passed


def open_connections(admin):
    client = http.client.HTTPConnection("127.0.0.1", admin, timeout=10)
    client.request("GET", "/metrics")
    for line in client.getresponse().read().decode().splitlines():
        if line.startswith('origin_shim_connections{listener="plain"}'):
            return int(float(line.rsplit(" ", 1)[1]))
    return 0

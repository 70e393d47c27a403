"""Programs that run during a suite, and what is needed of the machine for them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
TOOLS = os.path.join(ROOT, "target", "tools")
os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"


def need(program, how):
    """The path of a program, or an end that says how to get it."""
    found = shutil.which(program)
    if not found:
        sys.exit(f"needs {program}: {how}")
    return found


def free_port():
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Run:
    """A directory and the programs in it; all of it ends with the block."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="origin-shim-")
        self.children = []
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def start(self, name, command, ready, **more):
        """Starts a child, and returns once `ready()`."""
        log = open(self.path(name + ".log"), "ab")
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more)
        self.children.append(child)
        deadline = time.monotonic() + 60
        while not ready():
            if child.poll() is not None or time.monotonic() > deadline:
                with open(self.path(name + ".log")) as log:
                    sys.exit(f"{name} does not start:\n{log.read()}")
            time.sleep(0.05)
        return child

    def origin(self):
        """nginx: /large is large, everything else says whole once the whole request is there. Its port."""
        port, large = free_port(), os.path.join(self.dir, "html")
        os.mkdir(large)
        with open(os.path.join(large, "large"), "wb") as file:
            file.truncate(64 << 20)
        config = self.write("nginx.conf", f"""
daemon off; worker_processes 1; pid nginx.pid; error_log stderr; worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    keepalive_requests 1000000; client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /ok {{ return 200 whole; }}
        location = /large {{ root {large}; }}
        # Reads the whole body before it asks the other.
        location / {{ proxy_pass http://127.0.0.1:{port}/ok; proxy_method GET; proxy_pass_request_body off; }}
    }}
}}
""")
        nginx = need("nginx", "apt-get install nginx")
        self.start("nginx", [nginx, "-p", self.dir, "-e", "stderr", "-c", config], lambda: listens(port))
        return port

    def certificate(self):
        """Writes a certificate of its own for localhost."""
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", self.path("tls.key"), "-out", self.path("tls.pem")],
            check=True, stderr=subprocess.DEVNULL)

    def shim(self, origin_port, site="", tls=False):
        """The shim, its limits as they are by default. Its child, and the ports of its listeners."""
        plain, admin, secure = free_port(), free_port(), free_port()
        listeners = f'tls_listen = ["127.0.0.1:{secure}"]' if tls else ""
        certificate = '[[server.certificates]]\ncert = "tls.pem"\nkey = "tls.key"' if tls else ""
        if tls:
            self.certificate()
        config = self.write("origin-shim.toml", f"""
[server]
listen = ["127.0.0.1:{plain}"]
{listeners}
{certificate}
[admin]
listen = "127.0.0.1:{admin}"
[store]
url = "sqlite:store.db"
[[sites]]
name = "www"
hosts = ["www.example.com"]
default = true
origin = "http://127.0.0.1:{origin_port}"
{site}
""")
        child = self.start("origin-shim", [program(), "serve", "--config", config], lambda: is_ready(admin))
        return child, {"plain": plain, "tls": secure, "admin": admin}


def program():
    """The program under test."""
    given = os.environ.get("SHIM")
    if given:
        return os.path.abspath(given)
    subprocess.run(["cargo", "build", "--locked", "--quiet"], cwd=ROOT, check=True)
    return os.path.join(ROOT, "target", "debug", "origin-shim")


def is_ready(admin):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5).status == 200
    except OSError:
        return False


def memory(child):
    """Resident memory in KiB: now, and at most so far."""
    with open(f"/proc/{child.pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0]), int(fields["VmHWM"].split()[0])

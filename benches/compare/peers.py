"""The proxies under comparison: how each one is configured for the same job, started, and asked for its version.

The job: proxy to one origin over kept-alive connections, add X-Forwarded-For and X-Forwarded-Proto, and for a request
with `X-Push-Invalidation: enabled` replace Cache-Control, add the edge's own lifetime, and turn Surrogate-Key into
Cache-Tag. No access log, one worker.
"""

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ORIGIN = "127.0.0.1:9100"
HOST = "bench.example"
BROWSER_TTL = "max-age=7200"
EDGE_TTL = "max-age=172800"


@dataclass
class Proxy:
    name: str
    plain: int
    tls: int | None
    command: list[str]
    version_command: list[str]
    cores: str = "0"
    # Shown, and sampled less often, but never compared against.
    reference: bool = False
    note: str = ""
    # Whether it turns Surrogate-Key into Cache-Tag, and only for requests that opted in.
    whole_job: bool = True
    # A function of the thread whose instructions are counted; of all where there is none.
    serves: str = ""
    process: subprocess.Popen | None = field(default=None, repr=False)

    def start(self, folder: Path, prefix: list[str] = []) -> None:
        log = open(folder / f"{self.name}.log", "ab")
        command = ["taskset", "-c", self.cores, *prefix, *self.command]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def pids(self) -> list[int]:
        """The process and all that descend from it."""
        assert self.process, f"{self.name} is not running"
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def version(self) -> str:
        done = subprocess.run(self.version_command, capture_output=True, text=True)
        match = re.search(r"\d+\.\d+[\w.~+-]*", done.stdout + done.stderr)
        return match[0] if match else "unknown"


def nginx(folder: Path) -> Proxy:
    (folder / "nginx.conf").write_text(f"""
daemon off; master_process on; worker_processes 1; user root; pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log error; worker_rlimit_nofile 65536;
events {{ worker_connections 30000; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 300s; server_tokens off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    upstream origin {{ server {ORIGIN}; keepalive 256; keepalive_requests 100000000; }}
    map $http_x_push_invalidation $browser {{ default $upstream_http_cache_control; enabled "{BROWSER_TTL}"; }}
    map $http_x_push_invalidation $edge {{ enabled "{EDGE_TTL}"; }}
    map $http_x_push_invalidation $cache_tag {{ enabled $upstream_http_surrogate_key; }}
    map $http_x_push_invalidation $surrogate_key {{ default $upstream_http_surrogate_key; enabled ""; }}
    server {{
        listen 127.0.0.1:8101 backlog=4096; listen 127.0.0.1:8201 ssl http2 backlog=4096; server_name {HOST};
        ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.3;
        location / {{
            proxy_pass http://origin; proxy_http_version 1.1; proxy_buffers 16 16k; proxy_max_temp_file_size 0;
            proxy_set_header Connection ""; proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
            proxy_hide_header Cache-Control; proxy_hide_header Surrogate-Key;
            add_header Cache-Control $browser; add_header Cloudflare-CDN-Cache-Control $edge;
            add_header Cache-Tag $cache_tag; add_header Surrogate-Key $surrogate_key;
        }}
    }}
}}
""")
    return Proxy("nginx", 8101, 8201, ["nginx", "-c", f"{folder}/nginx.conf"], ["nginx", "-v"])


def haproxy(folder: Path) -> Proxy:
    (folder / "haproxy.cfg").write_text(f"""
global
    nbthread 1
    maxconn 9000
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 60s
    timeout http-keep-alive 300s
    http-reuse always
frontend public
    bind 127.0.0.1:8102 backlog 4096
    bind 127.0.0.1:8202 ssl crt {folder}/both.pem alpn h2,http/1.1 backlog 4096
    option forwardfor
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    http-request set-var(txn.opted_in) bool(true) if {{ req.hdr(x-push-invalidation) -i enabled }}
    acl opted_in var(txn.opted_in) -m bool
    http-response set-header Cache-Control {BROWSER_TTL} if opted_in
    http-response set-header Cloudflare-CDN-Cache-Control {EDGE_TTL} if opted_in
    http-response set-header Cache-Tag %[res.hdr(surrogate-key)] if opted_in
    http-response del-header Surrogate-Key if opted_in
    default_backend origin
backend origin
    server origin {ORIGIN} pool-max-conn 256
""")
    return Proxy("HAProxy", 8102, 8202, ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"], ["haproxy", "-v"])


def h2o(folder: Path) -> Proxy:
    (folder / "h2o.conf").write_text(f"""
num-threads: 1
user: root
pid-file: {folder}/h2o.pid
error-log: {folder}/h2o-error.log
http1-request-timeout: 300
http2-idle-timeout: 300
hosts:
  default:
    listen:
      host: 127.0.0.1
      port: 8103
    listen:
      host: 127.0.0.1
      port: 8203
      ssl:
        certificate-file: {folder}/cert.pem
        key-file: {folder}/key.pem
        minimum-version: TLSv1.3
        ocsp-update-interval: 0
    paths:
      "/":
        proxy.reverse.url: "http://{ORIGIN}/"
        proxy.preserve-host: ON
        proxy.timeout.keepalive: 60000
        header.set: "Cache-Control: {BROWSER_TTL}"
        header.add: "Cloudflare-CDN-Cache-Control: {EDGE_TTL}"
""")
    note = "rewrites every response, and no tags: two fixed header rules"
    return Proxy("h2o", 8103, 8203, ["h2o", "-c", f"{folder}/h2o.conf"], ["h2o", "-v"], reference=True,
                 note=note, whole_job=False)


def varnish(folder: Path) -> Proxy:
    host, port = ORIGIN.split(":")
    (folder / "bench.vcl").write_text(f"""
vcl 4.1;
backend origin {{ .host = "{host}"; .port = "{port}"; }}
sub vcl_recv {{
    set req.http.X-Forwarded-Proto = "http";
    return (pass);
}}
sub vcl_deliver {{
    if (req.http.X-Push-Invalidation == "enabled") {{
        set resp.http.Cache-Control = "{BROWSER_TTL}";
        set resp.http.Cloudflare-CDN-Cache-Control = "{EDGE_TTL}";
        set resp.http.Cache-Tag = resp.http.Surrogate-Key;
        unset resp.http.Surrogate-Key;
    }}
}}
""")
    # The jail of the package needs users that a container may lack.
    command = ["varnishd", "-F", "-j", "none", "-n", f"{folder}/varnish", "-a", "127.0.0.1:8104", "-f",
               f"{folder}/bench.vcl", "-s", "default,64m", "-p", "thread_pools=1"]
    return Proxy("Varnish", 8104, None, command, ["varnishd", "-V"], reference=True, note="pass, no TLS")


def caddy(folder: Path) -> Proxy:
    (folder / "Caddyfile").write_text(f"""
{{
    admin off
    auto_https off
    default_sni {HOST}
    servers {{
        protocols h1 h2
    }}
    log {{
        level ERROR
    }}
}}
(job) {{
    bind 127.0.0.1
    @opted_in header X-Push-Invalidation enabled
    handle @opted_in {{
        reverse_proxy {ORIGIN} {{
            header_down Cache-Control {BROWSER_TTL}
            header_down +Cloudflare-CDN-Cache-Control {EDGE_TTL}
            header_down -Surrogate-Key
        }}
    }}
    handle {{
        reverse_proxy {ORIGIN}
    }}
}}
http://:8109 {{
    import job
}}
https://:8209 {{
    tls {folder}/cert.pem {folder}/key.pem {{
        protocols tls1.3
    }}
    import job
}}
""")
    note = "no tags: it copies no field of a response"
    return Proxy("Caddy", 8109, 8209, ["caddy", "run", "--config", f"{folder}/Caddyfile"], ["caddy", "version"],
                 reference=True, note=note, whole_job=False)


def envoy(binary: Path, folder: Path) -> Proxy:
    def typed(name: str, **fields: object) -> dict:
        return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}

    def field(name: str, value: str) -> dict:
        return {"append": {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}

    def address(where: str) -> dict:
        host, port = where.split(":")
        return {"socket_address": {"address": host, "port_value": int(port)}}

    mutation = "envoy.filters.http.header_mutation"
    changes = [field("Cache-Control", BROWSER_TTL), field("Cloudflare-CDN-Cache-Control", EDGE_TTL),
               field("Cache-Tag", "%RESP(Surrogate-Key)%"), {"remove": "Surrogate-Key"}]
    job = typed("filters.http.header_mutation.v3.HeaderMutationPerRoute", mutations={"response_mutations": changes})
    opted_in = {"name": "x-push-invalidation", "string_match": {"exact": "enabled"}}
    routes = [
        {"match": {"prefix": "/", "headers": [opted_in]}, "route": {"cluster": "origin"},
         "typed_per_filter_config": {mutation: job}},
        {"match": {"prefix": "/"}, "route": {"cluster": "origin"}},
    ]
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="bench", codec_type="AUTO",
        use_remote_address=True,
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        http_filters=[
            {"name": mutation, "typed_config": typed("filters.http.header_mutation.v3.HeaderMutation", mutations={})},
            {"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router")},
        ])
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    certificate = {"certificate_chain": {"filename": f"{folder}/cert.pem"},
                   "private_key": {"filename": f"{folder}/key.pem"}}
    context = typed("transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context={
        "alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [certificate],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}})
    secure = {**chain, "transport_socket": {"name": "tls", "typed_config": context}}
    endpoint = {"endpoint": {"address": address(ORIGIN)}}
    config = {"static_resources": {
        "listeners": [{"name": "plain", "address": address("127.0.0.1:8110"), "filter_chains": [chain]},
                      {"name": "tls", "address": address("127.0.0.1:8210"), "filter_chains": [secure]}],
        "clusters": [{"name": "origin", "type": "STATIC", "load_assignment": {
            "cluster_name": "origin", "endpoints": [{"lb_endpoints": [endpoint]}]}}],
    }}
    (folder / "envoy.json").write_text(json.dumps(config))
    command = [str(binary), "-c", f"{folder}/envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    version = ["sh", "-c", f"{binary} --version | sed 's/.*version: //'"]
    return Proxy("Envoy", 8110, 8210, command, version, reference=True)


def pingora(binary: Path, folder: Path) -> Proxy:
    command = [str(binary), "127.0.0.1:8108", "127.0.0.1:8208", f"{folder}/cert.pem", f"{folder}/key.pem", ORIGIN]
    version = ["grep", "-A1", '^name = "pingora"$', str(Path(__file__).resolve().parents[1] / "pingora/Cargo.lock")]
    return Proxy("Pingora", 8108, 8208, command, version, reference=True)


def ours(binary: Path, folder: Path, name: str = "origin-shim", ports: tuple[int, int] = (8105, 8205),
         sites: int = 1, workers: int = 1) -> Proxy:
    """Default configuration with one site and one CDN. More sites are never asked for, and have no CDN: its health
    checks in the background are not what is compared."""
    config = f"""
[server]
listen = ["127.0.0.1:{ports[0]}"]
tls_listen = ["127.0.0.1:{ports[1]}"]
workers = {workers}
[[server.certificates]]
cert = "{folder}/cert.pem"
key = "{folder}/key.pem"
[admin]
listen = "127.0.0.1:{ports[0] + 1000}"
[store]
url = "sqlite:{folder}/ours-{ports[0]}.db"
"""
    for number in range(sites):
        config += f"""
[[sites]]
name = "site-{number}"
hosts = ["{HOST if number == 0 else f'site-{number}.example'}"]
origin = "http://{ORIGIN}"
"""
        # The lifetime for browsers is what the peers set: by default it would be the origin's.
        config += "" if number else f"""
[sites.cache]
browser_ttl = "2h"
[[sites.cdns]]
type = "cloudflare"
zone_id = "00000000000000000000000000000000"
api_token = "literal:bench"
api_url = "http://{ORIGIN}"
"""
    path = folder / f"ours-{ports[0]}.toml"
    path.write_text(config)
    cores = "0" if workers == 1 else "0,1"
    return Proxy(name, *ports, [str(binary), "serve", "--config", str(path)], [str(binary), "--version"], cores=cores,
                 serves="proxy::handle")

"""testssl.sh against the TLS listener."""

import json
import subprocess

from running import Run, need

# About the certificate, which is the test's own, and the name that it is for.
OF_THE_TEST = ("cert", "overall_grade", "final_score", "grade_cap_reason", "protocol_support_", "key_exchange_",
               "cipher_strength_", "DNS_CAArecord", "engine_problem", "scanTime")
# HTTP headers are the origin's.
OF_THE_ORIGIN = ("HSTS", "HPKP", "banner_", "security_headers", "cookie_", "ipv4_in_header", "HTTP_")
ALLOWED = {"OK", "INFO", "LOW", "DEBUG"}
# testssl.sh has openssl leave as soon as its handshake is over. In TLS 1.3 the ticket comes after that, often too late, and what
# it then calls a connect problem is that it has no session to offer. Whether sessions are resumed is asked here.
TOO_EARLY = ("sessionresumption_ticket", "check failed because of connect problem")


def run():
    tool = need("testssl", "apt-get install testssl.sh")
    with Run() as run:
        _, ports = run.shim(run.origin(), tls=True)
        report = run.path("report.json")
        subprocess.run([tool, "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", report,
                        f"https://localhost:{ports['tls']}"], stdout=subprocess.DEVNULL, timeout=1500)
        resumes = all(resumed(ports["tls"], run.path("session"), version) for version in ("-tls1_2", "-tls1_3"))
        with open(report) as file:
            findings = json.load(file)
    # A finding of 'not vulnerable' or 'offered' is one, too.
    above = [f for f in findings if f["severity"] not in ALLOWED]
    ours = [f for f in above
            if not f["id"].startswith(OF_THE_TEST + OF_THE_ORIGIN) and (f["id"], f["finding"]) != TOO_EARLY]
    for finding in findings:
        if finding in ours:
            mark = "FAILED"
        elif finding in above or finding["severity"] == "LOW":
            mark = "excused" if finding in above else "low"
        else:
            continue
        print(f"tls {mark}: {finding['severity']} {finding['id']}: {finding['finding']}")
    print(f"tls: {len(findings)} findings, {len(ours)} above LOW that are ours; "
          f"sessions are {'' if resumes else 'NOT '}resumed", flush=True)
    return len(findings) > 50 and not ours and resumes


def resumed(port, session, version):
    """Whether a second connection resumes the session of a first one that waits for its ticket."""
    for option in ("-sess_out", "-sess_in"):
        client = f"openssl s_client -connect localhost:{port} -servername localhost {version} {option} {session}"
        done = subprocess.run(f"sleep 2 | {client}", shell=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return b"Reused, " in done.stdout

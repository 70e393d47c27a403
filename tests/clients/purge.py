"""`purge.py CLIENT ADDRESS TOKEN HOST WHAT`: purges through a listener of the shim, as a user of the client would. Prints what
the client returns. `WHAT` is a tag, a URL or `everything`."""

import sys

client, address, token, host, what = sys.argv[1:]


def with_fastly():
    """https://pypi.org/project/fastly/"""
    import fastly
    from fastly.api import purge_api, service_api, tokens_api

    configuration = fastly.Configuration(host=f"http://{address}")
    configuration.api_token = token
    with fastly.ApiClient(configuration) as api:
        service = service_api.ServiceApi(api).get_service(service_id="www")
        assert service.name == "www", service
        assert "purge_all" in str(tokens_api.TokensApi(api).get_token_current())
        purge = purge_api.PurgeApi(api)
        if what == "everything":
            return purge.purge_all(service_id="www").status
        if "://" in what:
            return purge.purge_single_url(cached_url=what.split("://")[1]).status
        several = purge.bulk_purge_tag(service_id="www", purge_response={"surrogate_keys": [what, "absent"]})
        one = purge.purge_tag(service_id="www", surrogate_key=what, fastly_soft_purge=1)
        return one.status, several


def with_cloudflare():
    """https://pypi.org/project/cloudflare/"""
    from cloudflare import Cloudflare

    api = Cloudflare(api_token=token, base_url=f"http://{address}/client/v4", max_retries=0)
    zones = [zone.id for zone in api.zones.list(name=host)]
    assert zones == ["www"], zones
    assert api.user.tokens.verify().status == "active"
    if what == "everything":
        return api.cache.purge(zone_id="www", purge_everything=True).id
    if "://" in what:
        return api.cache.purge(zone_id="www", files=[what]).id
    return api.cache.purge(zone_id="www", tags=[what]).id


def with_edgegrid():
    """https://pypi.org/project/edgegrid-python/"""
    import requests
    from akamai.edgegrid import EdgeGridAuth

    session = requests.Session()
    session.auth = EdgeGridAuth(client_token="test", client_secret=token, access_token="any")
    kind, objects = ("url", [what]) if "://" in what else ("tag", [what])
    if what == "everything":
        kind, objects = "cpcode", [12345]
    answer = session.post(f"http://{address}/ccu/v3/delete/{kind}/production", json={"objects": objects})
    assert answer.status_code == 201, answer.text
    return answer.json()["detail"]


print({"fastly": with_fastly, "cloudflare": with_cloudflare, "edgegrid": with_edgegrid}[client]())

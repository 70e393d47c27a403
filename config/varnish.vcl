# Varnish as the CDN of an Origin Shim. The shim relies on what this file does; docs/varnish.md has the setup.
#
# This file needs Varnish 7.1 or later with the modules xkey and var (Debian: varnish, varnish-modules).
# Change the backend and the ACL. Then run varnishd with this file, or include it in your own VCL.
#
# Purge requests, which only addresses in the ACL may send:
#   PURGE /      xkey-purge: k1 k2                   delete every object that carries one of the tags
#   PURGE /      xkey-softpurge: k1 k2               mark them stale
#   PURGE path   Host, x-purge-mode: hard|soft       delete or mark stale one URL in all its variants;
#                                                    if the path is canonical, also copies under other
#                                                    spellings
#   BAN /        x-ban-host, x-ban-prefix            delete everything below a prefix, given as a
#                                                    regular expression that matches its spellings
#   BAN /        x-ban-everything: 1                 delete the whole cache, with all sites in it
#
# Answers:
#   200 with X-Purged   Purged. X-Purged is the number of objects, or "ban" if they are removed later.
#                       The shim does not accept a 200 without it, which could come from the origin.
#   400                 Invalid or impossible. Nothing was purged.
#   403                 The address may not purge.
#
# A header line may be 8 KiB long in both directions (varnishd -p http_req_hdr_len,
# http_resp_hdr_len). If the tags of a response are longer, Varnish answers 503.

vcl 4.1;

import purge;
import std;
import var;
import xkey;

# The shim. Its own timeouts (connect 2 s, first byte 30 s) are shorter than these, so that it answers first.
backend shim {
	.host = "127.0.0.1";
	.port = "8080";
	.connect_timeout = 3s;
	.first_byte_timeout = 60s;
	.between_bytes_timeout = 60s;
}

# Who may purge: the machines that run the shim.
acl purgers {
	"localhost";
	"127.0.0.1";
	"::1";
}

sub vcl_recv {
	if (req.restarts == 0) {
		# The shim trusts these headers, so visitors must not be able to set them.
		unset req.http.X-Push-Invalidation;
		unset req.http.X-BYO-CDN-Type;
		unset req.http.X-Origin-Shim-Secret;
		unset req.http.x-shim-stale;
		# Visitors must not be able to forge the traces of another CDN. In CDN-Loop (RFC 8586) keep
		# only the names of shims (origin-shim- and an id), by which a shim detects loops.
		unset req.http.CF-Worker;
		unset req.http.Via;
		if (req.http.CDN-Loop) {
			std.collect(req.http.CDN-Loop);
			set req.http.CDN-Loop = regsuball(req.http.CDN-Loop, "(?i)(^|,)[ \t]*+(?!origin-shim-)[^,]*", "");
			set req.http.CDN-Loop = regsub(req.http.CDN-Loop, "^[, \t]+", "");
			if (req.http.CDN-Loop == "") {
				unset req.http.CDN-Loop;
			}
		}
		# Store one object per page, whatever the spelling of its host.
		if (req.http.Host) {
			set req.http.Host = regsub(req.http.Host.lower(), ":(80|443)$", "");
		}
	}
	if (req.method == "PURGE" || req.method == "BAN") {
		call shim_invalidate;
	}
	if (req.http.x-shim-stale == "refused") {
		# Ask the origin first (see vcl_hit).
		set req.grace = 0s;
	} else if (req.http.x-shim-stale == "allowed") {
		# The object itself limits the grace. Set it here, because the 0s survives a restart.
		set req.grace = 3650d;
	}

	# The built-in rules follow. They pass every request that carries a cookie. Remove cookies that do
	# not change pages here, for example those of analytics:
	#   set req.http.Cookie = regsuball(req.http.Cookie, "(^|; ) *(_ga[^=]*|_gid|_fbp)=[^;]*", "");
	#   if (req.http.Cookie ~ "^[; ]*$") { unset req.http.Cookie; }
}

sub shim_invalidate {
	# Requests through a proxy on this machine have the proxy's address, so the ACL would accept those
	# of every visitor. Varnish appends the peer to X-Forwarded-For: a comma means that the request was
	# forwarded.
	if (client.ip !~ purgers || req.http.X-Forwarded-For ~ ",") {
		return (synth(403, "Not allowed to purge"));
	}
	# Only this file may set the proof.
	unset req.http.x-purged;
	if (req.method == "BAN") {
		call shim_ban;
	}
	std.collect(req.http.xkey-purge, " ");
	std.collect(req.http.xkey-softpurge, " ");
	if (req.http.xkey-purge && req.http.xkey-softpurge) {
		return (synth(400, "Either xkey-purge or xkey-softpurge"));
	}
	if (req.http.xkey-purge ~ "[^ ,]") {
		set req.http.x-purged = xkey.purge(req.http.xkey-purge);
		return (synth(200, "Purged"));
	}
	if (req.http.xkey-softpurge ~ "[^ ,]") {
		set req.http.x-purged = xkey.softpurge(req.http.xkey-softpurge);
		return (synth(200, "Purged"));
	}
	if (req.http.x-purge-mode != "hard" && req.http.x-purge-mode != "soft") {
		return (synth(400, "Needs xkey-purge, xkey-softpurge or x-purge-mode"));
	}
	if (!req.http.Host) {
		return (synth(400, "Needs Host"));
	}
	# Copies that were requested under another spelling carry the canonical one as a key.
	set req.http.x-page = "x-origin-shim-url:" + req.http.Host + regsuball(req.url, ",", "%2C");
	if (req.http.x-purge-mode == "soft") {
		set req.http.x-purged = xkey.softpurge(req.http.x-page);
	} else {
		set req.http.x-purged = xkey.purge(req.http.x-page);
	}
	# Look the URL up like a page, so that vcl_hit and vcl_miss can purge it. Do not wait for a fetch
	# in progress: the shim purges again after responses in flight.
	set req.hash_ignore_busy = true;
	return (hash);
}

# Bans compare only what is stored with the object, so that the ban lurker can remove objects in
# the background and the list of bans stays short.
sub shim_ban {
	if (req.http.x-ban-everything == "1") {
		if (std.ban("obj.status != 0")) {
			set req.http.x-purged = "ban";
			return (synth(200, "Purged"));
		}
		return (synth(400, "Ban failed: " + std.ban_error()));
	}
	# Refuse white space, so that a value cannot add another condition.
	if (req.http.x-ban-host !~ "^[a-zA-Z0-9._:\[\]-]+$" || req.http.x-ban-prefix !~ {"^/[^"[:space:]]*$"}) {
		return (synth(400, "Needs x-ban-host and x-ban-prefix, or x-ban-everything"));
	}
	set req.http.x-ban-host = regsub(req.http.x-ban-host.lower(), ":(80|443)$", "");
	if (std.ban("obj.http.x-host == " + req.http.x-ban-host +
	    " && obj.http.x-url ~ ^" + req.http.x-ban-prefix)) {
		set req.http.x-purged = "ban";
		return (synth(200, "Purged"));
	}
	return (synth(400, "Ban failed: " + std.ban_error()));
}

sub shim_purge_url {
	if (req.http.x-purge-mode == "soft") {
		set req.http.x-purged = std.integer(req.http.x-purged, 0) + purge.soft();
	} else {
		set req.http.x-purged = std.integer(req.http.x-purged, 0) + purge.hard();
	}
	return (synth(200, "Purged"));
}

sub vcl_hit {
	if (req.method == "PURGE") {
		call shim_purge_url;
	}
	# The object is stale. Within stale-while-revalidate it is served during the next fetch. After that,
	# within stale-if-error, it is served only if the origin fails: ask the origin first, and come back
	# if it does not answer.
	if (obj.ttl <= 0s && req.http.x-shim-stale != "allowed" &&
	    obj.ttl + std.duration(obj.http.x-revalidate, 0s) <= 0s) {
		set req.http.x-shim-stale = "refused";
		return (restart);
	}
}

sub vcl_miss {
	if (req.method == "PURGE") {
		call shim_purge_url;
	}
}

sub vcl_pass {
	if (req.method == "PURGE") {
		call shim_nothing_cached;
	}
}

# A PURGE never reaches the origin. If Varnish would pass the request, nothing is stored under this URL.
sub shim_nothing_cached {
	set req.http.x-purged = std.integer(req.http.x-purged, 0);
	return (synth(200, "Purged"));
}

sub vcl_backend_fetch {
	set bereq.http.X-Push-Invalidation = "enabled";
	set bereq.http.X-BYO-CDN-Type = "varnish";
	# With `trust = "secret"` in the shim's configuration:
	# set bereq.http.X-Origin-Shim-Secret = "the secret of sites.opt_in";

	var.set_string("stale", bereq.http.x-shim-stale);
	unset bereq.http.x-shim-stale;
}

sub vcl_backend_response {
	# An error never replaces a page that may still be served stale.
	if (beresp.status >= 500 && (bereq.is_bgfetch || var.get_string("stale") == "refused")) {
		return (abandon);
	}

	# Bans compare these headers. vcl_deliver removes them. The origin cannot set them.
	set beresp.http.x-url = bereq.url;
	set beresp.http.x-host = bereq.http.Host;
	unset beresp.http.x-revalidate;
	# If the request uses another spelling of the path (`%c3%a9`, raw bytes, `//`), the shim names the
	# canonical one. Bans then compare that path, and PURGE finds the object by a key made from it.
	std.collect(beresp.http.xkey, " ");
	set beresp.http.xkey = regsuball(beresp.http.xkey, "(^|[ ,])x-origin-shim-url:[^ ,]*", "");
	if (beresp.http.X-Origin-Shim-Path) {
		set beresp.http.x-url = beresp.http.X-Origin-Shim-Path + regsub(bereq.url, "^[^?]*", "");
		set beresp.http.xkey = beresp.http.xkey + " x-origin-shim-url:" + bereq.http.Host +
		    regsuball(beresp.http.x-url, ",", "%2C");
	}
	unset beresp.http.X-Origin-Shim-Path;

	# Surrogate-Control is meant for this cache and overrides Cache-Control. If it sets no lifetime (an
	# ESI announcement, for example), the built-in rules must still see Cache-Control.
	std.collect(beresp.http.Surrogate-Control);
	if (beresp.http.Surrogate-Control ~ "(?i)(^|[ ,])(no-store|no-cache|private)") {
		set beresp.http.Surrogate-Control = "no-store";
		call shim_stale_nothing;
	} else if (beresp.http.Surrogate-Control ~ "(?i)(^|[ ,])max-age=[0-9]{1,10}([ ,;]|$)") {
		set beresp.ttl = std.duration(regsub(beresp.http.Surrogate-Control,
		    "(?i)^(.*[ ,])?max-age=([0-9]+).*$", "\2s"), 0s);
		set beresp.http.x-stale-from = beresp.http.Surrogate-Control;
		call shim_stale;
	} else {
		unset beresp.http.Surrogate-Control;
		std.collect(beresp.http.Cache-Control);
		set beresp.http.x-stale-from = beresp.http.Cache-Control;
		call shim_stale;
	}
	unset beresp.http.x-stale-from;

	# The built-in rules follow. They cache no response with Set-Cookie, `Vary: *`, no-store or no lifetime.
}

# RFC 5861: how long a stale object may be served. Without permission it is never served, so that a
# page is never older than its headers allow.
sub shim_stale {
	call shim_stale_nothing;
	if (beresp.http.x-stale-from ~ "(?i)(^|[ ,])stale-while-revalidate=[0-9]{1,10}([ ,;]|$)") {
		set beresp.http.x-revalidate = regsub(beresp.http.x-stale-from,
		    "(?i)^(.*[ ,])?stale-while-revalidate=([0-9]+).*$", "\2s");
		set beresp.grace = std.duration(beresp.http.x-revalidate, 0s);
	}
	if (beresp.http.x-stale-from ~ "(?i)(^|[ ,])stale-if-error=[0-9]{1,10}([ ,;]|$)" &&
	    std.duration(regsub(beresp.http.x-stale-from,
	    "(?i)^(.*[ ,])?stale-if-error=([0-9]+).*$", "\2s"), 0s) > beresp.grace) {
		set beresp.grace = std.duration(regsub(beresp.http.x-stale-from,
		    "(?i)^(.*[ ,])?stale-if-error=([0-9]+).*$", "\2s"), 0s);
	}
}

sub shim_stale_nothing {
	set beresp.grace = 0s;
	set beresp.keep = 0s;
}

sub vcl_backend_error {
	if (bereq.is_bgfetch || var.get_string("stale") == "refused") {
		return (abandon);
	}
}

sub vcl_synth {
	if (req.http.x-shim-stale == "refused" && resp.status == 503) {
		# The origin does not answer, so serve the stale object.
		set req.http.x-shim-stale = "allowed";
		return (restart);
	}
	if (req.method == "PURGE" || req.method == "BAN") {
		set resp.http.Content-Type = "text/plain; charset=utf-8";
		set resp.http.Cache-Control = "no-store";
		if (req.http.x-purged) {
			set resp.http.X-Purged = req.http.x-purged;
		}
		set resp.body = resp.reason + {"
"};
		return (deliver);
	}
}

sub vcl_deliver {
	if (obj.hits > 0) {
		set resp.http.X-Cache = "HIT";
		if (obj.ttl <= 0s) {
			# The object is stale: browsers must not keep it.
			set resp.http.Cache-Control = "no-cache";
		}
	} else {
		set resp.http.X-Cache = "MISS";
	}
	# With Surrogate-Control, Cache-Control is the lifetime in browsers. The time in this cache does not
	# count towards it, because purges keep the page as fresh as a new one.
	if (resp.http.Surrogate-Control) {
		unset resp.http.Age;
	}
	unset resp.http.Surrogate-Control;
	unset resp.http.xkey;
	unset resp.http.x-url;
	unset resp.http.x-host;
	unset resp.http.x-revalidate;
	# Objects that an older VCL stored may still carry this header.
	unset resp.http.X-Origin-Shim-Path;
}

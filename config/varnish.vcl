# Varnish as the CDN of an origin-shim: what the shim's `varnish` dialect and adapter rely on.
#
# Varnish 7.1 or later with the xkey and var modules (Debian: varnish, varnish-modules). Change the
# backend and the ACL, then run varnishd with this file, or include it in your own VCL.
#
# Purging, only from addresses in the ACL:
#   PURGE /      xkey-purge: k1 k2                   delete every object that carries one of the tags
#   PURGE /      xkey-softpurge: k1 k2               mark them stale
#   PURGE path   Host, x-purge-mode: hard|soft       one URL in all its variants; where the path is
#                                                    canonical, however its copies spell it
#   BAN /        x-ban-host, x-ban-prefix            everything below a prefix, which is a regular
#                                                    expression for each of its spellings
#   BAN /        x-ban-everything: 1                 the whole cache, all sites in it
# 200 with X-Purged: done. It counts the objects, or says "ban" where they are taken later; the shim
# believes no 200 without it, which could be the origin's. 400: not understood or not possible,
# nothing was purged. 403: not from there. A header line may be 8 KiB
# long in both directions (varnishd -p http_req_hdr_len, http_resp_hdr_len): a longer list of tags
# in a response makes it a 503.

vcl 4.1;

import purge;
import std;
import var;
import xkey;

# The shim. Its own timeouts (connect 2 s, first byte 30 s) are shorter than these.
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
		# What the shim believes must come from this edge alone, never from a visitor.
		unset req.http.X-Push-Invalidation;
		unset req.http.X-BYO-CDN-Type;
		unset req.http.X-Origin-Shim-Secret;
		unset req.http.x-shim-stale;
		# Nor may a visitor leave the traces of another CDN. Of CDN-Loop (RFC 8586) only the names of
		# shims stay, origin-shim- and an id, by which each knows a request that runs in a circle.
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
		# One object per page, however a visitor or a purge spells its host.
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
		# As long as the object itself says; a restart does not forget the 0s.
		set req.grace = 3650d;
	}

	# The built-in rules follow. They pass every request that carries a cookie; a site whose pages
	# do not depend on analytics cookies removes those here, for example:
	#   set req.http.Cookie = regsuball(req.http.Cookie, "(^|; ) *(_ga[^=]*|_gid|_fbp)=[^;]*", "");
	#   if (req.http.Cookie ~ "^[; ]*$") { unset req.http.Cookie; }
}

sub shim_invalidate {
	# A proxy on this machine would lend every visitor its address. Varnish itself appends the
	# peer to X-Forwarded-For, so a comma means that somebody forwarded this.
	if (client.ip !~ purgers || req.http.X-Forwarded-For ~ ",") {
		return (synth(403, "Not allowed to purge"));
	}
	# The proof is this file's to give.
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
	# Copies that were asked for in another spelling have the canonical one as a key.
	set req.http.x-page = "x-origin-shim-url:" + req.http.Host + regsuball(req.url, ",", "%2C");
	if (req.http.x-purge-mode == "soft") {
		set req.http.x-purged = xkey.softpurge(req.http.x-page);
	} else {
		set req.http.x-purged = xkey.purge(req.http.x-page);
	}
	# Looked up like a page, so that vcl_hit and vcl_miss can purge it; a fetch under way is not
	# waited for (the shim purges again after what was in flight).
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
	# No white space, so that a value cannot become another condition.
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
	# Stale. Within stale-while-revalidate it is served while it is fetched again; after that, within
	# stale-if-error, only if the origin cannot answer: ask it first, and come back if it fails.
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

# A PURGE never reaches the origin: where Varnish passes, nothing is stored under this name.
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

	# For bans; removed again in vcl_deliver, and never the origin's.
	set beresp.http.x-url = bereq.url;
	set beresp.http.x-host = bereq.http.Host;
	unset beresp.http.x-revalidate;
	# The shim names the canonical path where the request spells it otherwise (`%c3%a9`, raw bytes,
	# `//`). Bans then compare that, and PURGE finds the object by a key that is made of it.
	std.collect(beresp.http.xkey, " ");
	set beresp.http.xkey = regsuball(beresp.http.xkey, "(^|[ ,])x-origin-shim-url:[^ ,]*", "");
	if (beresp.http.X-Origin-Shim-Path) {
		set beresp.http.x-url = beresp.http.X-Origin-Shim-Path + regsub(bereq.url, "^[^?]*", "");
		set beresp.http.xkey = beresp.http.xkey + " x-origin-shim-url:" + bereq.http.Host +
		    regsuball(beresp.http.x-url, ",", "%2C");
	}
	unset beresp.http.X-Origin-Shim-Path;

	# Surrogate-Control is meant for this cache and decides alone. One that states no lifetime (an
	# ESI announcement, say) must not hide Cache-Control from the built-in rules.
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

	# The built-in rules follow: nothing with Set-Cookie, `Vary: *`, no-store or no lifetime is kept.
}

# RFC 5861: how long a stale object may be served. Without permission not at all, so that a page is
# never older than its headers say.
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
		# The origin cannot answer: now the stale object is better than none.
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
			# Served stale: no browser may keep it.
			set resp.http.Cache-Control = "no-cache";
		}
	} else {
		set resp.http.X-Cache = "MISS";
	}
	# Cache-Control is then the browser's own lifetime. The time that the page spent here is not
	# part of it: purges keep the page as fresh as a new one.
	if (resp.http.Surrogate-Control) {
		unset resp.http.Age;
	}
	unset resp.http.Surrogate-Control;
	unset resp.http.xkey;
	unset resp.http.x-url;
	unset resp.http.x-host;
	unset resp.http.x-revalidate;
	# Of objects that were stored before the VCL knew it.
	unset resp.http.X-Origin-Shim-Path;
}

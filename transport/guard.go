package transport

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps out what a web page can make a browser send, which is all that
// stands between any page and a server on the user's own machine. A browser
// names the page's origin, and a page that has its own name point at this
// machine (DNS rebinding) still sends that name as Host.
type guard struct {
	hosts   map[string]bool // in lower case, with or without a port
	origins map[string]bool
}

func newGuard(hosts, origins []string) guard {
	g := guard{map[string]bool{}, map[string]bool{}}
	for _, h := range hosts {
		if strings.HasSuffix(h, "]") { // an IPv6 address without a port
			h = strings.Trim(h, "[]")
		}
		g.hosts[strings.ToLower(h)] = true
	}
	for _, o := range origins {
		g.origins[strings.ToLower(o)] = true
	}
	return g
}

// check returns why a request must not be answered, "" if it may.
func (g guard) check(r *http.Request) string {
	if !g.knowsHost(r) {
		return fmt.Sprintf("the host %.100q is not one of this server's; the operator can add it with --allow-host", r.Host)
	}
	switch origins := r.Header.Values("Origin"); {
	case len(origins) > 1:
		return "several Origin headers"
	case len(origins) == 1 && !g.knowsOrigin(origins[0], r):
		return fmt.Sprintf("web pages of the origin %.100q may not use this server; the operator can allow them with --allow-origin", origins[0])
	case len(origins) == 0 && r.URL.Path != "/" && isForeign(r.Header.Get("Sec-Fetch-Site")):
		// Images, scripts and links send no Origin.
		return "other web pages may not use this server"
	}
	return ""
}

// knowsHost tells whether a request names this server. An address is fine if the
// connection came to it: no name stands for it that could have been rebound.
func (g guard) knowsHost(r *http.Request) bool {
	host := strings.ToLower(r.Host)
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if g.hosts[host] || g.hosts[name] {
		return true
	}
	local := localAddr(r)
	if local.IsLoopback() && name == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && (addr.Unmap() == local || local.IsLoopback() && addr.IsLoopback())
}

// localAddr is the address that the connection came to.
func localAddr(r *http.Request) netip.Addr {
	a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if a == nil {
		return netip.Addr{}
	}
	addr, _ := netip.ParseAddrPort(a.String())
	return addr.Addr().Unmap()
}

// knowsOrigin tells whether pages of an origin may use this server: those it serves
// itself, and those of the operator's list.
func (g guard) knowsOrigin(origin string, r *http.Request) bool {
	origin = strings.ToLower(origin)
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return g.origins[origin] || origin == scheme+strings.ToLower(r.Host)
}

// isForeign tells of a Sec-Fetch-Site that another site's page caused the request:
// https://www.w3.org/TR/fetch-metadata/
func isForeign(site string) bool { return site == "cross-site" || site == "same-site" }

// allow lets pages of a known origin read answers. Pages of this server itself need
// no leave.
func (g guard) allow(w http.ResponseWriter, r *http.Request) {
	if len(g.origins) == 0 {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); g.origins[strings.ToLower(origin)] {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate, Retry-After")
	}
}

// preflight answers what a browser asks before it sends what no form could.
func preflight(w http.ResponseWriter) {
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Protocol-Version, "+
			"Mcp-Session-Id, Mcp-Method, Mcp-Name, traceparent, tracestate")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

// This file holds the control of the figures over HTTP: the least that can stand between a
// client and an Ollama. It needs nothing of the other files, because build makes a program
// of it alone.
var _ = serveProxy

// serveProxy is the standard library's reverse proxy with connections that are kept, as
// ours are. It has no authentication, no limits and no idea of what passes through.
func serveProxy() {
	target, err := url.Parse(os.Getenv("OLLAMA_HOST"))
	if err != nil {
		os.Exit(1)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "listening on http://%s/\n", l.Addr())
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 64, DisableCompression: true, ReadBufferSize: 8 << 10, WriteBufferSize: 4 << 10,
		},
	}
	if http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Else net/http closes the request's body when the answer begins, at times before the
		// proxy has read its end, and the answer breaks off.
		_ = http.NewResponseController(w).EnableFullDuplex()
		proxy.ServeHTTP(w, r)
	})) != nil {
		os.Exit(1)
	}
}

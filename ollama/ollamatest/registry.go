package ollamatest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Registry is a registry of models on loopback, over plain HTTP: as much of the OCI distribution protocol as Ollama
// speaks to pull, and to push what the registry has the layers of.
// Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md. Safe for concurrent use.
type Registry struct {
	Host string // "127.0.0.1:<port>", the first part of the names of its models

	up *uplink

	mu        sync.Mutex        // guards everything below
	blobs     map[string][]byte // by digest
	manifests map[string][]byte // by path
	ranges    []string          // the Range header of each download
	hold      int64             // bytes after which downloads stop; 0 is never
}

// NewRegistry starts an empty registry, and panics where there is no free loopback port. Close it.
func NewRegistry() *Registry {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("ollamatest: " + err.Error())
	}
	r := &Registry{Host: l.Addr().String(), blobs: map[string][]byte{}, manifests: map[string][]byte{}}
	r.up = serve(l, r.routes())
	return r
}

// Close ends the registry and its downloads.
func (r *Registry) Close() { r.up.close() }

// layer is an entry of a manifest.
type layer struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

// Add puts a model into the registry and returns the name to pull, "127.0.0.1:<port>/tests/<model>:latest".
func (r *Registry) Add(model string, m Model) (name string, err error) {
	var file bytes.Buffer
	if err := WriteModel(&file, m); err != nil {
		return "", err
	}
	weights := r.put("application/vnd.ollama.image.model", file.Bytes())
	manifest := map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.docker.distribution.manifest.v2+json",
		"config": r.put("application/vnd.docker.container.image.v1+json", encode(map[string]any{
			"model_format": "gguf", "model_family": "llama", "model_families": []string{"llama"}, "file_type": "F32",
			"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": []string{weights.Digest}},
		})),
		"layers": []layer{weights, r.put("application/vnd.ollama.image.system", []byte(chatSystem))},
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manifests["/v2/tests/"+model+"/manifests/latest"] = encode(manifest)
	return r.Host + "/tests/" + model + ":latest", nil
}

func (r *Registry) put(mediaType string, blob []byte) layer {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(blob))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blobs[digest] = blob
	return layer{mediaType, digest, len(blob)}
}

// HoldAfter stops downloads that begin from now on after so many bytes, until who downloads leaves. 0 stops none.
func (r *Registry) HoldAfter(bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = bytes
}

// Ranges are the Range headers of all downloads so far: "bytes=0-511999".
func (r *Registry) Ranges() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ranges)
}

func (r *Registry) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{namespace}/{model}/manifests/{tag}", func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		manifest, ok := r.manifests[req.URL.Path]
		r.mu.Unlock()
		if !ok {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write(manifest) // who left is not our concern
	})
	mux.HandleFunc("PUT /v2/{namespace}/{model}/manifests/{tag}", func(w http.ResponseWriter, req *http.Request) {
		manifest, err := io.ReadAll(req.Body)
		if err != nil || !json.Valid(manifest) {
			http.Error(w, "not a manifest", http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		r.manifests[req.URL.Path] = manifest
		r.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("GET /v2/{namespace}/{model}/blobs/{digest}", r.blob)
	return mux
}

// blob serves HEAD and ranges, and sends plain downloads elsewhere, as registries with a CDN do: Ollama insists on a
// Location (v0.34.4, server/download.go, run).
func (r *Registry) blob(w http.ResponseWriter, req *http.Request) {
	span := req.Header.Get("Range")
	r.mu.Lock()
	blob, ok := r.blobs[req.PathValue("digest")]
	hold := r.hold
	if span != "" {
		r.ranges = append(r.ranges, span)
	}
	r.mu.Unlock()
	switch {
	case !ok:
		http.NotFound(w, req)
	case req.Method == http.MethodGet && span == "":
		elsewhere := strings.Replace(r.Host, "127.0.0.1", "localhost", 1)
		http.Redirect(w, req, "http://"+elsewhere+req.URL.Path, http.StatusTemporaryRedirect)
	default:
		content := io.ReadSeeker(bytes.NewReader(blob))
		if hold > 0 {
			content = &held{content, hold, req.Context()}
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, req, "", time.Time{}, content)
	}
}

// held is content that stops after so many bytes, until ctx ends.
type held struct {
	io.ReadSeeker
	left int64
	ctx  context.Context
}

func (h *held) Read(p []byte) (int, error) {
	if h.left == 0 {
		<-h.ctx.Done()
		return 0, h.ctx.Err()
	}
	n, err := h.ReadSeeker.Read(p[:min(int64(len(p)), h.left)])
	h.left -= int64(n)
	return n, err
}

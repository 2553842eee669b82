package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"ollama-mcp/config"
	"ollama-mcp/files"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/fleet/dns"
)

const (
	lookEvery = time.Second             // at the files
	askEvery  = 30 * time.Second        // the DNS, about
	askSoon   = 3 * time.Second         // instead, while a name's hosts are not known
	firstAsk  = 1500 * time.Millisecond // what the start waits for the DNS at most
)

// hostList makes the fleet's hosts of the settings, and follows these: names that stand for
// hosts, and the files that say where Ollama is. It is for one goroutine.
type hostList struct {
	started *config.Config // what differs from it in other settings needs a restart
	now     *config.OllamaConfig
	book    dns.Book
	log     zerolog.Logger

	paths       []string   // files to look at
	read, looks files.Look // at them: when they were read, and the latest
}

func newHostList(c *config.Config, log zerolog.Logger) *hostList {
	l := &hostList{started: c, now: &c.Ollama, log: log, paths: c.HostFiles()}
	l.book = dns.Book{Resolver: net.DefaultResolver, Log: log}
	l.read = files.Stat(l.paths...)
	return l
}

// first is the hosts to begin with. It does not wait long for the DNS.
func (l *hostList) first(ctx context.Context) []fleet.Host {
	ctx, cancel := context.WithTimeout(ctx, firstAsk)
	defer cancel()
	l.book.Look(ctx, l.services())
	return l.hosts()
}

// follow tells update of the hosts whenever they change, until stop, which waits for its end.
// SIGHUP has the files read anew, where there is such a thing.
func (l *hostList) follow(ctx context.Context, update func([]fleet.Host)) (stop func()) {
	if len(l.paths)+len(l.services()) == 0 {
		return func() {}
	}
	hup := make(chan os.Signal, 1)
	if len(l.paths) > 0 { // else it ends the program, as ever
		signal.Notify(hup, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx, hup, update)
	}()
	return func() { signal.Stop(hup); cancel(); <-done }
}

func (l *hostList) run(ctx context.Context, hup <-chan os.Signal, update func([]fleet.Host)) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	ask := time.NewTimer(l.pause())
	defer ask.Stop()
	for {
		changed := false
		select {
		case <-ctx.Done():
			return
		case <-hup:
			changed = l.reload(ctx)
		case <-look.C:
			changed = l.touched() && l.reload(ctx)
		case <-ask.C:
			changed = l.book.Look(ctx, l.services())
			ask.Reset(l.pause())
		}
		if changed {
			update(l.hosts())
		}
	}
}

// pause is the time until the DNS is asked again: never for several servers at the same moment.
func (l *hostList) pause() time.Duration {
	pause := askEvery
	for _, s := range l.services() {
		if l.book.Hosts(s) == nil {
			pause = askSoon
		}
	}
	return pause*9/10 + rand.N(pause/5)
}

// touched reports whether the files have changed since they were read, and nobody seems to be
// writing to them still.
func (l *hostList) touched() bool {
	now := files.Stat(l.paths...)
	settled := now.Same(l.looks)
	l.looks = now
	return settled && !now.Same(l.read)
}

// reload reads the settings anew. What is wrong with them leaves everything as it was.
func (l *hostList) reload(ctx context.Context) (changed bool) {
	l.read = files.Stat(l.paths...) // before: what changes meanwhile is seen the next time
	c, err := l.started.Reload()
	if err != nil {
		l.log.Error().Err(err).Msg("the settings cannot be read anew; what they said before still holds")
		return false
	}
	if names := l.started.Differing(c); len(names) > 0 {
		l.log.Warn().Strs("settings", names).Msg("these settings have changed in the file; they count from the next start on")
	}
	if paths := c.HostFiles(); !slices.Equal(paths, l.paths) {
		l.paths, l.read = paths, files.Stat(paths...)
	}
	was := l.now
	l.now = &c.Ollama
	l.log.Info().Str("ollama", l.now.Where()).Msg("the settings are read anew")
	if slices.EqualFunc(was.Hosts, l.now.Hosts, func(a, b config.Host) bool { return a.Settings == b.Settings }) {
		return false
	}
	l.book.Look(ctx, l.services())
	return true
}

// several reports whether there may be more than one host.
func (l *hostList) several() bool {
	return len(l.now.Hosts) > 1 || len(l.services()) > 0 || l.now.Origin == "--config" && l.now.Ollama == ""
}

// services are the names that stand for hosts.
func (l *hostList) services() (services []dns.Service) {
	for i := range l.now.Hosts {
		if s := l.now.Hosts[i].Service; s != (dns.Service{}) {
			services = append(services, s)
		}
	}
	return services
}

// hosts are all the hosts, at least one. One that several settings stand for has the first, but
// those of its own before those of a name that stands for it too.
func (l *hostList) hosts() (hosts []fleet.Host) {
	taken := map[string]bool{}
	for _, found := range []bool{false, true} {
		for i := range l.now.Hosts {
			h := &l.now.Hosts[i]
			if found != (h.Service != (dns.Service{})) {
				continue
			}
			for _, made := range l.behind(h) {
				if name := made.Client.Name(); !taken[name] && !taken[made.Address] {
					taken[name], taken[made.Address] = true, true
					hosts = append(hosts, made)
				}
			}
		}
	}
	return hosts
}

// behind is the host, or those that its name stands for. While these are not known it is the name
// itself, taken for a host, so that calls tell what is wrong with it.
func (l *hostList) behind(h *config.Host) (hosts []fleet.Host) {
	found := l.book.Hosts(h.Service)
	if found == nil {
		return []fleet.Host{l.host(h, h.Name, h.Address, l.now.Origin)}
	}
	for _, address := range found {
		name := address.Name()
		if h.Name != "" {
			name = h.Name + "-" + name
		}
		made := l.host(h, name, address, fmt.Sprintf("%s in %s", h.Service, l.now.Origin))
		made.Settings += " " + address.String()
		if h.Name != "" { // by which a policy knows them all
			made.Tags = append(slices.Clone(h.Tags), h.Name)
		}
		hosts = append(hosts, made)
	}
	return hosts
}

func (l *hostList) host(h *config.Host, name string, address ollama.Host, origin string) fleet.Host {
	return fleet.Host{
		Client: ollama.NewClient(ollama.ClientOptions{
			Host: address, Name: name, Header: h.Header, APIKey: h.APIKey, TLS: h.TLS,
			Stall: l.started.Ollama.Stall, UserAgent: "ollama-mcp/" + buildVersion(), Registries: l.started.Models.Registries,
		}),
		Address: address.String(), Origin: origin,
		Weight: h.Weight, Priority: h.Priority, Parallel: h.Parallel, MaxLoaded: h.MaxLoaded,
		May: h.May, Tags: h.Tags, Settings: h.Settings,
	}
}

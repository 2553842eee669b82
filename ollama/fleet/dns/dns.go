// Package dns finds the hosts that a name in the DNS stands for, and keeps what it
// found. It owns no schedule: who uses it asks when it wants to know. It knows nothing of
// calls or models, and speaks to no Ollama.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"

	"ollama-mcp/ollama"
)

// Scheme begins an address that stands for all the hosts behind a name.
const Scheme = "dns:"

// Service is a name behind which there may be several hosts. The zero value is none.
type Service struct {
	Name string // in lower case
	Port uint16 // 0: the records say it
}

// Parse reads dns:///name:port, as gRPC writes it. The port is 11434 when none is given. A name
// like _ollama._tcp.example.com has SRV records, which say the port.
//
// Source: https://github.com/grpc/grpc/blob/master/doc/naming.md
func Parse(address string) (Service, error) {
	rest, ok := strings.CutPrefix(address, Scheme+"///")
	if !ok {
		return Service{}, wrong(address, "it does not begin with "+Scheme+"/// (three slashes)")
	}
	name, port, hasPort := strings.Cut(strings.ToLower(rest), ":")
	s := Service{Name: name, Port: 11434}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" || strings.Trim(name, ".") == "" {
		return Service{}, wrong(address, fmt.Sprintf("%q is not a name of the DNS", name))
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Service{}, wrong(address, fmt.Sprintf("the port %q is not a number from 1 to 65535", port))
		}
		s.Port = uint16(n)
	}
	if s.srv() {
		if s.Port = 0; hasPort {
			return Service{}, wrong(address, "its SRV records say the port: leave it out")
		}
	}
	return s, nil
}

// wrong shows no address that could hold a password.
func wrong(address, why string) error {
	address = strconv.Quote(address)
	if strings.Contains(address, "@") {
		address, why = "the address", "it holds a user name or password"
	}
	return fmt.Errorf("%s does not stand for hosts in the DNS: %s; write "+Scheme+"///name:port, or "+Scheme+"///_service._proto.name for SRV records", address, why)
}

// srv tells whether the name is one of SRV records: RFC 2782.
func (s Service) srv() bool {
	labels := strings.SplitN(s.Name, ".", 3)
	return len(labels) == 3 && strings.HasPrefix(labels[0], "_") && strings.HasPrefix(labels[1], "_")
}

// String is the service as Parse reads it.
func (s Service) String() string {
	if s.Port == 0 {
		return Scheme + "///" + s.Name
	}
	return fmt.Sprintf("%s///%s:%d", Scheme, s.Name, s.Port)
}

// Host is the name taken for that of one host, which stands for the others while they are
// not known: calls to it tell what is wrong with the name.
func (s Service) Host() ollama.Host { return address(s.Name, s.Port) }

// Resolver asks the DNS. [net.Resolver] is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

var errNone = errors.New("the name has no addresses")

// lookup finds the hosts, sorted, at least one.
func (s Service) lookup(ctx context.Context, r Resolver) ([]ollama.Host, error) {
	find := s.addresses
	if s.srv() {
		find = s.targets
	}
	hosts, err := find(ctx, r)
	if err == nil && len(hosts) == 0 {
		err = errNone
	}
	sort.Slice(hosts, func(i, j int) bool { return hosts[i].String() < hosts[j].String() })
	return slices.Compact(hosts), err
}

// addresses are those of IPv4, if there are any: a host that has both kinds is one host.
func (s Service) addresses(ctx context.Context, r Resolver) (hosts []ollama.Host, err error) {
	ips, err := r.LookupNetIP(ctx, "ip", s.Name)
	if err != nil {
		return nil, err
	}
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	only4 := slices.ContainsFunc(ips, netip.Addr.Is4)
	for _, ip := range ips {
		// 0.0.0.0 is what filters answer, and would be this machine.
		if ip.Is4() == only4 && !ip.IsUnspecified() && ip.Zone() == "" {
			hosts = append(hosts, address(ip.String(), s.Port))
		}
	}
	return hosts, nil
}

// targets are the names that SRV records point to: unlike addresses they stay the same when a
// host is started anew, and each is one host.
func (s Service) targets(ctx context.Context, r Resolver) (hosts []ollama.Host, err error) {
	_, records, err := r.LookupSRV(ctx, "", "", s.Name)
	if err != nil && len(records) == 0 { // beside good records an error tells of bad ones
		return nil, err
	}
	for _, record := range records {
		// A lone dot says that there is no such service: RFC 2782.
		if name := strings.TrimSuffix(record.Target, "."); name != "" && record.Port != 0 {
			hosts = append(hosts, address(name, record.Port))
		}
	}
	return slices.DeleteFunc(hosts, func(h ollama.Host) bool { return h == ollama.Host{} }), nil
}

// address is the zero Host for what cannot stand in a URL.
func address(name string, port uint16) ollama.Host {
	if port != 0 {
		name = net.JoinHostPort(name, strconv.Itoa(int(port)))
	}
	h, _ := ollama.ParseHost("http://" + name)
	return h
}

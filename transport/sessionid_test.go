package transport

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"
	"pgregory.net/rapid"
)

func TestSessionIDSaysWhatTheClientCan(t *testing.T) {
	form, url := &mcp.ElicitationCapability{Form: new(struct{})}, &mcp.ElicitationCapability{URL: new(struct{})}
	for _, version := range legacy {
		for _, can := range []*mcp.ElicitationCapability{nil, form, url, {Form: form.Form, URL: url.URL}} {
			s := newSessions(nil)
			want := client{initialized: true, protocol: version, can: mcp.ClientCapabilities{Elicitation: can}}
			got, err := s.verify(s.mint("ann", want), "ann")
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(client{})); err != nil || diff != "" {
				t.Errorf("verify(mint(%s, %+v)) = %v (-want +got):\n%s", version, can, err, diff)
			}
		}
	}
}

// TestSessionIDIsAllOrNothing changes an id in every way there is: each bit, each length.
func TestSessionIDIsAllOrNothing(t *testing.T) {
	s := newSessions([]byte("key"))
	id := s.mint("ann", client{protocol: "2025-11-25"})
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(raw) != idSize {
		t.Fatalf("mint = %q, %d bytes, %v, want %d", id, len(raw), err, idSize)
	}
	refused := func(what, id, caller string) {
		t.Helper()
		if c, err := s.verify(id, caller); err != errNoSession {
			t.Errorf("verify(%s) = %+v, %v, want %v", what, c, err, errNoSession)
		}
	}
	for bit := range 8 * len(raw) {
		raw[bit/8] ^= 1 << (bit % 8)
		refused(fmt.Sprintf("bit %d changed", bit), base64.RawURLEncoding.EncodeToString(raw), "ann")
		raw[bit/8] ^= 1 << (bit % 8)
	}
	for n := range len(raw) {
		refused(fmt.Sprintf("first %d bytes", n), base64.RawURLEncoding.EncodeToString(raw[:n]), "ann")
	}
	for i := range len(id) { // the last character has bits to spare
		for _, c := range "ABab01-_=+/ \n" {
			if other := id[:i] + string(c) + id[i+1:]; other != id {
				refused(fmt.Sprintf("character %d is %q", i, c), other, "ann")
			}
		}
	}
	for _, caller := range []string{"", "Ann", "ann ", "an", "bob", "\x00ann"} {
		refused("of ann, by "+caller, id, caller)
	}
	refused("line breaks", id[:9]+"\r\n"+id[9:], "ann")
	refused("another key", newSessions([]byte("kez")).mint("ann", client{protocol: "2025-11-25"}), "ann")
	refused("no key", newSessions(nil).mint("ann", client{protocol: "2025-11-25"}), "ann")
	if _, err := s.verify(id, "ann"); err != nil {
		t.Errorf("verify of the id itself = %v, want nil", err)
	}
}

// TestSessionIDOfNobody makes ids up.
func TestSessionIDOfNobody(t *testing.T) {
	s := newSessions(nil)
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 0, 2*idSize).Draw(t, "raw")
		if len(raw) > 0 && rapid.Bool().Draw(t, "version") {
			raw[0] = idVersion
		}
		if c, err := s.verify(base64.RawURLEncoding.EncodeToString(raw), rapid.String().Draw(t, "caller")); err == nil {
			t.Fatalf("verify(%x) = %+v, want an error", raw, c)
		}
	})
}

func TestSessionIDExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(nil)
		id := s.mint("ann", client{protocol: "2025-11-25"})
		time.Sleep(sessionLife - time.Second)
		if _, err := s.verify(id, "ann"); err != nil {
			t.Errorf("verify a second before the end = %v, want nil", err)
		}
		time.Sleep(time.Second)
		if _, err := s.verify(id, "ann"); err != errNoSession {
			t.Errorf("verify at the end = %v, want %v", err, errNoSession)
		}
	})
}

// TestSessionsTakeNoRoom has sessions come and go.
func TestSessionsTakeNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(nil)
		enter := func() (string, *live) {
			id := s.mint("ann", client{protocol: "2025-11-25"})
			l, err := s.enter(id, "ann")
			if err != nil {
				t.Fatalf("enter = %v, want nil", err)
			}
			return id, l
		}
		want := func(after string, n int) {
			t.Helper()
			if got := len(s.live); got != n {
				t.Errorf("sessions alive after %s = %d, want %d", after, got, n)
			}
		}
		id, l := enter()
		want("a request began", 1)
		s.leave(id, l)
		want("it ended", 0)

		id, l = enter()
		_ = l.subscribe("x://a")
		s.leave(id, l)
		want("a subscription", 1)
		again, _ := s.enter(id, "ann")
		if again != l {
			t.Errorf("enter after a subscription = another session, want the same")
		}
		s.leave(id, again)
		time.Sleep(idleLife + time.Minute)
		s.leave(enter())
		want("nobody came back", 0)

		for range maxLive + 10 {
			id, l := enter()
			_ = l.subscribe("x://a")
			s.leave(id, l)
		}
		if got := len(s.live); got > maxLive {
			t.Errorf("sessions alive = %d, want %d at most", got, maxLive)
		}
		for range maxEnded + 10 {
			if err := s.end(s.mint("ann", client{protocol: "2025-11-25"}), "ann"); err != nil {
				t.Fatalf("end = %v, want nil", err)
			}
		}
		if got := len(s.ended); got != maxEnded || len(s.order) != maxEnded {
			t.Errorf("sessions known to have ended = %d, %d, want %d", got, len(s.order), maxEnded)
		}
	})
}

// TestEndMeetsABeginning has a call and a stream begin while the session ends.
func TestEndMeetsABeginning(t *testing.T) {
	s := newSessions(nil)
	id := s.mint("ann", client{protocol: "2025-11-25"})
	l, err := s.enter(id, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.end(id, "ann"); err != nil {
		t.Fatalf("end = %v, want nil", err)
	}
	h, err := newHub(fixtures(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	c := h.connect(t.Context(), &l.session, "ann", nil)
	s.tune(l, c)
	if c.ctx.Err() == nil {
		t.Errorf("a stream of a session that has ended goes on, want its end")
	}
	c = h.connect(t.Context(), &l.session, "ann", nil)
	defer c.end()
	call := c.newCall(message{id: []byte("1")})
	if l.session.enter(call); call.ctx.Err() == nil || !call.silent.Load() {
		t.Errorf("a call of a session that has ended goes on, want it cancelled")
	}
}

func FuzzSessionID(f *testing.F) {
	s := newSessions(nil)
	id := s.mint("ann", client{protocol: "2025-11-25"})
	for _, seed := range []string{"", id, id + "=", id[1:], strings.ToUpper(id), "1868a90c-8f0e-4ccc-9d4a-0c4a9d8ec6d6", "\r\n" + id} {
		f.Add(seed, "ann")
		f.Add(seed, "bob")
	}
	f.Fuzz(func(t *testing.T, got, caller string) {
		if c, err := s.verify(got, caller); err == nil && (got != id || caller != "ann") {
			t.Errorf("verify(%q, %q) = %+v, want an error", got, caller, c)
		}
	})
}

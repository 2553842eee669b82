package transport

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// noteBuffer is how many notifications of one session may wait to be queued;
// mcp-go drops what is beyond.
const noteBuffer = 128

// client is what is known of the client: from initialize, or from the request
// itself since 2026-07-28.
type client struct {
	initialized bool
	info        mcp.Implementation
	can         mcp.ClientCapabilities
	protocol    string
}

// SessionID is the request's id: each request is a session of its own.
func (c *Call) SessionID() string { return c.id }

// Initialize is called by mcp-go.
func (c *Call) Initialize() { c.setClient(func(k *client) { k.initialized = true }) }

// Initialized tells whether the client has introduced itself.
func (c *Call) Initialized() bool { return c.knownClient().initialized }

// GetClientInfo returns the client's name and version, zero before initialize.
func (c *Call) GetClientInfo() mcp.Implementation { return c.knownClient().info }

// SetClientInfo is called by mcp-go.
func (c *Call) SetClientInfo(info mcp.Implementation) {
	c.setClient(func(k *client) { k.info = info })
}

// GetClientCapabilities returns what the client can do for this request.
func (c *Call) GetClientCapabilities() mcp.ClientCapabilities { return c.knownClient().can }

// SetClientCapabilities is called by mcp-go.
func (c *Call) SetClientCapabilities(can mcp.ClientCapabilities) {
	c.setClient(func(k *client) { k.can = can })
}

// ProtocolVersion returns the version agreed on by initialize, "" before.
func (c *Call) ProtocolVersion() string { return c.knownClient().protocol }

// SetProtocolVersion is called by mcp-go.
func (c *Call) SetProtocolVersion(version string) {
	c.setClient(func(k *client) { k.protocol = version })
}

func (c *Call) knownClient() client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client
}

func (c *Call) setClient(change func(*client)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.client)
}

// SetSubscriptionFilter is called by mcp-go when a listen stream begins and ends. What the
// caller may not subscribe to is left out.
func (c *Call) SetSubscriptionFilter(filter mcp.SubscriptionFilter) {
	filter.ResourceSubscriptions = slices.DeleteFunc(slices.Clone(filter.ResourceSubscriptions), func(uri string) bool {
		return c.conn.hub.o.Subscribable(c.ctx, uri) != nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filter = filter
}

// SubscriptionFilter returns what a listen stream asked for.
func (c *Call) SubscriptionFilter() (mcp.SubscriptionFilter, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.filter, c.isListen()
}

// SubscribeToResource is SubscribeToResourceErr without the error.
func (c *Call) SubscribeToResource(uri string) { _ = c.SubscribeToResourceErr(uri) }

// SubscribeToResourceErr makes updates of the resource go to the connection. A
// listen stream has its resources in its filter.
func (c *Call) SubscribeToResourceErr(uri string) error {
	if c.isListen() {
		return nil
	}
	if err := c.conn.hub.o.Subscribable(c.ctx, uri); err != nil {
		return err
	}
	if err := c.conn.session.subscribe(uri); err != nil {
		return err
	}
	c.conn.hub.audience.attentive(c.ctx)
	return nil
}

// UnsubscribeFromResource undoes SubscribeToResource.
func (c *Call) UnsubscribeFromResource(uri string) {
	if !c.isListen() {
		c.conn.session.unsubscribe(uri)
	}
}

// SubscribedResources returns what updates are sent of, in no order.
func (c *Call) SubscribedResources() []string {
	if c.isListen() {
		filter, _ := c.SubscriptionFilter()
		return slices.Clone(filter.ResourceSubscriptions)
	}
	return c.conn.session.subscriptions()
}

// IsSubscribedToResource tells whether updates of the resource are sent.
func (c *Call) IsSubscribedToResource(uri string) bool {
	return slices.Contains(c.SubscribedResources(), uri)
}

// NotificationChannel takes what a handler sends through mcp-go. It is made when
// it is first asked for, as few calls need it.
func (c *Call) NotificationChannel() chan<- mcp.JSONRPCNotification {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.notes == nil {
		size := noteBuffer
		if c.isListen() {
			size = 1 // for the acknowledgement
		}
		c.notes = make(chan mcp.JSONRPCNotification, size)
		if !c.ended {
			notes := c.notes
			c.pumping.Go(func() { c.pump(notes) })
		}
	}
	return c.notes
}

// pump queues the call's notifications until it was handled, of a listen stream until
// it is acknowledged: what comes later is broadcast.
func (c *Call) pump(notes <-chan mcp.JSONRPCNotification) {
	for {
		select {
		case n := <-notes:
			c.conn.out.room(c.ctx)
			c.note(n)
			if n.Method == mcp.MethodNotificationSubscriptionsAcknowledged {
				return
			}
			continue
		case <-c.handled:
		}
		for {
			select {
			case n := <-notes:
				c.note(n)
			default:
				return
			}
		}
	}
}

// stopNotes returns when all that the handler sent is queued.
func (c *Call) stopNotes() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	close(c.handled)
	c.pumping.Wait()
}

// note queues one notification. A listen stream may carry broadcasts once its
// client knows that it stands, and for what.
func (c *Call) note(n mcp.JSONRPCNotification) {
	var stream json.RawMessage
	if c.isListen() {
		stream = c.msg.id
	}
	acknowledges := n.Method == mcp.MethodNotificationSubscriptionsAcknowledged
	if acknowledges {
		filter, _ := c.SubscriptionFilter()
		n.Params.AdditionalFields = map[string]any{"notifications": filter}
	}
	it := item{call: c, parts: [][]byte{encodeNote(n, stream)}}
	if !acknowledges {
		c.conn.out.put(it)
		return
	}
	c.conn.attend(c)
	c.conn.listen(c, it)
}

// encodeNote marshals a notification, tagged with the id of the listen stream
// it goes to, if any.
func encodeNote(n mcp.JSONRPCNotification, stream json.RawMessage) []byte {
	meta := maps.Clone(n.Params.Meta)
	if stream != nil {
		if meta == nil {
			meta = map[string]any{}
		}
		meta[mcp.MetaKeySubscriptionID] = stream
	}
	n.Params.Meta = meta
	b, err := json.Marshal(n)
	if err != nil {
		// Only a handler that sends what cannot be marshalled gets here.
		b = fmt.Appendf(nil, `{"jsonrpc":"2.0","method":%q}`, n.Method)
	}
	return b
}

// newsSession is the one session that mcp-go broadcasts to; the connections pass
// on what their clients subscribed to.
type newsSession struct{ hub *hub }

func (s newsSession) Initialize()       {}
func (s newsSession) Initialized() bool { return true }
func (s newsSession) SessionID() string { return s.hub.id }
func (s newsSession) NotificationChannel() chan<- mcp.JSONRPCNotification {
	return s.hub.news
}

var _ server.ClientSession = newsSession{}

// wanted is a notification as a listen stream gets it: not at all, or as it is, or, about a
// resource, once for each spelling that it was asked for by.
func (h *hub) wanted(filter mcp.SubscriptionFilter, n mcp.JSONRPCNotification) []mcp.JSONRPCNotification {
	as := func(wanted bool) []mcp.JSONRPCNotification {
		if wanted {
			return []mcp.JSONRPCNotification{n}
		}
		return nil
	}
	switch n.Method {
	case mcp.MethodNotificationToolsListChanged:
		return as(filter.ToolsListChanged)
	case mcp.MethodNotificationPromptsListChanged:
		return as(filter.PromptsListChanged)
	case mcp.MethodNotificationResourcesListChanged:
		return as(filter.ResourcesListChanged)
	case mcp.MethodNotificationResourceUpdated:
		return h.spelt(n, filter.ResourceSubscriptions)
	}
	return nil
}

// spelt is an update with each of the URIs that mean its resource.
func (h *hub) spelt(n mcp.JSONRPCNotification, uris []string) (all []mcp.JSONRPCNotification) {
	updated, _ := n.Params.AdditionalFields["uri"].(string)
	for _, uri := range uris {
		if uri == updated || h.o.Canonical(uri) == updated {
			n.Params.AdditionalFields = map[string]any{"uri": uri}
			all = append(all, n)
		}
	}
	return all
}

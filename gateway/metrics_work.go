package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"holdline/internal/chat"
	"holdline/sse"
	"holdline/wpdb"
)

// workMetrics count what is carried and what PHP is asked for.
type workMetrics struct {
	carried *prometheus.CounterVec // type
	resumed *prometheus.CounterVec // transport
	php     *prometheus.CounterVec // call
	proxied *prometheus.CounterVec // what, result

	published atomic.Uint64        // events, all types together
	forLoops  atomic.Int64         // nanoseconds in which PHP was asked in a loop's place
	brief     *prometheus.Registry // what the status page counts by label, too
}

// Calls to PHP, as labels.
const (
	callRelay = "relay" // a loop that PHP answers
	callSync  = "sync"  // writes of loops, by the companion plugin
	callSend  = "send"  // messages, by the companion plugin
)

// newWork registers them. m has its own already.
func (m *metrics) newWork(g *Gateway) {
	w := &m.workMetrics
	w.carried = m.counter("events_total", "Events that were read from the site and handed to who listens, by type.", "type")
	w.resumed = m.counter("resumes_total", "Streams and WebSockets that came back and named where they had stopped.", "transport")
	w.php = m.counter("php_seconds_total", "Time in which PHP worked for Holdline itself, by call.", "call")
	w.proxied = m.counter("proxied_total", "Requests that were passed on to PHP, by kind and result.", "what", "result")
	for _, t := range []chat.Type{chat.TypeMessage, chat.TypeStored, chat.TypeStatus, chat.TypeReset} {
		w.carried.WithLabelValues(string(t))
	}
	for _, t := range []transport{overSSE, overWS} {
		w.resumed.WithLabelValues(t.String())
	}
	for _, call := range []string{callRelay, callSync, callSend} {
		w.php.WithLabelValues(call)
	}
	w.brief = prometheus.NewRegistry()
	w.brief.MustRegister(m.loops, m.sends, m.refused)
	m.registry.MustRegister(
		&stateCollector{g},
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "holdline", Name: "loops_held_seconds_total",
			Help: "How long polling loops were held, all together: what PHP's workers would have waited.",
		}, func() float64 {
			_, held := g.admission.census(time.Now())
			return held.Seconds()
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "holdline", Name: "connections_limit", Help: "How many connections may be held (limits.connections, or what the open files allow).",
		}, func() float64 { return float64(g.settings().Limits.Connections) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "holdline", Name: "build_info", Help: "1, with the version and the commit it was built from.",
			ConstLabels: prometheus.Labels{"version": g.opt.Version, "commit": g.opt.Commit},
		}, func() float64 { return 1 }),
	)
}

// called adds the time since began. It is for defer.
func (m *metrics) called(call string, began time.Time) {
	took := time.Since(began)
	m.php.WithLabelValues(call).Add(took.Seconds())
	if call != callSend {
		m.forLoops.Add(int64(took))
	}
}

// loopsAsked is the time in which PHP was asked in a loop's place.
func (m *metrics) loopsAsked() time.Duration { return time.Duration(m.forLoops.Load()) }

// tallies are the counters of the status page: by their name, and by the value of
// their last label.
func (m *metrics) tallies() map[string]map[string]float64 {
	all := map[string]map[string]float64{}
	for _, name := range []string{"holdline_loops_total", "holdline_sends_total", "holdline_requests_refused_total"} {
		all[name] = map[string]float64{}
	}
	families, err := m.brief.Gather()
	if err != nil {
		return all // counters cannot fail to be read
	}
	for _, f := range families {
		for _, c := range f.GetMetric() {
			if labels := c.GetLabel(); len(labels) > 0 { // sorted by name; "how" comes behind "action"
				all[f.GetName()][labels[len(labels)-1].GetValue()] += c.GetCounter().GetValue()
			}
		}
	}
	return all
}

// countedSink counts what the tails publish.
type countedSink struct {
	wpdb.Sink
	m *metrics
}

// Publish implements wpdb.Sink.
func (s countedSink) Publish(ctx context.Context, b chat.Batch) error {
	if err := s.Sink.Publish(ctx, b); err != nil {
		return err
	}
	for i := range b.Events {
		kind := "other"
		switch t := b.Events[i].Type; t {
		case chat.TypeMessage, chat.TypeStored, chat.TypeStatus, chat.TypeReset:
			kind = string(t)
		}
		s.m.carried.WithLabelValues(kind).Inc()
	}
	s.m.published.Add(uint64(len(b.Events)))
	return nil
}

// countResumes counts clients that say where they have stopped. It runs before the
// handler and wraps nothing.
func (m *metrics) countResumes(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if over := transportOf(r); sse.LastEventID(r) != "" || over == overWS && r.URL.Query().Get("cursor") != "" {
			m.resumed.WithLabelValues(over.String()).Inc()
		}
		return next(c)
	}
}

// countedTransport counts what is passed on to PHP.
type countedTransport struct {
	inner http.RoundTripper
	m     *metrics
}

// RoundTrip implements http.RoundTripper.
func (t countedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.inner.RoundTrip(r)
	what, result := "page", "failed"
	if isAjax(r) {
		what = "ajax"
	}
	switch {
	case errors.Is(err, errSecretPoll):
		result = "withheld"
	case r.Context().Err() != nil && err != nil:
		result = "left"
	case err != nil:
	case resp.StatusCode >= http.StatusInternalServerError:
		result = "server_error"
	case resp.StatusCode >= http.StatusBadRequest:
		result = "client_error"
	default:
		result = "ok"
	}
	t.m.proxied.WithLabelValues(what, result).Inc()
	return resp, err
}

// stateCollector reads what is known elsewhere when it is asked.
type stateCollector struct{ g *Gateway }

// Describe sends nothing: some of it is there only once the site is attached.
func (c *stateCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	tell := func(kind prometheus.ValueType, name, help string, value float64, label ...string) {
		var names, values []string
		if len(label) == 2 {
			names, values = label[:1], label[1:]
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("holdline_"+name, help, names, nil), kind, value, values...)
	}
	held, _ := c.g.admission.census(time.Now())
	for t, n := range held {
		tell(prometheus.GaugeValue, "connections_by_transport", "Connections that count against the limits now.", float64(n), "transport", transport(t).String())
	}
	for t := range c.g.admission.delivered {
		tell(prometheus.CounterValue, "deliveries_total", "Events that were handed to clients' connections; an answer to a plugin's loop counts as one.",
			float64(c.g.admission.delivered[t].Load()), "transport", transport(t).String())
	}
	at := c.g.attached.Load()
	serving := 0.0
	if c.g.notServing(context.Background()) == "" {
		serving = 1
	}
	tell(prometheus.GaugeValue, "serving", "1 when new clients are served, as /readyz says.", serving)
	tell(prometheus.GaugeValue, "status_viewers", "Browsers that look at the status page.", float64(c.g.status.feed.count()))
	if at == nil {
		return
	}
	tell(prometheus.GaugeValue, "subscribers", "Who is subscribed to channels.", float64(at.hub.Subscribers()))
	tell(prometheus.CounterValue, "tellings_dropped_total", "Typing, presence, receipts and the like that found a queue full.", float64(at.hub.Dropped()))
	for name := range at.tailStats() {
		tell(prometheus.GaugeValue, "tail_lag_seconds", "How long ago rows were last read, while somebody listens.",
			c.g.status.history.lag(name).Seconds(), "source", name)
	}
}

// tailStats are those of all feeds, by name.
func (a *attached) tailStats() map[string]wpdb.TailStats {
	all := make(map[string]wpdb.TailStats, len(a.backend.Feeds))
	for _, f := range a.backend.Feeds {
		all[f.Tail.Name()] = f.Tail.Stats()
	}
	return all
}

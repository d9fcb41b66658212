package gateway

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"holdline/internal/chat"
	"holdline/internal/park"
	"holdline/wpdb"
)

// metrics are the gateway's own counters, on a registry of their own. All labels
// come from closed sets.
type metrics struct {
	registry   *prometheus.Registry
	opened     *prometheus.CounterVec // transport
	refused    *prometheus.CounterVec // reason
	auth       *prometheus.CounterVec // credential, result
	doorbells  *prometheus.CounterVec // bell
	loops      *prometheus.CounterVec // action, how
	ended      *prometheus.CounterVec // reason, kind
	sends      *prometheus.CounterVec // result
	events     *prometheus.CounterVec // type, result
	turnedAway *prometheus.CounterVec // reason
	stored     prometheus.Histogram
	workMetrics

	waiting atomic.Pointer[string] // why the site is not attached yet
}

func newMetrics(g *Gateway) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.opened = m.counter("connections_opened_total", "Held connections that were admitted.", "transport")
	m.refused = m.counter("requests_refused_total", "Requests that were not served, by reason.", "reason")
	m.auth = m.counter("auth_total", "Credentials that were checked.", "credential", "result")
	m.doorbells = m.counter("doorbells_total", "Times a doorbell asked for a read.", "bell")
	m.loops = m.counter("loops_total", "Polls of a plugin's own JavaScript, by who answers them.", "action", "how")
	m.ended = m.counter("connections_closed_total", "Connections that were closed, by reason and way of holding.", "reason", "kind")
	m.sends = m.counter("sends_total", "Messages that clients sent, by what they were told: a state, or the reason of a refusal.", "result")
	m.events = m.counter("client_events_total", "What else clients said, by type and result.", "type", "result")
	m.turnedAway = m.counter("connections_refused_total", "Connections that were closed as soon as they were accepted: too many are open and not held.", "reason")
	m.stored = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "holdline", Name: "stored_seconds", Help: "Time from the acceptance of a message to WordPress's word that it has stored it.",
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600},
	})
	for _, reason := range []string{tooManyOpen, tooManyFrom} {
		m.turnedAway.WithLabelValues(reason)
	}
	for _, transport := range []string{"sse", "ws", "poll"} {
		m.opened.WithLabelValues(transport)
	}
	for _, reason := range park.Reasons() {
		m.ended.WithLabelValues(reason.String(), "epoll")
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "holdline", Name: "connections_held", Help: "Connections held now.",
		}, func() float64 { return float64(g.lot.Held()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "holdline", Name: "connections_idle", Help: "Answered polls whose connection waits for the next request.",
		}, func() float64 { return float64(g.lot.Idle()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "holdline", Name: "connections_open", Help: "Connections that are open and not held: about to ask, being answered, or kept alive.",
		}, func() float64 { return float64(g.gate.open()) }),
		m.stored, &tailCollector{g}, &courierCollector{g}, &spoolCollector{g},
	)
	m.newWork(g)
	return m
}

func (m *metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "holdline", Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

// said counts what a client said. Types that nobody knows are one.
func (m *metrics) said(kind string, v verdict) {
	result := "accepted"
	switch {
	case v.refused != nil:
		result = v.refused.Reason
	case kind == typeSend:
		result = v.state
	}
	switch chat.Type(kind) {
	case typeSend:
		m.sends.WithLabelValues(result).Inc()
		return
	case chat.TypeTyping, chat.TypeSeen, chat.TypeDelivered, chat.TypeSignal:
	default:
		kind = "unknown"
	}
	m.events.WithLabelValues(kind, result).Inc()
}

// closed is the Lot's report of an end.
func (m *metrics) closed(why park.Reason, kind string) {
	m.ended.WithLabelValues(why.String(), kind).Inc()
}

// notReady remembers why the site is not attached, for /readyz.
func (m *metrics) notReady(err error) {
	why := err.Error()
	if advice := wpdb.Classify(err).Advice(); advice != "" {
		why += ": " + advice
	}
	m.waiting.Store(&why)
}

// tailCollector reads the tails' own counters when it is asked.
type tailCollector struct{ g *Gateway }

func tailDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("holdline_tail_"+name, help, []string{"source"}, nil)
}

// Describe sends nothing: the collector is unchecked, since there are no tails
// before the site is attached.
func (c *tailCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *tailCollector) Collect(out chan<- prometheus.Metric) {
	at := c.g.attached.Load()
	if at == nil {
		return
	}
	for _, f := range at.backend.Feeds {
		s := f.Tail.Stats()
		counter := func(name, help string, value float64) {
			out <- prometheus.MustNewConstMetric(tailDesc(name, help), prometheus.CounterValue, value, f.Tail.Name())
		}
		counter("reads_total", "Queries of the message table.", float64(s.Reads))
		counter("read_seconds_total", "Time spent in these queries.", s.Busy.Seconds())
		counter("rows_total", "Rows handed on.", float64(s.Rows))
		counter("late_rows_total", "Rows that were committed after a higher id.", float64(s.Late))
		counter("gaps_given_up_total", "Skipped ids that never came.", float64(s.GivenUp))
		counter("resets_total", "Times the table's ids began again.", float64(s.Resets))
		counter("errors_total", "Reads that failed.", float64(s.Errors))
		out <- prometheus.MustNewConstMetric(tailDesc("last_id", "Highest id read."), prometheus.GaugeValue, float64(s.Last), f.Tail.Name())
	}
}

// courierCollector reads the courier's counters when it is asked.
type courierCollector struct{ g *Gateway }

// Describe sends nothing: before the site is attached there is no courier.
func (c *courierCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *courierCollector) Collect(out chan<- prometheus.Metric) {
	at := c.g.attached.Load()
	if at == nil || at.backend.Loops == nil {
		return
	}
	s := at.backend.Loops.Courier.Stats()
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("holdline_sync_"+name, help, labels, nil)
	}
	calls := desc("calls_total", "Calls to the companion plugin, by result.", "result")
	for result, n := range s.Calls {
		out <- prometheus.MustNewConstMetric(calls, prometheus.CounterValue, float64(n), result)
	}
	out <- prometheus.MustNewConstMetric(desc("dropped_total", "Writes that never reached WordPress."), prometheus.CounterValue, float64(s.Dropped))
	out <- prometheus.MustNewConstMetric(desc("queued", "Writes that wait for WordPress."), prometheus.GaugeValue, float64(s.Queued))
	if !s.LastSuccess.IsZero() {
		out <- prometheus.MustNewConstMetric(desc("last_success_seconds", "When WordPress last took a batch, Unix time."),
			prometheus.GaugeValue, float64(s.LastSuccess.Unix()))
	}
}

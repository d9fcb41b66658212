package gateway

import (
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
)

var descName = regexp.MustCompile(`fqName: "([^"]+)"`)

// MetricNames are those of all metrics that the gateway can have, also of those
// that nothing was counted by yet. The unchecked collectors tell theirs only once
// the site is attached.
func (g *Gateway) MetricNames() map[string]bool {
	names := make(map[string]bool)
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		g.metrics.registry.Describe(descs)
	}()
	for d := range descs {
		names[descName.FindStringSubmatch(d.String())[1]] = true
	}
	collected := make(chan prometheus.Metric)
	go func() {
		defer close(collected)
		g.metrics.registry.Collect(collected)
	}()
	for m := range collected {
		names[descName.FindStringSubmatch(m.Desc().String())[1]] = true
	}
	return names
}

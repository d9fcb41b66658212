package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// binWidth is one bar of a histogram of who came back when.
const binWidth = 250 * time.Millisecond

// upgradeReport is a trouble as it is printed and stored. Times are in
// milliseconds, memory in bytes.
type upgradeReport struct {
	Kind       string           `json:"kind"`
	Serving    float64          `json:"successor_serving_ms"`
	Drained    float64          `json:"old_ended_ms"`
	OldRSS     int64            `json:"old_rss"`
	NewRSS     int64            `json:"new_rss"`
	Trips      int              `json:"reconnects"`
	Cut        int              `json:"cut_without_a_word"`
	Refused    int              `json:"refused"`
	WhyCut     string           `json:"first_cut,omitempty"`
	WhyRefused string           `json:"first_refusal,omitempty"`
	Missing    int              `json:"never_came_back"`
	Away       [3]float64       `json:"away_ms_p50_p99_max"`
	BinWidth   float64          `json:"bin_ms"`
	Bins       map[string][]int `json:"reconnects_per_bin"` // by transport: attempts, by the time since the signal
}

// summary makes a trouble's report; transportAt names a client's transport.
func (t *trouble) summary(transportAt func(client int) string) upgradeReport {
	u := upgradeReport{
		Kind: t.kind, Serving: milliseconds(t.serving), Drained: milliseconds(t.drained),
		OldRSS: t.before.rss, NewRSS: t.after.rss, Trips: len(t.log.trips), Cut: t.log.cut, Refused: t.log.refused,
		Missing: t.missing, BinWidth: milliseconds(binWidth), Bins: map[string][]int{},
	}
	if t.log.whyCut != nil {
		u.WhyCut = t.log.whyCut.Error()
	}
	if t.log.whyRefused != nil {
		u.WhyRefused = t.log.whyRefused.Error()
	}
	var away []time.Duration
	for _, trip := range t.log.trips {
		away = append(away, trip.back-trip.left)
		over, bin := transportAt(int(trip.client)), int((trip.tried-t.begun)/binWidth)
		for len(u.Bins[over]) <= bin {
			u.Bins[over] = append(u.Bins[over], 0)
		}
		u.Bins[over][bin]++
	}
	slices.Sort(away)
	for i, q := range []float64{0.5, 0.99, 1} {
		u.Away[i] = milliseconds(percentile(away, q))
	}
	return u
}

// recordUpgrade adds the figures of the whole scenario.
func (b *bench) recordUpgrade(r result, rows *rows, troubles []trouble) {
	at := place{transport: overAll, server: b.holdline.Name(), round: 1}
	add := func(metric, unit string, value float64) { b.report.add(at, "upgrade", metric, unit, value) }
	add("rows", "", float64(len(rows.sent)))
	add("rows a second", "1/s", float64(len(rows.sent))/max(rows.took.Seconds(), 1e-3))
	add("deliveries", "", float64(len(r.latencies)))
	add("lost", "", float64(r.missing))
	add("repeated", "", float64(r.duplicates+r.foreign))
	add("commit to client, p50", "ms", milliseconds(percentile(r.latencies, 0.5)))
	add("commit to client, p99", "ms", milliseconds(percentile(r.latencies, 0.99)))
	add("commit to client, most", "ms", milliseconds(percentile(r.latencies, 1)))
	refused, missing := 0, 0
	for i, t := range troubles {
		refused, missing = refused+t.log.refused, missing+t.missing
		u := t.summary(func(client int) string {
			return b.transportAt(client, min(b.upgradeClients, b.upgradeChannels))
		})
		b.report.Upgrade = append(b.report.Upgrade, u)
		at.round = i + 1
		add(t.kind+": reconnects", "", float64(u.Trips))
		add(t.kind+": cut without a word", "", float64(u.Cut))
		add(t.kind+": away, p50", "ms", u.Away[0])
		add(t.kind+": away, p99", "ms", u.Away[1])
		add(t.kind+": away, most", "ms", u.Away[2])
		add(t.kind+": successor serving after", "ms", u.Serving)
		add(t.kind+": old process ended after", "ms", u.Drained)
		add(t.kind+": rss of the old", "MB", float64(u.OldRSS)/1e6)
		add(t.kind+": rss of the new", "MB", float64(u.NewRSS)/1e6)
	}
	// Totals, as a median would forgive one bad turn of three.
	at.round = 1
	add("refused connects", "", float64(refused))
	add("never came back", "", float64(missing))
}

// mostBar is the width of the longest bar.
const mostBar = 60

// histogram prints when the clients came back: from the signal on, by the moment
// of their first attempt.
func (u *upgradeReport) histogram(w io.Writer) error {
	bins := 0
	for _, counts := range u.Bins {
		bins = max(bins, len(counts))
	}
	total, most := make([]int, bins), 1
	for bin := range total {
		for _, counts := range u.Bins {
			if bin < len(counts) {
				total[bin] += counts[bin]
			}
		}
		most = max(most, total[bin])
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n%s: %d reconnects, %d refused, %d cut without a word; away p50 %.0f ms, p99 %.0f ms, most %.0f ms\n",
		u.Kind, u.Trips, u.Refused, u.Cut, u.Away[0], u.Away[1], u.Away[2])
	fmt.Fprintf(&text, "the old process ended after %.0f ms with %.1f MB resident, the new one served after %.0f ms and has %.1f MB\n",
		u.Drained, float64(u.OldRSS)/1e6, u.Serving, float64(u.NewRSS)/1e6)
	for _, first := range [][2]string{{"cut", u.WhyCut}, {"refused", u.WhyRefused}} {
		if first[1] != "" {
			fmt.Fprintf(&text, "the first that was %s: %s\n", first[0], first[1])
		}
	}
	for bin, n := range total {
		fmt.Fprintf(&text, "%6.2f s %5d %s", (time.Duration(bin) * binWidth).Seconds(), n, strings.Repeat("#", (n*mostBar+most-1)/most))
		for _, over := range allTransports() {
			if counts := u.Bins[over]; bin < len(counts) && counts[bin] > 0 {
				fmt.Fprintf(&text, " %s %d", over, counts[bin])
			}
		}
		text.WriteByte('\n')
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("print a histogram: %w", err)
	}
	return nil
}

package gateway

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"holdline/config"
	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/live"
	"holdline/internal/outbox"
	"holdline/internal/spool"
	"holdline/wordpress"
	"holdline/wpdb/wplc"
)

// newSpeech stands on a site's feeds. It starts nothing; Run does, and the estate.
func (g *Gateway) newSpeech(h *hub.Hub, b *Backend) *speech {
	s := &speech{
		log: g.log, settings: g.settings, metrics: g.metrics, backend: b, hub: h, reads: make(chan read, maxReads),
	}
	s.rates.Store(newRates(g.settings().Limits.Sends))
	s.off.Store(notYet)
	opt := live.Options{Hub: h, Logger: g.log}
	if b.Loops != nil {
		opt.Read = s.flag
	}
	s.live = live.New(opt)
	if b.Store == nil {
		s.off.Store(&chat.Refusal{Reason: chat.ReasonUnsupported, Text: "This server takes no messages."})
	}
	return s
}

// Why messages are not taken, where that passes.
var (
	notYet  = &chat.Refusal{Reason: chat.ReasonUnavailable, Text: "The server is restarting: try again in a moment."}
	noPlace = &chat.Refusal{Reason: chat.ReasonUnavailable, Text: "This server has no place to keep messages; its log says why."}
)

// box is what messages lie in until WordPress has them.
type box struct {
	spool  *spool.Spool
	outbox *outbox.Outbox
}

// beginBox takes messages from now on. What it returns has them stored until ctx
// ends, then brings to an end what is under way and closes the disk.
func (s *speech) beginBox(ctx context.Context, disk *spool.Spool) func() error {
	b := &box{spool: disk, outbox: outbox.New(outbox.Options{
		Spool: disk, Store: timed{s.backend.Store, s.metrics.stored}, Hub: s.hub, Logger: s.log, Rows: s.rows,
	})}
	s.box.Store(b)
	s.off.Store(nil)
	return func() error { return s.runBox(ctx, b) }
}

func (s *speech) runBox(ctx context.Context, b *box) error {
	defer s.off.Store(notYet)
	spinning, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var both errgroup.Group
	both.Go(func() error { return b.spool.Run(spinning) })
	both.Go(func() error {
		defer stop()
		return b.outbox.Run(ctx)
	})
	err := both.Wait()
	if closing := b.spool.Close(); closing != nil {
		s.log.Error("the last messages may not be on the disk", "error", closing)
	}
	return err
}

// witness is a source that can tell which messages of a chat's side have a row.
type witness interface {
	Sent(ctx context.Context, name, kind string, after int64, clientIDs []string) (map[string]int64, error)
}

var _ witness = (*wplc.Source)(nil)

// rows implements outbox.Options.Rows.
func (s *speech) rows(ctx context.Context, ms []outbox.Message) ([]int64, error) {
	ids := make([]int64, len(ms))
	source, name, err := chat.SplitChannel(ms[0].Channel)
	if err != nil {
		return nil, err
	}
	feed := s.backend.feed(source)
	if feed == nil {
		return ids, nil
	}
	from, ok := feed.Speech.(witness)
	if !ok {
		return ids, nil
	}
	for _, kind := range []string{chat.KindVisitor, chat.KindAgent} {
		var asked []string
		after := int64(math.MaxInt64)
		for _, m := range ms {
			if m.From.Kind == kind {
				asked, after = append(asked, m.ClientID), min(after, m.After)
			}
		}
		sent, err := from.Sent(ctx, name, kind, after, asked)
		if err != nil {
			return nil, err
		}
		for i, m := range ms {
			if m.From.Kind == kind {
				ids[i] = sent[m.ClientID]
			}
		}
	}
	return ids, nil
}

// openSpool opens the folder of accepted messages. The error tells the operator
// what to do; it is a spool.ErrLocked while another process has the folder.
func (g *Gateway) openSpool(env func(string) (string, bool)) (*spool.Spool, error) {
	dirs := []string{g.cfg.Spool.Dir}
	if g.cfg.Spool.Dir == "" {
		if g.cfg.StateDir == config.StateOff {
			return nil, errors.New("state_dir is off: set spool.dir, or state_dir to a folder")
		}
		dirs = g.cfg.StateDirs(env)
		for i, dir := range dirs {
			dirs[i] = filepath.Join(dir, siteName(g.cfg.Database), "spool")
		}
	}
	sync, err := spool.ParseSync(g.cfg.Spool.Sync)
	if err != nil {
		return nil, fmt.Errorf("spool.sync: %w", err)
	}
	opt := spool.Options{
		Logger: g.log, Sync: sync, MaxBytes: int64(g.cfg.Spool.MaxBytes), MaxBody: maxSpooled, Remember: remembered,
	}
	disk, err := openFirst(dirs, func(dir string) (*spool.Spool, error) { return spool.Open(dir, opt) }, spool.ErrLocked)
	switch {
	case errors.Is(err, spool.ErrLocked):
		return nil, fmt.Errorf("another Holdline of this site has the messages; one of them has to be stopped, or needs a spool.dir of its own: %w", err)
	case err != nil:
		return nil, fmt.Errorf("no folder for messages: set spool.dir or state_dir to one that this process may write to\n%w", err)
	}
	return disk, nil
}

// remembered is how long a message is known after it was stored: a browser that
// was closed before it heard so asks again when it is opened.
const remembered = 24 * time.Hour

// maxSpooled is the size of a message in the spool: up to six bytes for one of its
// text, which is what JSON makes of a control character, and who said it where. It
// goes by the most that limits.message may be, since that may be changed at any time.
const maxSpooled = 6*64<<10 + 4<<10

// timed measures how long messages wait for their row.
type timed struct {
	inner   outbox.Store
	seconds prometheus.Observer
}

// Store implements outbox.Store.
func (t timed) Store(ctx context.Context, ms []outbox.Message) ([]outbox.Fate, error) {
	fates, err := t.inner.Store(ctx, ms)
	for i := range min(len(ms), len(fates)) {
		if fates[i].ID > 0 {
			t.seconds.Observe(time.Since(ms[i].SentAt).Seconds())
		}
	}
	return fates, err
}

// companionSends tells why the companion plugin would store nothing. It waits for
// the plugin's first word only right after the start: while WordPress is away
// every message would wait, one behind the other.
func companionSends(courier *wordpress.Courier) func(context.Context) *chat.Refusal {
	patience := time.Now().Add(helloPatience)
	return func(ctx context.Context) *chat.Refusal {
		ctx, cancel := context.WithDeadline(ctx, patience)
		defer cancel()
		hello, err := courier.Hello(ctx)
		switch {
		case errors.Is(err, wordpress.ErrAbsent), errors.Is(err, wordpress.ErrRefused):
			return &chat.Refusal{Reason: chat.ReasonUnavailable, Text: "The site takes no messages from here now; try again later."}
		case err != nil, hello.Version == 0:
			return nil // WordPress has not answered yet: the message waits for it
		case !hello.Hello.Sends:
			return &chat.Refusal{Reason: chat.ReasonUnsupported, Text: "The site's chat plugin, or Holdline's plugin beside it, is too old to take messages from here."}
		}
		return nil
	}
}

// spoolCollector reads the counters of the outbox and its spool when it is asked.
type spoolCollector struct{ g *Gateway }

// Describe sends nothing: before the site is attached there is no spool.
func (c *spoolCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *spoolCollector) Collect(out chan<- prometheus.Metric) {
	at := c.g.attached.Load()
	if at == nil || at.speech.box.Load() == nil {
		return
	}
	box := at.speech.box.Load()
	tell := func(kind prometheus.ValueType, name, help string, value float64) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("holdline_"+name, help, nil, nil), kind, value)
	}
	disk, sent := box.spool.Stats(), box.outbox.Stats()
	tell(prometheus.GaugeValue, "spool_messages", "Accepted messages that WordPress has not stored.", float64(disk.Waiting))
	tell(prometheus.GaugeValue, "spool_bytes", "Bytes of the spool's files.", float64(disk.Bytes))
	oldest := 0.0
	if !disk.Oldest.IsZero() {
		oldest = time.Since(disk.Oldest).Seconds()
	}
	tell(prometheus.GaugeValue, "spool_oldest_seconds", "Age of the oldest message that WordPress has not stored.", oldest)
	tell(prometheus.CounterValue, "spool_sync_errors_total", "Times the disk did not take what was written.", float64(disk.SyncErrors))
	tell(prometheus.GaugeValue, "outbox_delayed_channels", "Channels whose next message could not be stored at the last try.", float64(sent.Delayed))
	tell(prometheus.CounterValue, "outbox_stored_total", "Messages that WordPress has stored.", float64(sent.Stored))
	tell(prometheus.CounterValue, "outbox_refused_total", "Messages that WordPress refused, and that were withdrawn.", float64(sent.Refused))
	tell(prometheus.CounterValue, "outbox_calls_total", "Calls that were to store messages.", float64(sent.Calls))
	tell(prometheus.CounterValue, "outbox_failures_total", "Of these, calls that stored nothing.", float64(sent.Failures))
}

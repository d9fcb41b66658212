package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// maxClients leaves room below the 20,000 files that a process may open on
// common hosts.
const maxClients = 19000

// options are the flags, validated.
type options struct {
	holdline        string
	schema          string
	peer            string
	json            string
	check           bool
	tls             bool
	clients         int
	channels        int
	idleClients     int
	idleChannels    int
	latencyClients  int
	latencyMessages int
	slowClients     int
	slowStalled     int
	upgradeClients  int
	upgradeChannels int
	upgradeRate     int
	upgrades        int
	restarts        int
	starts          int
	rounds          int
	loops           int
	visitors        int
	children        int
	pages           int
	seconds         int
	messages        int
	size            int
	every           time.Duration
	interval        time.Duration
	settle          time.Duration
	timeout         time.Duration
	transports      []string
	scenarios       []string
	siteLoops       []string
}

func allTransports() []string { return []string{overSSE, overPoll, overWS} }

func allScenarios() []string {
	return []string{"memory", "fanout", "leave", "idle", "latency", "slow", "queries", "start"}
}

// upgradeScenario is measured only when it is asked for: it takes minutes.
const upgradeScenario = "upgrade"

// siteScenario runs alone: it brings a WordPress of its own.
const siteScenario = "site"

func allSiteLoops() []string { return []string{"php", "holdline"} }

func (o *options) wants(scenario string) bool { return slices.Contains(o.scenarios, scenario) }

// window is how long idle visitors are watched.
func (o *options) window() time.Duration { return time.Duration(o.seconds) * time.Second }

// parseOptions reads the command line; help goes to out.
func parseOptions(args []string, out io.Writer) (options, error) {
	var o options
	f := pflag.NewFlagSet("holdbench", pflag.ContinueOnError)
	f.SetOutput(out)
	f.SortFlags = false
	f.StringVar(&o.holdline, "holdline", "bin/holdline", "the program to measure")
	f.StringVar(&o.schema, "schema", "testdata/schema", "folder with wordpress.sql and wplc-8.sql")
	f.StringVar(&o.peer, "peer", "", "measure nchan beside it, alternating")
	f.StringSliceVar(&o.transports, "transport", allTransports(), "what to measure over")
	f.StringSliceVar(&o.scenarios, "scenario", allScenarios(), "what to measure; also upgrade, and site, alone, which is a real WordPress")
	f.IntVar(&o.rounds, "rounds", 3, "how often; the table has the medians")
	f.IntVar(&o.clients, "clients", 10000, "held clients")
	f.IntVar(&o.channels, "channels", 1, "channels they are spread over (1: each row goes to all)")
	f.IntVar(&o.messages, "messages", 20, "rows of the fan-out")
	f.IntVar(&o.size, "size", 128, "bytes of a body")
	f.DurationVar(&o.every, "every", 500*time.Millisecond, "time between rows of the fan-out")
	f.DurationVar(&o.interval, "interval", 50*time.Millisecond, "Holdline's tail.interval")
	f.IntVar(&o.idleClients, "idle-clients", maxClients, "held clients of the idle scenario")
	f.IntVar(&o.idleChannels, "idle-channels", maxClients, "channels of the idle scenario, at most one for each client")
	f.IntVar(&o.latencyClients, "latency-clients", 100, "clients of the latency scenario")
	f.IntVar(&o.latencyMessages, "latency-messages", 100, "rows of the latency and the site scenario, of each kind")
	f.IntVar(&o.slowClients, "slow-clients", 400, "clients of the slow scenario that keep reading")
	f.IntVar(&o.slowStalled, "slow-stalled", 100, "clients of the slow scenario that stop")
	f.IntVar(&o.upgradeClients, "upgrade-clients", 5000, "held clients of the upgrade scenario, over all transports")
	f.IntVar(&o.upgradeChannels, "upgrade-channels", 1000, "channels they are spread over")
	f.IntVar(&o.upgradeRate, "upgrade-rate", 50, "rows a second of the upgrade scenario")
	f.IntVar(&o.upgrades, "upgrades", 3, "times Holdline is upgraded under them (SIGUSR2)")
	f.IntVar(&o.restarts, "restarts", 3, "times it is restarted (SIGTERM, and a new process)")
	f.IntVar(&o.starts, "starts", 10, "processes of the start scenario")
	f.IntVar(&o.loops, "loops", 1, "threads that read the clients' sockets")
	f.IntVar(&o.visitors, "visitors", 200, "visitors of the site scenario")
	f.IntVar(&o.children, "children", 5, "PHP workers of the site scenario")
	f.IntVar(&o.pages, "pages", 200, "page loads of the site scenario")
	f.StringSliceVar(&o.siteLoops, "loop", allSiteLoops(), "who holds the visitors of the site scenario")
	f.IntVar(&o.seconds, "seconds", 60, "how long the site scenario watches idle visitors")
	// Garbage collectors and the kernel's deferred work have had their turn by then.
	f.DurationVar(&o.settle, "settle", 8*time.Second, "wait this long behind the last client before measuring")
	f.DurationVar(&o.timeout, "timeout", time.Hour, "give up after this long")
	f.StringVar(&o.json, "json", "", "write all figures to this file")
	f.BoolVar(&o.tls, "tls", false, "Holdline speaks TLS; a relay in this process adds to latencies, and to the kernel's memory")
	f.BoolVar(&o.check, "check", false, "exit with 1 when a bar is not met")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("holdbench takes flags only, not %q", f.Arg(0))
	}
	return o, o.validate()
}

// validate lists everything that is wrong.
func (o *options) validate() error {
	var wrong []error
	for _, n := range []struct {
		flag             string
		value, low, high int
	}{
		{"rounds", o.rounds, 1, 100},
		{"clients", o.clients, 1, maxClients},
		{"channels", o.channels, 1, maxClients},
		{"idle-clients", o.idleClients, 1, maxClients},
		{"idle-channels", o.idleChannels, 1, maxClients},
		{"latency-clients", o.latencyClients, 1, maxClients},
		{"slow-clients", o.slowClients, 1, maxClients / 2},
		{"slow-stalled", o.slowStalled, 1, maxClients / 2},
		{"upgrade-clients", o.upgradeClients, 1, maxClients},
		{"upgrade-channels", o.upgradeChannels, 1, maxClients},
		{"upgrade-rate", o.upgradeRate, 1, 1000},
		{"upgrades", o.upgrades, 0, 100},
		{"restarts", o.restarts, 0, 100},
		{"starts", o.starts, 1, 1000},
		{"messages", o.messages, 1, 1000},
		{"latency-messages", o.latencyMessages, 1, 10000},
		{"size", o.size, 16, 60000},
		{"loops", o.loops, 1, 64},
		{"visitors", o.visitors, 1, 1000},
		{"children", o.children, 2, 500},
		{"pages", o.pages, 1, 100000},
		{"seconds", o.seconds, 1, 3600},
	} {
		if n.value < n.low || n.value > n.high {
			wrong = append(wrong, fmt.Errorf("--%s is %d, not between %d and %d", n.flag, n.value, n.low, n.high))
		}
	}
	for _, t := range o.transports {
		if !slices.Contains(allTransports(), t) {
			wrong = append(wrong, fmt.Errorf("--transport: %q is none of %q", t, allTransports()))
		}
	}
	for _, s := range o.scenarios {
		if s == siteScenario && len(o.scenarios) > 1 {
			wrong = append(wrong, errors.New("--scenario: site runs alone"))
		}
		if known := append(allScenarios(), upgradeScenario, siteScenario); !slices.Contains(known, s) {
			wrong = append(wrong, fmt.Errorf("--scenario: %q is none of %q", s, known))
		}
	}
	if o.peer != "" && o.peer != "nchan" {
		wrong = append(wrong, fmt.Errorf("--peer: the only peer is nchan, not %q", o.peer))
	}
	for _, l := range o.siteLoops {
		if !slices.Contains(allSiteLoops(), l) {
			wrong = append(wrong, fmt.Errorf("--loop: %q is none of %q", l, allSiteLoops()))
		}
	}
	if o.visitors < o.children {
		wrong = append(wrong, fmt.Errorf("--visitors is %d, fewer than the %d PHP workers (--children)", o.visitors, o.children))
	}
	if o.every <= 0 || o.interval <= 0 || o.timeout <= 0 {
		wrong = append(wrong, errors.New("--every, --interval and --timeout must be above zero"))
	}
	return errors.Join(wrong...)
}

// most is the number of clients that the process must be able to hold.
func (o *options) most() int {
	return max(o.clients, o.idleClients, o.latencyClients, o.slowClients+o.slowStalled, o.upgradeClients)
}

// checkFiles fails when this process may not open a file for each client. Go
// has already raised the soft limit to the hard one.
func (o *options) checkFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if need := uint64(o.most() + 100); uint64(limit.Max) < need {
		return fmt.Errorf("%d clients need %d open files, this process may have %d (ulimit -Hn)", o.most(), need, limit.Max)
	}
	return nil
}

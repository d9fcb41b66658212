//go:build e2e && linux

package soak_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// namespace is a network of its own with one cable to this machine. A crowd in another
// process lives there.
type namespace struct {
	t       *testing.T
	name    string
	cable   string // this machine's end
	address string // of this machine, over the cable
	loss    string // how a loose cable was made
	flap    chan struct{}
	flapped chan error

	in  io.WriteCloser
	out *json.Decoder
}

// newNamespace lays the cable.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a network that is cut takes a network namespace, and making one takes root: run this test as root")
	}
	pid := os.Getpid()
	n := &namespace{t: t, name: fmt.Sprintf("soak%d", pid), cable: fmt.Sprintf("soak%d", pid)}
	// 198.18.0.0/15 is for tests of networks (RFC 2544); a /30 of it for each process.
	net := fmt.Sprintf("198.18.%d.", pid>>6&0xff)
	here, there := pid&63*4+1, pid&63*4+2
	n.address = fmt.Sprint(net, here)
	n.ip("netns", "add", n.name)
	t.Cleanup(func() {
		exec.Command("ip", "link", "del", n.cable).Run()
		if out, err := exec.Command("ip", "netns", "del", n.name).CombinedOutput(); err != nil {
			t.Errorf("ip netns del %s: %v: %s", n.name, err, out)
		}
	})
	n.ip("link", "add", n.cable, "type", "veth", "peer", "name", "eth0", "netns", n.name)
	n.ip("addr", "add", fmt.Sprint(n.address, "/30"), "dev", n.cable)
	n.ip("-n", n.name, "addr", "add", fmt.Sprint(net, there, "/30"), "dev", "eth0")
	n.ip("-n", n.name, "link", "set", "lo", "up")
	n.ip("-n", n.name, "link", "set", "eth0", "up")
	n.plug(true)
	return n
}

func (n *namespace) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// plug puts the cable in, or pulls it.
func (n *namespace) plug(in bool) {
	n.t.Helper()
	n.ip("link", "set", n.cable, map[bool]string{true: "up", false: "down"}[in])
}

// loosen has the cable lose a fifth of all packets. Where the kernel cannot (it has no
// sch_netem), the cable is out for every other quarter of a second.
func (n *namespace) loosen() error {
	if n.qdisc("replace", "netem", "loss", "20%") == nil {
		n.loss = "netem, 20%"
		return nil
	}
	n.loss = "out and in, for want of sch_netem"
	n.flap = make(chan struct{})
	n.flapped = make(chan error, 1)
	go func(stop <-chan struct{}, done chan<- error) { done <- n.flutter(stop) }(n.flap, n.flapped)
	return nil
}

// flutter pulls the cable for a moment, twice a second.
func (n *namespace) flutter(stop <-chan struct{}) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for out := false; ; out = !out {
		state := map[bool]string{false: "up", true: "down"}[out]
		if err := exec.Command("ip", "link", "set", n.cable, state).Run(); err != nil {
			return fmt.Errorf("ip link set %s: %w", state, err)
		}
		select {
		case <-tick.C:
		case <-stop:
			return exec.Command("ip", "link", "set", n.cable, "up").Run()
		}
	}
}

// fasten ends what loosen began.
func (n *namespace) fasten() error {
	if n.flap == nil {
		return n.qdisc("del")
	}
	close(n.flap)
	n.flap = nil
	return <-n.flapped
}

func (n *namespace) qdisc(what string, args ...string) error {
	args = append([]string{"qdisc", what, "dev", n.cable, "root"}, args...)
	if out, err := exec.Command("tc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("tc %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// childEnv holds a crowd's plan as JSON for this very program in another process.
const childEnv = "SOAK_CROWD"

// populate has a crowd live there.
func (n *namespace) populate(plan crowdPlan) {
	n.t.Helper()
	text, err := json.Marshal(plan)
	if err != nil {
		n.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", n.name, self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if n.in, err = cmd.StdinPipe(); err != nil {
		n.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	n.out = json.NewDecoder(out)
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { // its input's end ends it
		n.in.Close()
		if err := cmd.Wait(); err != nil {
			n.t.Error("the crowd in the namespace: ", err)
		}
	})
}

// move has everybody there come again.
func (n *namespace) move() { n.tell("move") }

// settle has everybody there stay.
func (n *namespace) settle() { n.tell("settle") }

// disperse has everybody there leave, and waits.
func (n *namespace) disperse() {
	n.tell("disperse")
	var done bool
	n.hear(&done)
}

func (n *namespace) testify() (all []testimony) {
	n.tell("testify")
	n.hear(&all)
	return all
}

func (n *namespace) tell(word string) {
	n.t.Helper()
	if _, err := fmt.Fprintln(n.in, word); err != nil {
		n.t.Fatal("the crowd in the namespace: ", err)
	}
}

func (n *namespace) hear(to any) {
	n.t.Helper()
	if err := n.out.Decode(to); err != nil {
		n.t.Fatal("the crowd in the namespace: ", err)
	}
}

// liveThere is the other process: it does what it is told on its input, and ends with it.
func liveThere(text string) error {
	var plan crowdPlan
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		return err
	}
	c, err := gather(plan)
	if err != nil {
		return err
	}
	c.move(context.Background(), arrival)
	defer c.disperse()
	out := json.NewEncoder(os.Stdout)
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		switch orders.Text() {
		case "move":
			c.move(context.Background(), arrival)
		case "settle":
			c.settle()
		case "testify":
			err = out.Encode(c.testify())
		case "disperse":
			c.disperse()
			err = out.Encode(true)
		}
		if err != nil {
			return err
		}
	}
	return orders.Err()
}

// arrival is over how much time a crowd comes.
const arrival = 5 * time.Second

//go:build e2e && linux

package soak_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	runFor  = flag.Duration("soak.for", 3*time.Minute, "how long there is trouble")
	size    = flag.Int("soak.clients", 300, "how many clients behave well")
	seed    = flag.Uint64("soak.seed", 0, "what is done in which order; 0 is a new one")
	race    = flag.Bool("soak.race", false, "build Holdline with the race detector; then the heap is judged instead of the resident memory")
	only    = flag.String("soak.only", "", "these troubles alone, by name and with commas between; to look at one more closely")
	useFile = flag.String("soak.program", "", "test this holdline instead of the checkout's")
)

func TestMain(m *testing.M) {
	if plan := os.Getenv(childEnv); plan != "" {
		exitOn(liveThere(plan))
		os.Exit(0)
	}
	flag.Parse()
	dir, err := os.MkdirTemp("", "soakbin")
	exitOn(err)
	if program = *useFile; program == "" {
		program = filepath.Join(dir, "holdline")
		args := []string{"build", "-o", program}
		if *race {
			args = append(args, "-race")
		}
		if out, err := exec.Command("go", append(args, "../../cmd/holdline")...).CombinedOutput(); err != nil {
			exitOn(fmt.Errorf("build the program: %w\n%s", err, out))
		}
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is the whole of it.
type run struct {
	*stage
	seed     uint64
	ledger   *ledger
	writers  *writers
	talkers  []*talker
	crowd    *crowd
	net      *namespace
	mischief *mischief
	others   *strangers
	open     []int64 // chats for all
	all      []int64 // and those of the plugin's loops

	background sync.WaitGroup
}

// Shares of a run.
const (
	chats       = 40
	talkerChats = 8
	loopShare   = 20 // one client in so many uses the plugin's loop
	thereShare  = 10 // one in so many lives in the namespace
	lastPart    = 4  // one part in so many has no end of Holdline
)

// TestSoak is a bad day.
func TestSoak(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), *runFor+15*time.Minute)
	defer cancel()
	r := &run{seed: *seed, ledger: newLedger()}
	if r.seed == 0 {
		r.seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test -tags e2e ./e2e/soak -soak.seed=%d -soak.for=%v -soak.clients=%d", r.seed, *runFor, *size)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	rng := rand.New(rand.NewPCG(r.seed, 1<<40))
	net := newNamespace(t) // says at once if it may not
	r.stage, r.net = newStage(ctx, t, rng), net
	for range chats {
		r.open = append(r.open, r.chat())
	}
	r.writers = &writers{db: r.writersDB(), ledger: r.ledger, chats: r.open, rng: rand.New(rand.NewPCG(r.seed, 1<<41)), rate: 10}
	r.holdline.start(ctx)
	r.gatherAll()
	r.live(rng)
	judged, table := r.settle()
	after := r.holdline.quiesce(ctx)
	r.holdline.profile(ctx, "lived")
	fresh := r.fresh()
	r.holdline.profile(ctx, "fresh")
	r.report(judged, table, fresh, after)
}

// writersDB is for many sessions at once.
func (r *run) writersDB() *sql.DB {
	db := r.site.DB()
	db.SetMaxOpenConns(150)
	db.SetMaxIdleConns(50)
	return db
}

// fresh weighs a new process on the same tables and the same state, after the same clients
// have come and gone as they do, have been told many rows, and have left, and that three
// times, twice all at once as after a cut: what Holdline keeps by design, such as its ring
// of the newest rows, it has then, and what Go's runtime keeps of a heap that was as large
// and as stirred. What the other has more came with the day.
func (r *run) fresh() gauge {
	r.t.Helper()
	r.holdline.stop()
	r.holdline.start(r.ctx)
	for _, over := range []time.Duration{arrival, 0, 0} {
		r.crowd.move(r.ctx, over)
		r.net.move()
		pass(r.ctx, arrival+2*time.Second)
		r.hurry(2000)
		pass(r.ctx, 10*time.Second)
		r.crowd.disperse()
		r.net.disperse()
	}
	return r.holdline.quiesce(r.ctx)
}

// hurry writes as many rows as in minutes of the day, with as many transactions open.
func (r *run) hurry(rows int) {
	const haste, each = 10, 2 // rows of a transaction, roundly
	r.writers.haste = haste
	ctx, cancel := context.WithTimeout(r.ctx, time.Duration(float64(rows)/each/r.writers.rate/haste*float64(time.Second)))
	defer cancel()
	r.writers.run(ctx)
}

func (r *run) fronts() []string { return []string{r.site.URL, r.direct()} }

// gatherAll makes everybody who takes part.
func (r *run) gatherAll() {
	r.t.Helper()
	var err error
	loops, there := max(1, *size/loopShare), max(1, *size/thereShare)
	r.crowd, err = gather(crowdPlan{Name: "here", Seed: r.seed + 1, Size: *size - loops - there, Fronts: r.fronts(), Chats: r.open, Secret: secret})
	r.must(err)
	r.gatherLoops(loops)
	r.writers.chats = r.all
	r.net.populate(crowdPlan{
		Name: "there", Seed: r.seed + 2, Size: there, Fronts: []string{"http://" + r.net.address + ":" + r.port}, Chats: r.open, Secret: secret,
	})
	for i := range talkerChats * 2 {
		as, subject := "visitor", fmt.Sprintf("talker-%d", i)
		if i%2 == 1 {
			as, subject = "agent", "wp:1"
		}
		token, err := mint(secret, subject, r.open[i/2:i/2+1])
		r.must(err)
		r.talkers = append(r.talkers, &talker{
			name: fmt.Sprintf("talker%02d", i), as: as, base: r.fronts()[i/4%2], chat: r.open[i/2], token: token, socket: i%3 > 0,
			rng: rand.New(rand.NewPCG(r.seed+3, uint64(i))), ledger: r.ledger, http: &http.Client{Transport: &http.Transport{}},
		})
	}
	token, err := mint(secret, "stranger", r.open[:1])
	r.must(err)
	r.others = &strangers{fronts: []string{strings.TrimPrefix(r.site.URL, "http://"), "127.0.0.1:" + r.port}, chat: r.open[0], token: token}
}

// gatherLoops starts the chats of those who use the plugin's loop, through nginx, some at
// a time: PHP makes them.
func (r *run) gatherLoops(n int) {
	r.t.Helper()
	errs := make(chan error, n)
	places := make(chan struct{}, children/2)
	var persons []*person
	for i := range n {
		w := []way{byLoop, byLoneLoop}[i%2]
		p := newPerson(fmt.Sprintf("loop-%d", i), w, r.site.URL, "", nil, rand.New(rand.NewPCG(r.seed+4, uint64(i))))
		persons = append(persons, p)
		go func() {
			places <- struct{}{}
			errs <- p.startChat(r.ctx)
			<-places
		}()
	}
	for range n {
		r.must(<-errs)
	}
	r.all = append(r.all, r.open...)
	for _, p := range persons {
		r.exec("UPDATE wp_wplc_chat_sessions SET status = 3, agent_id = 1 WHERE id = ?", p.loop.chat)
		r.all = append(r.all, p.loop.chat)
	}
	r.crowd.persons = append(r.crowd.persons, persons...)
}

// live is the day itself.
func (r *run) live(rng *rand.Rand) {
	r.crowd.move(r.ctx, arrival)
	pass(r.ctx, arrival+2*time.Second)
	day, evening := context.WithCancel(r.ctx)
	hush := make(chan struct{})
	r.background.Go(func() { r.writers.run(day) })
	for _, t := range r.talkers {
		r.background.Go(func() { t.talk(r.ctx, hush) })
	}
	r.background.Go(func() { r.others.loiter(day, max(1, *size/200), r.seed) })
	r.mischief = &mischief{
		stage: r.stage, net: r.net, writers: r.writers, crowd: r.crowd, rng: rng, quick: *runFor < 10*time.Minute, count: map[string]int{}, marks: map[int]mark{},
	}
	began := time.Now()
	r.mischief.until(began.Add(*runFor * (lastPart - 1) / lastPart))
	r.mischief.reform()
	r.mischief.until(began.Add(*runFor))
	r.clock.step(r.t, 0)
	evening()
	close(hush)
	r.background.Wait()
}

// settle has everybody come for the last time, and waits until nothing is missing any
// more. Then there is a moment for what comes once too often.
func (r *run) settle() (*judgement, *table) {
	r.t.Helper()
	r.crowd.settle()
	r.net.settle()
	r.mischief.mark("the end", 30*time.Second)
	late := time.Now().Add(90 * time.Second)
	for time.Now().Before(late) {
		waiting, err := r.holdline.metric(r.ctx, "holdline_spool_messages")
		r.must(err)
		if waiting == 0 {
			if j, _ := r.judge(); j.missing == 0 {
				break
			}
		}
		pass(r.ctx, 2*time.Second)
	}
	pass(r.ctx, 3*time.Second)
	r.crowd.disperse()
	r.net.disperse()
	return r.judge()
}

func (r *run) judge() (*judgement, *table) {
	r.t.Helper()
	t, err := r.ledger.read(r.ctx, r.site.DB())
	r.must(err)
	return judge(t, append(r.crowd.testify(), r.net.testify()...), r.mischief), t
}

func (r *run) report(j *judgement, table *table, fresh, after gauge) {
	t := r.t
	accepted, asked := int64(0), int64(0)
	faults := append(append(table.faults, j.faults...), r.mischief.faults...)
	for _, talker := range r.talkers {
		accepted += talker.accepted.Load()
		asked += talker.asked.Load()
		if why := talker.fault.Load(); why != nil {
			faults = append(faults, *why)
		}
	}
	weight, grown := compare(fresh, after, *race)
	faults = append(faults, grown...)
	faults = append(faults, r.holdline.races()...)
	var harm []string
	for i := range harms {
		harm = append(harm, fmt.Sprintf("%s %d", harms[i].name, r.others.count[i].Load()))
	}
	t.Logf(`seed %d, %v of trouble, %d clients
%d rows of %d commits (%d rolled back, %d cut off), %d of them messages that were accepted (asked %d times)
%d deliveries %v over %d visits; the plugin's script left out %d
%d rows missing, %d repeated, %d resets, %d rows that a kill of MariaDB took back, %d that nginx or PHP lost for the plugin's loop
%d SIGHUPs; loose cable: %s
strangers: %s

%s
%s`, r.seed, *runFor, *size,
		table.n, r.writers.commits.Load(), r.writers.rollbacks.Load(), r.writers.unsure.Load(), accepted, asked,
		j.deliveries, j.byWay, j.visits, j.again,
		j.missing, j.repeated, j.resets, j.phantoms, j.byOthers,
		r.mischief.hups, r.net.loss, strings.Join(harm, ", "), j.lateness(r.mischief.count), weight)
	const most = 40
	for i, fault := range faults {
		if i == most {
			t.Errorf("… and %d more", len(faults)-most)
			break
		}
		t.Error(fault)
	}
}

//go:build e2e && linux

package soak_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// crowd is many persons. A crowd may live in another process, in a network namespace.
type crowd struct {
	persons []*person
	settled chan struct{}
	leave   context.CancelFunc
	all     sync.WaitGroup
}

// crowdPlan says who a crowd is. It is handed to another process as JSON.
type crowdPlan struct {
	Name   string
	Seed   uint64
	Size   int
	Fronts []string // base URLs, taken in turn
	Chats  []int64
	Secret string // auth.secret
}

// gather makes the crowd; move has it come.
func gather(plan crowdPlan) (*crowd, error) {
	c := &crowd{}
	ways := []way{bySSE, bySocket, byPoll, bySSE, bySocket, byLonePoll, bySSE, bySocket}
	for i := range plan.Size {
		rng := rand.New(rand.NewPCG(plan.Seed, uint64(i)))
		chats := []int64{plan.Chats[i%len(plan.Chats)]}
		if i%5 == 0 {
			chats = append(chats, plan.Chats[(i+1)%len(plan.Chats)], plan.Chats[(i+7)%len(plan.Chats)])
		}
		name := fmt.Sprintf("%s-%d", plan.Name, i)
		token, err := mint(plan.Secret, name, chats)
		if err != nil {
			return nil, err
		}
		front := plan.Fronts[i/len(ways)%len(plan.Fronts)]
		c.persons = append(c.persons, newPerson(name, ways[i%len(ways)], front, token, chats, rng))
	}
	return c, nil
}

// mint signs a token as docs/ describes it for other programs.
func mint(secret, subject string, chats []int64) (string, error) {
	channels := make([]string, len(chats))
	for i, chat := range chats {
		channels[i] = fmt.Sprintf("wplc/%d", chat)
	}
	claims := jwt.MapClaims{"sub": subject, "channels": channels, "exp": time.Now().Add(6 * time.Hour).Unix()}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
}

// move has everybody come, spread over a time, and come and go from then on.
func (c *crowd) move(ctx context.Context, over time.Duration) {
	ctx, c.leave = context.WithCancel(ctx)
	c.settled = make(chan struct{})
	for i, p := range c.persons {
		delay := over * time.Duration(i) / time.Duration(len(c.persons))
		c.all.Go(func() {
			if pass(ctx, delay) {
				p.live(ctx, c.settled)
			}
		})
	}
}

// settle has everybody stay from now on.
func (c *crowd) settle() { close(c.settled) }

// disperse has everybody leave, and waits.
func (c *crowd) disperse() {
	c.leave()
	c.all.Wait()
}

func (c *crowd) testify() []testimony {
	all := make([]testimony, len(c.persons))
	for i, p := range c.persons {
		all[i] = p.testify()
	}
	return all
}

// lack is how many should have a mark and have not. The plugin's loops are left out: those
// that PHP has to answer wait until it has a worker for them.
func (c *crowd) lack(m mark) (n int, who *person) {
	for _, p := range c.persons {
		if p.loop == nil && p.lacks(m) {
			n++
			who = p
		}
	}
	return n, who
}

package main

import (
	"context"
	"slices"
	"time"
)

// sampleEvery is how often PHP-FPM is asked for its busy workers.
const sampleEvery = 100 * time.Millisecond

// watch measures for --seconds while visitors do nothing but wait.
func (b *siteBench) watch(ctx context.Context, visitors int) (quiet, rate, error) {
	fail := func(err error) (quiet, rate, error) { return quiet{}, rate{}, err }
	costBefore, err := b.gauges.cost()
	if err != nil {
		return fail(err)
	}
	asked, err := b.gauges.statements(ctx)
	if err != nil {
		return fail(err)
	}
	first, err := b.gauges.fpm(ctx)
	if err != nil {
		return fail(err)
	}
	begin := time.Now()
	samples, last, err := b.sample(ctx, first)
	if err != nil {
		return fail(err)
	}
	seconds := time.Since(begin).Seconds()
	askedAfter, err := b.gauges.statements(ctx)
	if err != nil {
		return fail(err)
	}
	costAfter, err := b.gauges.cost()
	if err != nil {
		return fail(err)
	}
	q := quiet{
		Seconds: seconds, Busy: map[int]int{}, Moments: spans(samples, sampleEvery), Requests: last.Accepted - first.Accepted,
		CPU: map[string]float64{}, Memory: costAfter.memory, Workers: costAfter.peers,
	}
	for _, workers := range samples {
		q.Busy[workers]++
	}
	for name, cpu := range costAfter.cpu {
		q.CPU[name] = cpu - costBefore.cpu[name]
	}
	return q, askedAfter.since(asked, visitors), nil
}

// sample asks for the busy workers in step for --seconds.
func (b *siteBench) sample(ctx context.Context, first fpmStatus) (busy []int, last fpmStatus, err error) {
	ticks := time.NewTicker(sampleEvery)
	defer ticks.Stop()
	busy, last = []int{first.Active}, first
	for len(busy) < int(b.window()/sampleEvery) {
		select {
		case <-ctx.Done():
			return nil, last, context.Cause(ctx)
		case <-ticks.C:
		}
		if last, err = b.gauges.fpm(ctx); err != nil {
			return nil, last, err
		}
		busy = append(busy, last.Active)
	}
	return busy, last, nil
}

// queriesWith measures the database's load with n of the crowd's visitors.
func (b *siteBench) queriesWith(ctx context.Context, s *siteStage, c *crowd, n int) error {
	b.say("  %d visitors: queries …\n", n)
	if err := b.settleWith(ctx, c, n); err != nil {
		return err
	}
	before, err := b.gauges.statements(ctx)
	if err != nil {
		return err
	}
	if err := sleep(ctx, b.window()); err != nil {
		return err
	}
	after, err := b.gauges.statements(ctx)
	if err != nil {
		return err
	}
	s.Rates = append(s.Rates, after.since(before, n))
	return nil
}

func (b *siteBench) settleWith(ctx context.Context, c *crowd, n int) error {
	if err := c.grow(ctx, n, b.agent.accept); err != nil {
		return err
	}
	return sleep(ctx, b.settle)
}

// all measures everything with n of the crowd's visitors.
func (b *siteBench) all(ctx context.Context, s *siteStage, c *crowd, n int) error {
	if err := b.settleWith(ctx, c, n); err != nil {
		return err
	}
	s.Visitors, s.Bound = n, c.bound()
	b.say("  %d visitors: nobody does anything …\n", n)
	q, asked, err := b.watch(ctx, n)
	if err != nil {
		return err
	}
	s.Quiet = q
	s.Rates = append(s.Rates, asked)
	b.say("  %d visitors: pages …\n", n)
	pages, err := loadPages(ctx, b.pageClient, b.page(), b.pages, max(b.window(), pageCap))
	if err != nil {
		return err
	}
	s.Pages = pages.summary()
	if err := b.messages(ctx, s, c); err != nil {
		return err
	}
	s.Polls = c.tally.counts()
	return nil
}

// messageCap lets a poll end that was held without its message, and the next one bring it.
const messageCap = 35 * time.Second

// messages measures how long they take. Those of an agent go through PHP: they are
// left out when the site does not answer.
func (b *siteBench) messages(ctx context.Context, s *siteStage, c *crowd) error {
	b.say("  %d visitors: %d messages by INSERT …\n", s.Visitors, b.latencyMessages)
	var err error
	if s.SQL, err = b.talk(ctx, c, b.latencyMessages, messageCap, b.agent.insert); err != nil {
		return err
	}
	if s.Pages.Unanswered > 0 {
		return nil
	}
	b.say("  %d visitors: %d messages of an agent …\n", s.Visitors, b.latencyMessages)
	before, err := b.bells(ctx)
	if err != nil {
		return err
	}
	if s.Ajax, err = b.talk(ctx, c, b.latencyMessages, messageCap, b.agent.post); err != nil {
		return err
	}
	after, err := b.bells(ctx)
	s.Bells = after - before
	return err
}

func (b *siteBench) bells(ctx context.Context) (int, error) {
	if b.gauges.holdline == nil {
		return 0, nil
	}
	return b.gauges.doorbells(ctx)
}

// steps are the numbers of visitors with which queries are counted, below all.
func steps(all int) []int {
	return slices.DeleteFunc([]int{1, 50}, func(n int) bool { return n >= all })
}

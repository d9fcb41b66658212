package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"holdline/internal/wpsite"
)

// siteBench compares the chat plugin's own PHP loop with Holdline on a real
// WordPress: the test site of testdata/site.
type siteBench struct {
	options
	log        io.Writer
	dir        string
	site       *wpsite.Site
	gauges     *gauges
	agent      *agent
	web        webSite
	pageClient *http.Client
	seq        int // of the last message
	report     *siteReport
}

// runSite brings the site up, measures and prints; also what was measured before
// an error.
func runSite(ctx context.Context, o options, out, log io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not finished after %s (--timeout)", o.timeout))
	defer cancel()
	if _, err := os.Stat(o.holdline); err != nil {
		return fmt.Errorf("no holdline program (make build, or --holdline PATH): %w", err)
	}
	dir, err := os.MkdirTemp("", "holdbench")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &siteBench{
		options: o, log: log, dir: dir, report: newSiteReport(o),
		pageClient: &http.Client{Transport: &http.Transport{}},
	}
	defer b.pageClient.CloseIdleConnections()
	b.say("bringing the site up …\n")
	if b.site, err = wpsite.Up(ctx, b.siteOptions()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.site.Down()) }()
	err = b.run(ctx)
	kept := b.report.judge()
	err = errors.Join(err, b.report.print(out))
	if o.json != "" {
		err = errors.Join(err, b.report.write(o.json))
	}
	if err == nil && o.check && !kept {
		err = errBars
	}
	return err
}

func (b *siteBench) siteOptions() wpsite.Options { return wpsite.Options{Children: b.children} }

func (b *siteBench) page() string { return b.site.URL + "/" }

func (b *siteBench) say(format string, a ...any) { fmt.Fprintf(b.log, format, a...) }

// run measures all stages. The site without a loop is measured before and after
// Holdline's turn, so that what else the machine does weighs on both alike. PHP
// with all visitors comes last: such a site takes minutes to come back.
func (b *siteBench) run(ctx context.Context) (err error) {
	if b.gauges, err = newGauges(ctx, b.site); err != nil {
		return err
	}
	defer b.gauges.close()
	if b.agent, err = newAgent(ctx, b.site, b.pageClient); err != nil {
		return err
	}
	b.web = webSite{url: b.site.URL}
	if b.web.nonce, err = nonceOf(ctx, b.pageClient, b.page(), "", visitorNonce); err != nil {
		return err
	}
	before, err := b.idleSite(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(b.siteLoops, "holdline") {
		if err := b.withHoldline(ctx); err != nil {
			return fmt.Errorf("with Holdline: %w", err)
		}
	}
	after, err := b.idlePages(ctx)
	if err != nil {
		return err
	}
	b.report.stage(stageNone).Pages = before.with(after).summary()
	if slices.Contains(b.siteLoops, "php") {
		if err := b.withPHP(ctx); err != nil {
			return fmt.Errorf("with PHP alone: %w", err)
		}
	}
	return nil
}

// idleSite measures the site that nobody chats on.
func (b *siteBench) idleSite(ctx context.Context) (pageLoads, error) {
	b.say("no loop: pages, then nothing …\n")
	s := b.add(stageNone)
	pages, err := b.idlePages(ctx)
	if err != nil {
		return pages, err
	}
	s.Pages = pages.summary()
	q, asked, err := b.watch(ctx, 0)
	if err != nil {
		return pages, err
	}
	s.Quiet = q
	s.Rates = []rate{asked}
	return pages, nil
}

// idlePages loads pages with nobody else on the site, warmed up.
func (b *siteBench) idlePages(ctx context.Context) (pageLoads, error) {
	if _, err := loadPages(ctx, b.pageClient, b.page(), 4*b.children, pageCap); err != nil {
		return pageLoads{}, err
	}
	return loadPages(ctx, b.pageClient, b.page(), b.pages, max(b.window(), pageCap))
}

func (b *siteBench) add(name string) *siteStage {
	s := &siteStage{Name: name}
	b.report.Stages = append(b.report.Stages, s)
	return s
}

// withHoldline measures with Holdline in the path, and takes it out again.
func (b *siteBench) withHoldline(ctx context.Context) (err error) {
	b.say("Holdline: starts …\n")
	h, err := startSiteHoldline(ctx, b.holdline, b.dir, b.site, b.siteOptions())
	if err != nil {
		return err
	}
	b.gauges.holdline = h
	defer func() {
		b.gauges.holdline = nil
		err = errors.Join(err, h.process.stop(), b.site.Configure(ctx, b.siteOptions()))
	}()
	c, err := gather(ctx, b.web, b.visitors)
	if err != nil {
		return err
	}
	defer c.leave()
	if err := sleep(ctx, b.settle); err != nil {
		return err
	}
	empty, err := b.gauges.cost()
	if err != nil {
		return err
	}
	s := b.add(stageHoldline)
	for _, n := range steps(b.visitors) {
		if err := b.queriesWith(ctx, s, c, n); err != nil {
			return err
		}
	}
	if err := b.all(ctx, s, c, b.visitors); err != nil {
		return err
	}
	s.PerLoop = float64(s.Quiet.Memory[costHoldline]-empty.memory[costHoldline]) / float64(b.visitors)
	return nil
}

// withPHP measures the plugin's own loop, first with a worker left for all else.
// Its visitors make their contact before the site stops answering.
func (b *siteBench) withPHP(ctx context.Context) error {
	if err := b.restWorkers(ctx); err != nil {
		return err
	}
	b.say("PHP alone: visitors come …\n")
	c, err := gather(ctx, b.web, b.visitors)
	if err != nil {
		return err
	}
	defer c.leave()
	few := b.add(stageFew)
	left := b.children - 1
	for _, n := range steps(left) {
		if err := b.queriesWith(ctx, few, c, n); err != nil {
			return err
		}
	}
	if err := b.all(ctx, few, c, left); err != nil {
		return err
	}
	few.PerLoop = few.perWorker()
	many := b.add(stageMany)
	for _, n := range steps(b.visitors) {
		if n > left {
			if err := b.queriesWith(ctx, many, c, n); err != nil {
				return err
			}
		}
	}
	if err := b.all(ctx, many, c, b.visitors); err != nil {
		return err
	}
	many.PerLoop = many.perWorker()
	many.Polls = many.Polls.minus(few.Polls) // the same visitors
	return nil
}

// perWorker is what PHP's held loop occupies: a worker.
func (s *siteStage) perWorker() float64 {
	return float64(s.Quiet.Memory[costPHP]) / float64(max(s.Quiet.Workers, 1))
}

// restWorkers waits until PHP has done with what was held before.
func (b *siteBench) restWorkers(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("PHP's workers are busy though nobody asks for anything"))
	defer cancel()
	for {
		status, err := b.gauges.fpm(ctx)
		if err != nil {
			return err
		}
		if status.Active == 0 {
			return nil
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

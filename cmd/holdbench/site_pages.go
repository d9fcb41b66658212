package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// pageCap is when a reader of a page has gone.
	pageCap = 30 * time.Second
	// pagePace is when the next page is asked for though the last has not come: a
	// site that does not answer would else be asked twice a minute.
	pagePace = 2 * time.Second
)

// loads are the times of page loads. One that was not answered within pageCap
// counts as pageCap and in Unanswered, so that it is in the percentiles.
type loads struct {
	Unanswered int       `json:"unanswered"`
	Times      quantiles `json:"ms"`
}

// pageLoads is what was measured of a page, to be pooled and summed up.
type pageLoads struct {
	times      []time.Duration
	unanswered int
}

func (p pageLoads) with(other pageLoads) pageLoads {
	return pageLoads{times: append(p.times, other.times...), unanswered: p.unanswered + other.unanswered}
}

func (p pageLoads) summary() loads {
	return loads{Unanswered: p.unanswered, Times: quantilesOf(p.times)}
}

// loadPages loads a page n times, one after the other, for at most window; the
// loads that are under way then are awaited.
func loadPages(ctx context.Context, client *http.Client, page string, n int, window time.Duration) (pageLoads, error) {
	var (
		mu    sync.Mutex
		p     pageLoads
		other error // what is neither a page nor a time-out
		group sync.WaitGroup
	)
	end := time.Now().Add(window)
	for i := 0; i < n && time.Now().Before(end) && ctx.Err() == nil; i++ {
		done := make(chan struct{})
		group.Go(func() {
			defer close(done)
			took, err := loadPage(ctx, client, page)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				p.unanswered++
				took = pageCap
			case err != nil:
				other = errors.Join(other, err)
				return
			}
			p.times = append(p.times, took)
		})
		select {
		case <-done:
		case <-time.After(pagePace):
		}
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return p, context.Cause(ctx)
	}
	return p, other
}

// loadPage is the time until the whole page is here.
func loadPage(ctx context.Context, client *http.Client, page string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, pageCap)
	defer cancel()
	begin := time.Now()
	_, err := getPage(ctx, client, page, "")
	return time.Since(begin), err
}

func getPage(ctx context.Context, client *http.Client, page, cookie string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return nil, fmt.Errorf("load a page: %w", err)
	}
	if cookie != "" {
		request.Header.Set("Cookie", cookie)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("load a page: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("load a page: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("load %s: %s", page, response.Status)
	}
	return body, nil
}

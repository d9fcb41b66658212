package gateway_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// monitoring are the files for operators.
const monitoring = "../docs/monitoring"

// rulesFile is what Prometheus reads
// (https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/).
type rulesFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

func alerts(t *testing.T) (file rulesFile) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoring, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	decode := yaml.NewDecoder(strings.NewReader(string(text)))
	decode.KnownFields(true)
	if err := decode.Decode(&file); err != nil {
		t.Fatal(err)
	}
	return file
}

// panels are the expressions of the dashboard, by the title of their panel.
func panels(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoring, "grafana-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]bool)
	of := make(map[string][]string)
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			of[p.Title] = append(of[p.Title], target.Expr)
		}
	}
	for _, v := range board.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			of["variable "+v.Name] = []string{q["query"].(string)}
		}
	}
	return of
}

var (
	metricName = regexp.MustCompile(`\b(?:holdline|go|process)_[a-z0-9_]+`)
	suffix     = regexp.MustCompile(`_(?:bucket|sum|count)$`)
)

func TestMonitoringKnowsOnlyMetricsThatExist(t *testing.T) {
	s, _ := dropIn(t, "strict") // has a courier and a spool
	names := s.gw.MetricNames()
	check := func(where, expr string) {
		if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
			t.Errorf("%s: brackets do not match in %s", where, expr)
		}
		found := metricName.FindAllString(expr, -1)
		if len(found) == 0 && !strings.Contains(expr, "up{") {
			t.Errorf("%s: no metric in %s", where, expr)
		}
		for _, name := range found {
			if !names[name] && !names[suffix.ReplaceAllString(name, "")] {
				t.Errorf("%s: there is no metric %s", where, name)
			}
		}
	}
	for title, list := range panels(t) {
		for _, expr := range list {
			check("panel "+title, expr)
		}
	}
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			check("alert "+r.Alert, r.Expr)
		}
	}
}

func TestEveryMetricOfOursIsOnTheDashboard(t *testing.T) {
	s, _ := dropIn(t, "strict")
	var all strings.Builder
	for _, list := range panels(t) {
		all.WriteString(strings.Join(list, "\n"))
	}
	// What the page has in another form, or a person would not look for.
	apart := map[string]bool{
		"holdline_connections_idle": true, "holdline_subscribers": true, "holdline_status_viewers": true, "holdline_tail_last_id": true,
		"holdline_spool_bytes": true, "holdline_spool_sync_errors_total": true, "holdline_outbox_calls_total": true,
		"holdline_sync_last_success_seconds": true,
	}
	for name := range s.gw.MetricNames() {
		if strings.HasPrefix(name, "holdline_") && !apart[name] && !strings.Contains(all.String(), name) {
			t.Errorf("%s is not shown", name)
		}
	}
}

func TestAlertsSayWhatToDo(t *testing.T) {
	seen := make(map[string]bool)
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || seen[r.Alert] {
				t.Errorf("%q has no name of its own", r.Alert)
			}
			seen[r.Alert] = true
			if s := r.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			if r.Annotations["summary"] == "" || !strings.HasSuffix(r.Annotations["description"], ".") {
				t.Errorf("%s: %v", r.Alert, r.Annotations)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d alerts were found", len(seen))
	}
}

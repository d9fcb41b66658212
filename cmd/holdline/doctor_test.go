package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// examination runs `holdline doctor` where no network is asked: there is no
// database, site or running Holdline to be found.
func examination(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, trouble bytes.Buffer
	args = append([]string{"doctor", "--quick", "--admin-listen=unix:/nowhere/admin.sock"}, args...)
	code = run(context.Background(), args, nil, strings.NewReader(stdin), &out, &trouble)
	return code, out.String(), trouble.String()
}

func TestDoctorExitCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"faults":                    {nil, 1, "✗ wp-config", "faults found"},
		"mistake in the settings":   {[]string{"--hold=9"}, 2, "✗ configuration", "nothing else was examined"},
		"mistakes, all of them":     {[]string{"--hold=9", "--listen=x"}, 2, "2 faults, 0 warnings", "nothing else was examined"},
		"an argument":               {[]string{"now"}, 2, "", `"now"`},
		"help":                      {[]string{"--help"}, 0, "--cookie", ""},
		"wp-config.php not to read": {[]string{"--wordpress-config=/nowhere/wp-config.php"}, 1, "wp-config.php cannot be read", "faults found"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := examination("", tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			if strings.Contains(stdout, "\x1b") {
				t.Error("colour without a terminal")
			}
		})
	}
}

func TestDoctorJSON(t *testing.T) {
	code, stdout, _ := examination("", "--json")
	var got struct {
		OK       *bool
		Faults   int
		Findings []struct{ Check, Status, Text, Fix string }
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if code != 1 || got.OK == nil || *got.OK || got.Faults == 0 {
		t.Errorf("code %d: %+v", code, got)
	}
	for _, f := range got.Findings {
		if f.Check == "" || f.Text == "" || !slices.Contains([]string{"ok", "skipped", "warning", "fault"}, f.Status) ||
			(f.Status == "fault" || f.Status == "warning") && f.Fix == "" {
			t.Errorf("%+v", f)
		}
	}
}

// TestDoctorKeepsSecrets: of settings, of wp-config.php and of a cookie.
func TestDoctorKeepsSecrets(t *testing.T) {
	const secret = "n0b0dy-may-see-this-0123456789abcdef"
	path := filepath.Join(t.TempDir(), "wp-config.php")
	text := "<?php\ndefine('DB_NAME', 'x');\ndefine('DB_USER', 'y');\ndefine('DB_PASSWORD', '" + secret + "');\ndefine('DB_HOST', 'localhost:/nowhere/sock');\n" +
		"define('LOGGED_IN_KEY', '" + secret + "');\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"--json=false", "--json"} {
		_, stdout, stderr := examination("wordpress_logged_in_x="+secret+"\n", form, "--wordpress-config="+path,
			"--auth-secret="+secret, "--database-address=/nowhere/sock", "--cookie=-")
		if strings.Contains(stdout+stderr, secret) {
			t.Errorf("a secret is shown:\n%s\n%s", stdout, stderr)
		}
		if !strings.Contains(stdout, "no database server answers at /nowhere/sock") {
			t.Errorf("the examination did not come that far:\n%s", stdout)
		}
	}
}

func TestColourOnlyForTerminals(t *testing.T) {
	null, err := os.Open(os.DevNull) // a character device, as terminals are
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, tt := range map[string]struct {
		p    program
		want bool
	}{
		"terminal":       {program{stdout: null}, true},
		"NO_COLOR":       {program{stdout: null, env: []string{"NO_COLOR=1"}}, false},
		"empty NO_COLOR": {program{stdout: null, env: []string{"NO_COLOR="}}, true},
		"dumb terminal":  {program{stdout: null, env: []string{"TERM=dumb"}}, false},
		"pipe":           {program{stdout: &bytes.Buffer{}}, false},
	} {
		if got := colourful(tt.p); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

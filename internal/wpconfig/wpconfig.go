// Package wpconfig reads what a WordPress wp-config.php says without running PHP.
//
// It evaluates the part of PHP that configurations are written in: definitions,
// strings, variables, conditions, includes, environment variables and .env
// files, and the dialects of the official Docker image, Bedrock and Debian. What
// depends on something only PHP knows is never guessed: the name is reported in
// [Config.Unresolved] with the way to set it in Holdline's own configuration.
//
// The file may be hostile or damaged. Size, nesting, includes and work are
// bounded; nothing is executed and nothing outside the allowed folders is read,
// except secrets whose path the operator's environment names (NAME_FILE).
package wpconfig

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// Options tells what PHP would know when it reads the file. The zero value is an
// empty environment, no known request, and the machine's own files.
type Options struct {
	// LookupEnv gives PHP's environment variables, for getenv(), $_ENV and
	// $_SERVER: usually [os.LookupEnv] with the operator's additions. PHP-FPM and
	// Apache often hide or add variables, so this environment can differ from
	// PHP's; see [Config.EnvMissing]. Nil: no variables.
	LookupEnv func(name string) (value string, ok bool)

	// Request holds the $_SERVER variables of one representative request, such as
	// HTTP_HOST and HTTPS. What it lacks counts as not sent; an empty map is PHP's
	// command line. Nil: unknown, and whatever depends on a request is reported.
	Request map[string]string

	// Roots are the folders from which includes and .env files may be read.
	// Empty: the parent of the configuration's folder, which is where hosts and
	// Bedrock keep secrets outside the document root, and Debian's /etc/wordpress.
	Roots []string

	// AbsPath is ABSPATH as wp-load.php defines it before it reads the file, with
	// its final slash. Empty: [Load] uses the file's own folder if wp-load.php is
	// there, else the file defines it.
	AbsPath string

	// FS replaces the machine's files; it is rooted at "/". Nil: the machine's.
	FS fs.FS
}

// Unresolved is a name whose value only PHP can tell.
type Unresolved struct {
	Name    string // a constant, "$table_prefix", or "*" for names that are not known either
	Why     string // begins with file:line
	Setting string // a key of Holdline's configuration such as "database.name", else a sentence; empty if Holdline does not need the name
}

// String is a sentence for the operator.
func (u Unresolved) String() string {
	s := u.Name + " could not be read: " + u.Why
	switch {
	case u.Setting == "":
		return s
	case strings.Contains(u.Setting, " "):
		return s + "; " + u.Setting
	}
	return s + "; set " + u.Setting
}

// Config is what a configuration says. It is not changed after [Load] returns,
// so any number of goroutines may read it.
type Config struct {
	// Constants holds every constant with a certain value: a string, int64,
	// float64, bool or nil.
	Constants map[string]any

	// TablePrefix is $table_prefix; TablePrefixSet tells "" from not set.
	TablePrefix    string
	TablePrefixSet bool

	// Unresolved lists what is set but not known, those that Holdline needs first.
	Unresolved []Unresolved

	// EnvMissing lists the environment variables that the file asked for and
	// Options.LookupEnv did not have. A default in the file was used where it gives one.
	EnvMissing []string

	// Files lists the files that were read or looked for, the configuration first.
	// When one of them changes, appears or goes, the configuration may be different.
	Files []string

	defined map[string]bool // certainly defined, even if the value is not known
}

// Load reads the configuration file at name and everything it includes. The error
// says why the file cannot be read at all; values that stay unknown are no error.
func Load(name string, opt Options) (*Config, error) {
	if opt.FS == nil {
		full, err := filepath.Abs(name)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		name = full
	}
	name = path.Clean(filepath.ToSlash(name))
	f := files{opt.FS}
	src, err := f.read(name)
	if err != nil {
		return nil, fmt.Errorf("read WordPress configuration: %w", err)
	}
	if opt.AbsPath == "" {
		if _, err := f.stat(path.Join(path.Dir(name), "wp-load.php")); err == nil {
			opt.AbsPath = strings.TrimSuffix(path.Dir(name), "/") + "/"
		}
	}
	return Parse(name, src, opt)
}

// Parse is [Load] for text that is already there; name is the absolute path it
// would have, which decides where its includes are looked for.
func Parse(name string, src []byte, opt Options) (*Config, error) {
	e := &evaluator{
		opt: opt, files: files{opt.FS}, st: newState(),
		functions: map[string]effects{}, missing: map[string]bool{},
	}
	e.look(name)
	real, err := e.files.real(name)
	if err != nil {
		real = name // the text was given; the file need not exist
	}
	e.opt.Roots = e.roots(name, real)
	if len(src) > maxFileSize {
		return nil, fmt.Errorf("read %s: it is larger than %d bytes", name, maxFileSize)
	}
	body, err := parseSource(src)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if opt.AbsPath != "" {
		e.define("ABSPATH", opt.AbsPath)
	}
	e.main = &fileFrame{name: real, dir: path.Dir(real)}
	e.st.included[real] = true
	e.run(e.main, body)
	if e.err != nil {
		return nil, fmt.Errorf("read %s: %w", name, e.err)
	}
	return e.config(), nil
}

// roots makes the allowed folders absolute, with symbolic links resolved as the
// paths compared to them are.
func (e *evaluator) roots(name, real string) []string {
	folders := slices.Clone(e.opt.Roots)
	if len(folders) == 0 {
		for _, file := range []string{name, real} {
			folder := path.Dir(file)
			if up := path.Dir(folder); up != "/" && !driveLetter.MatchString(up+"/") {
				folder = up
			}
			folders = append(folders, folder)
		}
		folders = append(folders, "/etc/wordpress")
	}
	var out []string
	for _, folder := range folders {
		folder = path.Clean(filepath.ToSlash(folder))
		if resolved, err := e.files.real(folder); err == nil {
			folder = resolved
		}
		if !slices.Contains(out, folder) {
			out = append(out, folder)
		}
	}
	return out
}

// config turns the final state into the answer.
func (e *evaluator) config() *Config {
	paths := e.done
	if e.ctl == running {
		paths = append(paths, e.st)
	}
	switch {
	case len(paths) > 0:
		e.st = e.mergeAll(paths)
	case e.lastExit != nil:
		e.st = e.lastExit
		if e.st.hole == "" {
			e.st.hole = e.main.name + ": the file ends the request before it reaches wp-settings.php"
		}
	}
	c := &Config{Constants: map[string]any{}, Files: e.looked, defined: map[string]bool{}}
	for name, s := range e.st.constants {
		e.settle(c, name, s)
	}
	e.settlePrefix(c)
	e.reportHole(c)
	for name := range e.missing {
		c.EnvMissing = append(c.EnvMissing, name)
	}
	sort.Strings(c.EnvMissing)
	sort.Slice(c.Unresolved, func(i, j int) bool {
		a, b := c.Unresolved[i], c.Unresolved[j]
		if (a.Setting == "") != (b.Setting == "") {
			return a.Setting != ""
		}
		return a.Name < b.Name
	})
	return c
}

func (e *evaluator) settle(c *Config, name string, s slot) {
	why, doubted := doubt(s.value)
	switch {
	case s.maybe && !doubted:
		why = s.why
	case doubted:
	case scalar(s.value):
		c.Constants[name] = s.value
		c.defined[name] = true
		return
	default:
		c.defined[name] = true
		return // an array or object: no setting of WordPress that Holdline uses is one
	}
	c.defined[name] = !s.maybe
	c.Unresolved = append(c.Unresolved, Unresolved{Name: name, Why: why, Setting: setting(name)})
}

// prefixName is how $table_prefix is called in reports.
const prefixName = "$table_prefix"

func (e *evaluator) settlePrefix(c *Config) {
	s, ok := e.st.variables["table_prefix"]
	if !ok {
		return
	}
	why, doubted := doubt(s.value)
	prefix, isText := text(s.value)
	switch {
	case s.maybe && !doubted:
		why = s.why
	case doubted:
	case s.value == nil:
		return
	case !isText || strings.ContainsFunc(prefix, notInPrefix):
		why = fmt.Sprintf("%s: WordPress refuses a table prefix with anything but letters, digits and underscores", e.main.name)
	default:
		c.TablePrefix, c.TablePrefixSet = prefix, true
		return
	}
	c.Unresolved = append(c.Unresolved, Unresolved{Name: prefixName, Why: why, Setting: setting(prefixName)})
}

// notInPrefix is wpdb::set_prefix()'s rule.
func notInPrefix(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// reportHole names everything that may have been defined out of sight.
func (e *evaluator) reportHole(c *Config) {
	if e.st.hole == "" {
		return
	}
	c.Unresolved = append(c.Unresolved, Unresolved{
		Name: "*", Why: e.st.hole,
		Setting: "set every value that comes from there in Holdline's own configuration",
	})
	for _, name := range needed {
		if _, ok := c.Constants[name]; ok || c.defined[name] || c.reported(name) {
			continue
		}
		if name == prefixName && c.TablePrefixSet {
			continue
		}
		c.Unresolved = append(c.Unresolved, Unresolved{Name: name, Why: e.st.hole, Setting: setting(name)})
	}
}

func (c *Config) reported(name string) bool {
	_, ok := c.Why(name)
	return ok
}

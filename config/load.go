package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// envFile names the configuration file in the environment, as --config does on the command line.
const envFile = envPrefix + "CONFIG"

// maxFile bounds a configuration file, maxSecretFile the file of one secret: a wrong path must not fill the memory.
const (
	maxFile       = 1 << 20
	maxSecretFile = 64 << 10
)

// Load reads the configuration for a subcommand that takes no arguments and no flags of its own. Defaults give way to the
// YAML file (--config or HOLDLINE_CONFIG; none is fine), the file to HOLDLINE_* variables, those to flags. args is the
// command line without program and subcommand, env has the form of [os.Environ].
//
// The error is [pflag.ErrHelp] when --help is asked for (then call [Help]), or a [*Problems] that lists all that is wrong.
func Load(args, env []string) (Config, error) {
	cfg, err := LoadWith(args, env, nil)
	if problems := new(Problems); err == nil && len(cfg.Args) > 0 {
		problems.add("the command line has %s, which belongs to no flag; remove it.", shown(cfg.Args[0]))
		return Config{}, problems
	}
	return cfg, err
}

// LoadWith is Load for a subcommand with flags of its own, which extra adds (it may be nil), and with arguments, which
// end up in [Config.Args].
func LoadWith(args, env []string, extra func(*pflag.FlagSet)) (Config, error) {
	l := &loader{origins: make(map[string]string), problems: new(Problems)}
	flags := newFlags(extra)
	if err := l.parseFlags(flags, args); err != nil {
		return Config{}, err
	}
	l.readDefaults()
	l.readFile(configFile(flags, env))
	l.readEnv(env)
	l.readFlags(flags)
	l.readSecretFiles()
	cfg, err := l.decode()
	if err != nil {
		return Config{}, err
	}
	cfg.PrintConfig, _ = flags.GetBool(flagPrintConfig)
	cfg.Args = flags.Args()
	return cfg, nil
}

// loader takes the layers from the weakest to the strongest, noting who wrote what.
type loader struct {
	v        *viper.Viper
	file     document
	origins  map[string]string
	problems *Problems
}

// parseFlags lists every unknown flag, where pflag would stop at the first.
func (l *loader) parseFlags(flags *pflag.FlagSet, args []string) error {
	for _, name := range unknownFlags(flags, args) {
		l.problems.add("flag %s is unknown%s", name, didYouMean(name, flagNames(flags)))
	}
	err := flags.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		return pflag.ErrHelp
	}
	if err != nil { // what follows on the command line was not read: going on would blame the wrong things
		l.problems.add("the command line is wrong: %v.", err)
		return l.problems
	}
	return nil
}

func (l *loader) readDefaults() {
	l.file = document{lines: make(map[string]int), problems: l.problems}
	l.v = viper.NewWithOptions(viper.WithDecoderRegistry(&l.file))
	l.v.SetConfigType("yaml")
	for _, s := range table() {
		l.v.SetDefault(s.key, s.def)
		l.origins[s.key] = originDefault
	}
}

// configFile finds the file's path and who gave it.
func configFile(flags *pflag.FlagSet, env []string) (path, origin string) {
	for _, pair := range env {
		if value, ok := strings.CutPrefix(pair, envFile+"="); ok {
			path, origin = value, "env "+envFile
		}
	}
	if f := flags.Lookup(flagConfig); f.Changed {
		path, origin = f.Value.String(), "flag --"+flagConfig
	}
	return path, origin
}

func (l *loader) readFile(path, origin string) {
	if path == "" {
		return
	}
	text, err := readBounded(path, maxFile)
	if err != nil {
		l.problems.add("the configuration file %s (%s) %v; write the path of a YAML file that can be read.", shown(path), origin, err)
		return
	}
	l.file.path = path
	if err := l.v.ReadConfig(strings.NewReader(text)); err != nil {
		var syntax viper.ConfigParseError
		if errors.As(err, &syntax) {
			err = syntax.Unwrap()
		}
		l.problems.add("file %s is not YAML: %s.", path, strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	for key := range l.file.lines {
		l.origins[key] = "file " + path
	}
}

// readEnv merges the variables over the file. Viper's AutomaticEnv would read the process's environment, skip empty
// values and keep quiet about misspelt names.
func (l *loader) readEnv(env []string) {
	byName := make(map[string]setting)
	known := []string{envFile}
	for _, s := range table() {
		byName[s.env()] = s
		known = append(known, s.env())
	}
	layer := make(map[string]any)
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || name == envFile {
			continue
		}
		s, ok := byName[name]
		if !ok {
			l.problems.add("env %s is no setting%s", shortened(name), didYouMean(name, known))
			continue
		}
		layer[s.key] = value
		l.origins[s.key] = "env " + name
	}
	if err := l.v.MergeConfigMap(layer); err != nil {
		l.problems.add("the environment cannot be merged: %v.", err)
	}
}

func (l *loader) readFlags(flags *pflag.FlagSet) {
	for _, s := range table() {
		flag := flags.Lookup(s.flag())
		if err := l.v.BindPFlag(s.key, flag); err != nil {
			l.problems.add("flag --%s cannot be bound: %v.", s.flag(), err)
		}
		if flag.Changed {
			l.origins[s.key] = "flag --" + s.flag()
		}
	}
}

// readSecretFiles puts the text of each X_file in X's place.
func (l *loader) readSecretFiles() {
	for _, s := range table() {
		if !s.secret() || l.text(s.fileKey()) == "" {
			continue
		}
		path := l.text(s.fileKey())
		if l.text(s.key) != "" {
			l.problems.add("%s (%s) and %s (%s) are both set; keep one of them.", s.key, l.where(s.key), s.fileKey(), l.where(s.fileKey()))
			continue
		}
		text, err := readBounded(path, maxSecretFile)
		// Editors and echo end a file with a line break that is no part of the secret.
		text = strings.TrimRight(text, "\r\n")
		if err == nil && text == "" {
			err = errors.New("is empty")
		}
		if err != nil {
			l.problems.add("%s = %s (%s) %v; write the path of a file with the secret in it.", s.fileKey(), shown(path), l.where(s.fileKey()), err)
			continue
		}
		l.v.Set(s.key, text)
		l.origins[s.key] = "file " + path
	}
}

// decode judges every value, then the values together, and fills the struct.
func (l *loader) decode() (Config, error) {
	wrong := make(map[string]bool)
	for _, s := range table() {
		value, err := s.rule.parse(l.text(s.key))
		if err != nil {
			wrong[s.key] = true
			l.problems.add("%s (%s) %v; write %s.", l.quote(s), l.where(s.key), err, s.rule.want)
			value, _ = s.rule.parse(s.def)
		}
		l.v.Set(s.key, value)
	}
	var cfg Config
	// Exact: a key of the table without a field, which a slip in this package would make, must not pass.
	if err := l.v.UnmarshalExact(&cfg); err != nil {
		return Config{}, fmt.Errorf("decode configuration: %w", err)
	}
	cfg.origins = l.origins
	l.checkTogether(cfg, wrong)
	return cfg, l.problems.err()
}

// checkTogether holds the rules between settings; those between values that are wrong already would only confuse.
func (l *loader) checkTogether(cfg Config, wrong map[string]bool) {
	if !wrong["tail.interval"] && !wrong["tail.idle_interval"] && cfg.Tail.Interval > cfg.Tail.IdleInterval {
		l.problems.add("tail.interval = %s (%s) is longer than tail.idle_interval = %s (%s); write a shorter interval or a longer idle_interval.",
			shortDuration(cfg.Tail.Interval), l.where("tail.interval"), shortDuration(cfg.Tail.IdleInterval), l.where("tail.idle_interval"))
	}
	l.checkTLS(cfg.TLS, cfg.StateDir, wrong)
	if !wrong["listen"] && cfg.Listen == cfg.AdminListen && !strings.HasSuffix(cfg.Listen, ":0") {
		l.problems.add("listen (%s) and admin_listen (%s) are both %s; write another port or path for one of them.",
			l.where("listen"), l.where("admin_listen"), shown(cfg.Listen))
	}
}

// text is a setting's winning value as it was written; every layer holds nothing but text until decode.
func (l *loader) text(key string) string {
	text, _ := l.v.Get(key).(string)
	return text
}

// quote shows a setting with its value, and a secret without.
func (l *loader) quote(s setting) string {
	if s.secret() {
		return s.key
	}
	return s.key + " = " + shown(l.text(s.key))
}

// where is a setting's origin, with the line in the file if it has one.
func (l *loader) where(key string) string {
	origin := l.origins[key]
	if line := l.file.lines[key]; line > 0 && origin == "file "+l.file.path {
		return fmt.Sprintf("%s, line %d", origin, line)
	}
	return origin
}

// readBounded reads a whole file of at most limit bytes. The error completes a sentence about the file.
func readBounded(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", reason(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", reason(err))
	}
	if int64(len(data)) > limit {
		return "", fmt.Errorf("is larger than %v", ByteSize(limit))
	}
	return string(data), nil
}

// reason drops the path from an error of package os; our sentence has it already.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func flagNames(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	slices.Sort(names)
	return names
}

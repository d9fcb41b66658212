package wpconfig

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// dotenv reads the arguments of vlucas/phpdotenv's constructors, whose forms
// have changed over its versions: a folder, then one or more file names, then
// false to read all of them instead of the first that exists. Dotenv::create()
// of versions 4 and 5 has a repository object before these.
func (e *evaluator) dotenv(args []any, afterRepository bool) any {
	loader := dotenvLoader{first: true, dir: e.unknownf("the folder of the .env file")}
	found := false
	for i, arg := range args {
		v := e.eval(arg)
		switch value := plain(v).(type) {
		case unknown:
			if i > 0 || !afterRepository {
				loader.dir = value
				return loader
			}
		case string:
			if !found {
				loader.dir, found = v, true
			} else {
				loader.files = append(loader.files, value)
			}
		case *array:
			for _, key := range value.keys {
				s, ok := value.values[key].(string)
				switch {
				case !ok:
				case !found:
					loader.dir, found = s, true
				default:
					loader.files = append(loader.files, s)
				}
			}
		case bool:
			loader.first = value
		}
	}
	if loader.files == nil {
		loader.files = []string{".env"}
	}
	return loader
}

// loadDotenv takes the .env files' variables; the real environment comes first
// unless the loader is a mutable one.
func (e *evaluator) loadDotenv(loader dotenvLoader) {
	dir, ok := text(loader.dir)
	if why, doubted := doubt(loader.dir); doubted || !ok {
		e.st.env[unreadableEnv] = slot{why: e.unknownf("a .env file cannot be found: %s", why).why}
		return
	}
	loaded := map[string]string{}
	for _, file := range loader.files {
		name := path.Join(dir, file)
		e.look(name)
		src, err := e.files.read(name)
		if missing(err) {
			continue
		}
		if err == nil && !e.spend(len(src)) {
			return
		}
		if err == nil {
			err = parseDotenv(string(src), loaded, e.dotenvReference)
		}
		if err != nil {
			e.st.env[unreadableEnv] = slot{why: e.unknownf("cannot read %s: %v", name, err).why}
		}
		if loader.first {
			break
		}
	}
	for name, value := range loaded {
		_, real := e.lookupEnv(name)
		_, earlier := e.st.env[name]
		if loader.override || !real && !earlier {
			e.st.env[name] = slot{value: value}
		}
	}
}

// dotenvReference resolves ${NAME} of a .env file outside the file.
func (e *evaluator) dotenvReference(name string) (string, bool) {
	if s, ok := e.st.env[name]; ok && !s.maybe {
		v, ok := s.value.(string)
		return v, ok
	}
	return e.lookupEnv(name)
}

// parseDotenv adds the variables of one file to vars. The grammar is that of
// phpdotenv 5 (src/Parser): K=v, K='raw', K="a ${B}\n", export K=v, # comment,
// and double quotes may span lines.
func parseDotenv(src string, vars map[string]string, outside func(string) (string, bool)) error {
	lookup := func(name string) (string, bool) {
		if v, ok := vars[name]; ok {
			return v, true
		}
		return outside(name)
	}
	src = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(src, "\ufeff"))
	size := 0
	for line := 1; src != ""; {
		entry, rest := dotenvEntry(src)
		name, value, err := dotenvPair(entry, lookup)
		if err == nil && name != "" {
			vars[name] = value
			size += len(value)
		}
		if size > maxText {
			err = errors.New("the values are too long")
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		line += strings.Count(src[:len(src)-len(rest)], "\n")
		src = rest
	}
	return nil
}

// dotenvEntry cuts off one line, or several when a double quote is open.
func dotenvEntry(src string) (entry, rest string) {
	line, rest, _ := strings.Cut(src, "\n")
	_, value, found := strings.Cut(line, "=")
	if !found || !strings.HasPrefix(strings.TrimSpace(value), `"`) || strings.HasPrefix(strings.TrimSpace(line), "#") {
		return line, rest
	}
	start := len(line) - len(strings.TrimLeft(value, " \t")) + 1
	for i := start; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			tail, rest, _ := strings.Cut(src[i:], "\n")
			return src[:i] + tail, rest
		}
	}
	return line, rest
}

func dotenvPair(entry string, lookup func(string) (string, bool)) (name, value string, err error) {
	entry = strings.TrimSpace(entry)
	if entry == "" || entry[0] == '#' {
		return "", "", nil
	}
	name, raw, found := strings.Cut(entry, "=")
	name = strings.TrimSpace(name)
	if after, ok := strings.CutPrefix(name, "export"); ok && after != "" && (after[0] == ' ' || after[0] == '\t') {
		name = strings.TrimSpace(after)
	}
	if len(name) > 2 && (name[0] == '"' || name[0] == '\'') && name[len(name)-1] == name[0] {
		name = name[1 : len(name)-1]
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r > 0x7f || !isNameStart(byte(r)) && !isDigit(byte(r)) && r != '.' }) {
		return "", "", errors.New("malformed variable name")
	}
	if !found {
		return "", "", nil // phpdotenv clears the variable
	}
	value, err = dotenvValue(strings.TrimSpace(raw), lookup)
	return name, value, err
}

func dotenvValue(raw string, lookup func(string) (string, bool)) (string, error) {
	switch {
	case raw == "" || raw[0] == '#':
		return "", nil
	case raw[0] == '\'':
		end := strings.IndexByte(raw[1:], '\'')
		if end < 0 {
			return "", errors.New("a single quote is never closed")
		}
		return raw[1 : 1+end], dotenvTail(raw[end+2:])
	case raw[0] == '"':
		return dotenvQuoted(raw[1:], lookup)
	}
	raw, _, _ = strings.Cut(raw, "#")
	end := strings.IndexAny(raw, " \t\n")
	if end < 0 {
		end = len(raw)
	}
	if err := dotenvTail(raw[end:]); err != nil {
		return "", err
	}
	return dotenvExpand(raw[:end], lookup)
}

// dotenvTail accepts only a comment after a value.
func dotenvTail(s string) error {
	if s = strings.TrimSpace(s); s != "" && s[0] != '#' {
		return errors.New("unexpected text after the value; put the value in quotes")
	}
	return nil
}

func dotenvQuoted(raw string, lookup func(string) (string, bool)) (string, error) {
	var b strings.Builder
	plain := 0 // start of the part not yet expanded
	flush := func(end int) error {
		s, err := dotenvExpand(raw[plain:end], lookup)
		b.WriteString(s)
		return err
	}
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			if err := flush(i); err != nil {
				return "", err
			}
			return b.String(), dotenvTail(raw[i+1:])
		case '\\':
			if err := flush(i); err != nil {
				return "", err
			}
			i++
			plain = i + 1
			if i == len(raw) {
				return "", errors.New("a double quote is never closed")
			}
			if strings.IndexByte(`"\$`, raw[i]) >= 0 {
				b.WriteByte(raw[i])
			} else if c, ok := plainEscapes[raw[i]]; ok && raw[i] != 'e' {
				b.WriteByte(c)
			} else {
				return "", errors.New("unknown escape in double quotes")
			}
		}
	}
	return "", errors.New("a double quote is never closed")
}

// dotenvExpand replaces ${NAME}; an unknown name stays as it is written.
func dotenvExpand(s string, lookup func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, closed := strings.Cut(after, "}")
		value, known := lookup(name)
		if closed && known {
			b.WriteString(value)
			s = rest
		} else {
			b.WriteString("${")
			s = after
		}
		if b.Len() > maxText {
			return "", errors.New("the values are too long")
		}
	}
}

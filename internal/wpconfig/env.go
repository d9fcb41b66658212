package wpconfig

import (
	"strconv"
	"strings"
)

// requestVariables are the keys of $_SERVER that the web server sets for each
// request, beside those that begin with HTTP_.
var requestVariables = map[string]bool{
	"HTTPS": true, "SERVER_NAME": true, "SERVER_PORT": true, "SERVER_ADDR": true, "SERVER_PROTOCOL": true, "SERVER_SOFTWARE": true,
	"SERVER_ADMIN": true, "SERVER_SIGNATURE": true, "REQUEST_URI": true, "REQUEST_METHOD": true, "REQUEST_SCHEME": true,
	"REQUEST_TIME": true, "REQUEST_TIME_FLOAT": true, "QUERY_STRING": true, "REMOTE_ADDR": true, "REMOTE_PORT": true,
	"REMOTE_HOST": true, "REMOTE_USER": true, "DOCUMENT_ROOT": true, "DOCUMENT_URI": true, "CONTEXT_DOCUMENT_ROOT": true,
	"CONTEXT_PREFIX": true, "SCRIPT_FILENAME": true, "SCRIPT_NAME": true, "SCRIPT_URI": true, "SCRIPT_URL": true, "PHP_SELF": true,
	"PATH_INFO": true, "PATH_TRANSLATED": true, "ORIG_PATH_INFO": true, "CONTENT_TYPE": true, "CONTENT_LENGTH": true,
	"AUTH_TYPE": true, "PHP_AUTH_USER": true, "PHP_AUTH_PW": true, "PHP_AUTH_DIGEST": true, "GATEWAY_INTERFACE": true,
	"argv": true, "argc": true, "UNIQUE_ID": true,
}

func ofRequest(name string) bool {
	return requestVariables[name] || strings.HasPrefix(name, "HTTP_") || strings.HasPrefix(name, "REDIRECT_")
}

// environment looks up a variable that getenv(), $_ENV and $_SERVER share; absent is
// what PHP gives for one that is not set (false or null).
func (e *evaluator) environment(name string, absent any) any {
	if s, ok := e.st.env[name]; ok {
		return readSlot(s)
	}
	if v, ok := e.opt.Request[name]; ok {
		return v
	}
	if ofRequest(name) {
		if e.opt.Request != nil {
			return absent
		}
		return e.unknownf("%s is only known during a request", name)
	}
	if v, ok := e.lookupEnv(name); ok {
		return v
	}
	if s, ok := e.st.env[unreadableEnv]; ok {
		return unknown{s.why}
	}
	e.missing[name] = true
	return doubtful{absent, e.unknownf("the environment variable %s is not set for Holdline", name).why}
}

func (e *evaluator) lookupEnv(name string) (string, bool) {
	if e.opt.LookupEnv == nil {
		return "", false
	}
	return e.opt.LookupEnv(name)
}

// getenv also sees what putenv() set, which $_ENV and $_SERVER do not.
func (e *evaluator) getenv(name string) any {
	if s, ok := e.st.overrides[element("getenv", name)]; ok {
		return readSlot(s)
	}
	return e.environment(name, false)
}

// unreadableEnv marks that some variables are hidden in a .env file that could
// not be read. No variable can have this name.
const unreadableEnv = "="

// getenvDocker is the function that the official Docker image puts into
// wp-config.php: NAME_FILE beats NAME, an empty NAME counts as set
// (docker-library/wordpress, wp-config-docker.php).
func (e *evaluator) getenvDocker(args []any) any {
	name, ok := textArg(args, 0)
	if !ok {
		return e.unknownf("getenv_docker() of a name that is only known when PHP runs")
	}
	if file, ok := e.lookupEnv(name + "_FILE"); ok && file != "" && file != "0" {
		// The operator names this file, so it may lie anywhere: /run/secrets.
		content := e.fileText(file)
		if s, ok := content.(string); ok {
			return strings.TrimRight(s, "\r\n")
		}
		return content
	}
	v := e.getenv(name)
	if d, ok := v.(doubtful); ok && d.value == false && len(args) > 1 {
		return args[1]
	}
	return v
}

// bedrockEnv is env() of oscarotero/env, which Bedrock uses: it converts true,
// false, null and digits, and strips quotes (src/Env.php).
func (e *evaluator) bedrockEnv(args []any) any {
	name, ok := textArg(args, 0)
	if !ok {
		return e.unknownf("env() of a name that is only known when PHP runs")
	}
	v := e.environment(name, nil)
	if _, ok := v.(doubtful); ok && len(args) > 1 {
		return args[1]
	}
	s, ok := v.(string)
	if !ok {
		return v
	}
	switch strings.ToLower(s) {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	if s != "" && strings.Trim(s, "0123456789") == "" {
		n, _ := strconv.ParseInt(s, 10, 64) // out of range gives the largest, as in PHP
		return n
	}
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

func (e *evaluator) putenv(args []any) any {
	entry, ok := textArg(args, 0)
	name, value, found := strings.Cut(entry, "=")
	switch {
	case !ok:
		return e.unknownf("putenv() of a text that is only known when PHP runs")
	case found:
		e.st.overrides[element("getenv", name)] = slot{value: value}
	default:
		e.st.overrides[element("getenv", name)] = slot{value: false}
	}
	return true
}

// textArg returns args[i] as a certain text.
func textArg(args []any, i int) (string, bool) {
	if i >= len(args) {
		return "", false
	}
	if _, doubted := doubt(args[i]); doubted {
		return "", false
	}
	return text(args[i])
}
